"""Where a home's Unix socket lies: in the home, or in a short directory of our own if the home's path is too long."""

import contextlib
import os
import stat
import tempfile
from errno import EPERM
from pathlib import Path
from typing import Final

_NAME: Final = "redis.sock"
_MOST_BYTES: Final = 107
"""Of a socket's path, without the zero at its end (unix(7)). Redis cuts a longer one without a word."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_RUNTIME: Final = "XDG_RUNTIME_DIR"


def socket_place(home: Path, last: Path | None) -> Path:
    """Return the path of the socket; `last` is that of the last start. A directory outside the home is made at once."""
    inside = home / _NAME
    if _fits(inside):
        return inside
    if last is not None and _fits(last) and _is_ours(last.parent):
        return last
    return Path(tempfile.mkdtemp(prefix="genqueue-", dir=_runtime_directory())) / _NAME


def make_place(path: Path, home: Path) -> None:
    """Make the socket's directory again if somebody has removed it, 0700. Raises `OSError`, also if it is not ours."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent != home and not _is_ours(path.parent):
        raise PermissionError(EPERM, "another user could change it", str(path.parent))


def leave_place(path: Path, home: Path) -> None:
    """Remove the socket's directory if it lies outside the home; does nothing if it is in use."""
    if path.parent != home and _is_ours(path.parent):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _MOST_BYTES


def _is_ours(directory: Path) -> bool:
    """Tell whether nobody else can have made or can enter it: a shared temporary directory is open to all."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _runtime_directory() -> Path | None:
    """Return the user's own directory for such things, if the session has one; None = the temporary directory."""
    given = os.environ.get(_RUNTIME)
    found = Path(given) if given else None
    longest = found / "genqueue-xxxxxxxx" / _NAME if found else None
    return found if found and longest and _is_ours(found) and _fits(longest) else None
