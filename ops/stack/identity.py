"""The user that PostgreSQL runs as: it refuses root, and initdb refuses a user without a name.

First choice is a user namespace, in which root's files stay root's and stay where they are. Where the kernel
or a container's profile forbids namespaces, root hands the data to an ordinary user instead, and copies the
programs to where that user can read them. No directory but the home itself is ever opened to others.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ops.stack.errors import StackError
from ops.stack.process import Command
from ops.stack.servers import Server

ORDINARY_USERS = ("postgres", "nobody", "daemon")
SHARED_PLACE = Path("/var/lib/genqueue")
TRUE = Path(shutil.which("true") or "/bin/true")
PROBE_SECONDS = 10


@dataclass(frozen=True)
class Identity:
    """Who runs which program over which directory; the files must belong to ``owner`` (uid, gid)."""

    how: str
    program: Path
    base: Path
    owner: tuple[int, int] | None
    reason: str


def choose_identity(
    server: Server, home: Path, *, namespaces: bool = True, shared_place: Path = SHARED_PLACE
) -> Identity:
    """Find a way to run PostgreSQL in this home. Raises StackError if there is none.

    ``namespaces=False`` goes straight to the second choice; ``shared_place`` serves it when the way to the
    home is closed to others.
    """
    euid = os.geteuid()
    if euid != 0 and _has_name(euid):
        return Identity("same", server.program, home, None, "as the user who started it")
    user = _ordinary_user()
    inside = f"namespace:{user.pw_uid}:{user.pw_gid}"
    if namespaces and _works(inside, server.program, home):
        reason = f"in a user namespace, as {user.pw_name} to itself (it refuses root)"
        return Identity(inside, server.program, home, (euid, os.getegid()), reason)
    if euid != 0:
        raise StackError(
            f"PostgreSQL needs a user with a name and uid {euid} has none (no user namespace either): add "
            "it to /etc/passwd, run as another user, or set GENQUEUE_DATABASE_URL"
        )
    return _as_ordinary_user(server, home, user, shared_place)


def give_to(path: Path, owner: tuple[int, int] | None) -> None:
    """Make ``path`` and all under it belong to ``owner``; the last start may have made the other choice."""
    if owner is None or path.lstat().st_uid == owner[0]:
        return
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.lchown(Path(directory, name), *owner)
    # Last, so that a walk cut short is done again.
    os.lchown(path, *owner)


def _as_ordinary_user(server: Server, home: Path, user: pwd.struct_passwd, shared_place: Path) -> Identity:
    dropped = f"user:{user.pw_uid}:{user.pw_gid}"
    if not _works(dropped, TRUE, Path("/")):
        raise StackError(
            f"PostgreSQL refuses root, and this root can neither make a user namespace nor become {user.pw_name}: "
            "run genqueue as an ordinary user, or set GENQUEUE_DATABASE_URL"
        )
    try:
        base = _reachable_base(dropped, home, shared_place)
        program = server.program
        if not _works(dropped, program, base):
            program = _copy_programs(server, base)
    except OSError as error:
        raise StackError(f"cannot prepare PostgreSQL for the user {user.pw_name}: {error}") from None
    if not _works(dropped, program, base):
        raise StackError(
            f"PostgreSQL refuses root and cannot be run as {user.pw_name} either ({program}): "
            "run genqueue as an ordinary user, or set GENQUEUE_DATABASE_URL"
        )
    reason = f"as the user {user.pw_name} in {base} (it refuses root, and user namespaces are not allowed here)"
    return Identity(dropped, program, base, (user.pw_uid, user.pw_gid), reason)


def _reachable_base(dropped: str, home: Path, shared_place: Path) -> Path:
    # Passing through the home shows nothing: what it holds is readable by its owner alone.
    home.chmod(0o711)
    if _works(dropped, TRUE, home):
        return home
    home.chmod(0o700)
    shared_place.mkdir(mode=0o711, parents=True, exist_ok=True)
    base = shared_place / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    base.mkdir(mode=0o711, exist_ok=True)
    return base


def _copy_programs(server: Server, base: Path) -> Path:
    install = server.program.parents[1]
    copy = base / server.title.replace(" ", "-")
    copied = copy / install.parent.name / install.name / "bin" / server.program.name
    if copied.exists():
        return copied
    draft = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    # The programs look for their libraries beside their package, so both keep their places.
    for source in (install, *install.parent.parent.glob(f"{install.parent.name}.libs")):
        shutil.copytree(source, draft / source.relative_to(install.parent.parent), symlinks=True)
    for directory in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    draft.replace(copy)
    return copied


def _works(how: str, program: Path, directory: Path) -> bool:
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    command = Command([str(program), "--version"], environment, directory, how)
    begun = time.monotonic()
    try:
        answer = subprocess.run(
            command.wrapped(), env=environment, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"{program} --version took over {time.monotonic() - begun:.0f} s") from None
    return answer.returncode == 0


def _ordinary_user() -> pwd.struct_passwd:
    for name in ORDINARY_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError(f"none of the users {', '.join(ORDINARY_USERS)} exists: PostgreSQL cannot run as root")


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
