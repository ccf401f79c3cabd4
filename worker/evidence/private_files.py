"""Checks that nobody else can change a directory or file: owner, mode and links of its whole path, like sshd."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ACL: Final = "system.posix_acl_access"
_MOST_LINKS: Final = 40


class NotOursError(Exception):
    """Another user can change a path. The message is one sentence with the path and the remedy."""


def check_directory(path: Path) -> None:
    """Return only if nobody but us and root can change what `path` leads to.

    Raises `NotOursError`, and `OSError` if it is missing. Every directory and symbolic link on the way must belong to
    us or root, and no directory may be writable by others. A sticky directory such as /tmp is allowed, because nobody
    else can rename or remove our files there.
    """
    for step in _steps(path.absolute()):
        _check_step(step, step.lstat())


def make_private(path: Path, *, tighten: bool) -> None:
    """Create `path` if it is missing. Return only if it is ours and nobody else can write in it.

    With `tighten`, nobody else can read it afterwards. Raises `NotOursError` or `OSError`.
    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    check_directory(path)
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise NotOursError(f"the directory {path} belongs to user {found.st_uid}: {_remedy(path)}")
    if found.st_mode & _OTHERS_WRITE and not _is_our_own_group(path, found):
        raise NotOursError(f"the directory {path} can be written by other users: {_remedy(path)}")
    if tighten and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def open_file(path: Path) -> BinaryIO:
    """Open for reading a file that only we can have written; raises `NotOursError`, and `OSError` if it is missing."""
    check_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if path.is_symlink():
            raise NotOursError(f"{path} is a symbolic link, not a file of ours: remove it") from None
        raise
    file = open(descriptor, "rb")  # noqa: SIM115, PTH123 - whoever asked for it closes it
    try:
        check_file(path, os.fstat(descriptor))
    except BaseException:
        file.close()
        raise
    return file


def check_file(path: Path, found: os.stat_result) -> None:
    """Return only if `found` is our regular file with a single name; raises `NotOursError`."""
    if not stat.S_ISREG(found.st_mode):
        raise NotOursError(f"{path} is not a regular file: remove it")
    if found.st_uid != os.geteuid():
        raise NotOursError(f"{path} belongs to user {found.st_uid}: remove it")
    if found.st_nlink != 1:
        raise NotOursError(f"{path} has another name elsewhere (a hard link): remove one of them")
    if found.st_mode & _OTHERS_WRITE:
        raise NotOursError(f"{path} can be written by other users: remove it, or chmod 600 it if you trust it")


def _steps(path: Path, links: int = 0) -> Iterator[Path]:
    """Yield every directory and symbolic link on the way to `path`, from the root on."""
    if links > _MOST_LINKS:
        raise NotOursError(f"{path} goes through more than {_MOST_LINKS} symbolic links: use a plain path")
    place = Path(path.anchor)
    yield place
    for name in path.parts[1:]:
        if name == "..":
            place = place.parent
            continue
        step = place / name
        yield step
        if not step.is_symlink():
            place = step
            continue
        target = place / step.readlink()
        yield from _steps(target, links + 1)
        place = step.resolve()


def _check_step(step: Path, found: os.stat_result) -> None:
    # A container's root may have another number here. The owner of "/" can change everything anyway.
    trusted = {0, os.geteuid(), Path("/").stat().st_uid}
    if found.st_uid not in trusted:
        kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "directory"
        raise NotOursError(f"the {kind} {step} belongs to user {found.st_uid}, who could swap files: {_remedy(step)}")
    if stat.S_ISLNK(found.st_mode):
        return
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{step} is not a directory")
    loose = found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
    if loose and not _is_our_own_group(step, found):
        raise NotOursError(f"the directory {step} can be written by other users: {_remedy(step)}")


def _is_our_own_group(step: Path, found: os.stat_result) -> bool:
    """Tell whether the group with write access has no member but us. Many systems give every user such a group."""
    if found.st_mode & stat.S_IWOTH or _has_acl(step):
        return False
    try:
        me = pwd.getpwuid(os.geteuid())
        members = grp.getgrgid(found.st_gid).gr_mem
    except KeyError:
        return False
    others = {one.pw_name for one in pwd.getpwall() if one.pw_gid == found.st_gid} | set(members)
    return me.pw_gid == found.st_gid and others <= {me.pw_name}


def _has_acl(step: Path) -> bool:
    try:
        return _ACL in os.listxattr(step)
    except OSError:
        return False


def _remedy(path: Path) -> str:
    return f"chmod go-w {path} if it is yours, else set GENQUEUE_SPOOL_DIR to a directory that only you can write"
