"""A write-once buffer for the bytes of one result: memory first, then a temporary file, capped and hashed.

`TransferError` is the root of all errors that can stop bytes on their way from a provider to the bucket. Each module
that raises a branch draws it: `worker.transport.download`, `worker.imagecheck`, `worker.transport.storage`. The
branches of the spool:

    TransferError
    |-- TooLarge          more bytes than the cap                      result_too_large   never again
    `-- SpoolError        the spool directory cannot be written        spool_unwritable   again later
        `-- SpoolFull     no space left, or over quota                 spool_full         again later
"""

# ruff: noqa: N818 - an error is named for what happened to the result

import contextlib
import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Final, Self, TypeVar, cast

from worker.transport.digested import Digested

MEMORY_BYTES: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
T = TypeVar("T")


class TransferError(Exception):
    """Something stopped bytes on their way to the bucket.

    `code` is stable and stored with the job; `retryable` says whether the same attempt may succeed later by
    itself (it costs nothing: the image is already bought). Messages never hold a URL's path or query, nor the
    bytes.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool]


class SpoolError(TransferError):
    """The spool directory cannot be written."""

    code = "spool_unwritable"
    retryable = True


class SpoolFull(SpoolError):
    """The disk that holds the spool directory is full, or a quota or file size limit is reached."""

    code = "spool_full"
    retryable = True


class TooLarge(TransferError):
    """The bytes exceed the cap; they are refused, not cut."""

    code = "result_too_large"
    retryable = False


class Spool(Digested):
    """Bytes that are written once, in order, then read as often as needed.

    Up to `memory_bytes` they stay in memory; beyond that they live in a temporary file in `directory` that
    has no name where the system allows it, so that a killed process leaves nothing behind. Writing more than
    `max_bytes` in all raises `TooLarge` and keeps nothing of the chunk. Use it as a context manager, or call
    `close()`.
    """

    def __init__(self, *, directory: Path, max_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        super().__init__()
        self._directory = directory
        self._max_bytes = max_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=memory_bytes, dir=str(directory))  # noqa: SIM115 - closed by close(), which the context manager calls
        self._sealed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the bytes are gone."""
        return bool(self._file.closed)

    def write(self, chunk: bytes) -> None:
        """Append `chunk`.

        Raises `TooLarge`, `SpoolFull` or `SpoolError`; and `ValueError` once the spool was read or closed,
        because the hash would no longer be that of what a reader saw.
        """
        if self._sealed or self._file.closed:
            raise ValueError("the spool is written once: it was already read or closed")
        if self._length + len(chunk) > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        self._on_disk(lambda: self._file.write(chunk))
        self._count(chunk)

    def rewound(self) -> BinaryIO:
        """Return the bytes as a seekable file at its beginning, and allow no further write.

        The file belongs to the spool: read it from one thread at a time and do not close it. Raises
        `SpoolFull` or `SpoolError` if buffered bytes cannot reach the disk, `ValueError` if the spool is
        closed.
        """
        self._sealed = True
        self._on_disk(lambda: self._file.seek(0))
        return cast("BinaryIO", self._file)

    def close(self) -> None:
        """Release the bytes and their temporary file; may be called again."""
        # A full disk may refuse the last buffered bytes, which are discarded anyway.
        with contextlib.suppress(OSError):
            self._file.close()

    def _on_disk(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SpoolError:
        if error.errno in _FULL:
            return SpoolFull(f"no space left for results in the spool directory {self._directory}: free some")
        return SpoolError(f"cannot write in the spool directory {self._directory}: {error.strerror}")
