"""Standard output and standard error that survive an ASCII terminal, a full disk and a reader that went away."""

import errno
import io
import os
import sys
from typing import Final

_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def make_safe() -> None:
    r"""Write out what a terminal's encoding lacks, such as `\xe9`, instead of ending with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


def cannot_write(error: BaseException) -> bool:
    """Tell whether an error means that standard output cannot be written to."""
    return isinstance(error, OSError) and error.errno in _CANNOT_WRITE and error.filename is None


def end_of_output() -> str | None:
    """Write out what is buffered; return what prevents it, and make the exit try no more. None: all is written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _to_nowhere()
    except OSError as error:
        _to_nowhere()
        return f"standard output: {error.strerror}"
    return None


def _to_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
