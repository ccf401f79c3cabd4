"""One answer on its way to the disk. Room is allocated first; if the disk refuses more, the bucket takes the answer."""

import contextlib
import errno
import fcntl
import hashlib
import os
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, cast

import structlog

from worker.evidence.reply_multipart import Overflow
from worker.transport.digested import Digested
from worker.transport.spool import SpoolError, SpoolFull, TooLarge
from worker.transport.storage import Storage

_log = structlog.get_logger(__name__)
PART: Final = ".part"
_BLOCK_BYTES: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CANNOT_ALLOCATE: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class ReplyFile(Digested):
    """One answer on its way to the disk: written once, then sealed. It is a `Sink` and, once sealed, `Stored`.

    `room` bytes of the disk are allocated before it is written. If it outgrows them and the disk refuses more, the
    whole answer goes to `storage` under `key`. Without a storage, the disk's refusal is raised.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, room: int = 0, storage: Storage | None = None, key: str = ""
    ) -> None:
        super().__init__()
        self.path = path
        self._part = path.with_suffix(PART)
        self._max_bytes = max_bytes
        self._storage = storage
        self._key = key
        self._on_disk = 0
        self._sealed = False
        self._beyond: Overflow | None = None
        # Unbuffered: arrived bytes must outlive this process, however it ends.
        self._file = _new(self._part, room)

    @property
    def kept_sha256(self) -> str:
        """The SHA-256 in hexadecimal of the kept bytes: of all, or only of the disk's part of a longer answer."""
        if self._beyond is None or self._beyond.stored:
            return self.sha256
        return hashlib.file_digest(self.rewound(), "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for more than is used

    @property
    def slow(self) -> bool:
        """Whether a write may wait for the bucket."""
        return self._beyond is not None

    @property
    def overflow(self) -> Overflow | None:
        """The upload that takes the answer instead of the disk; None if the disk has all of it."""
        return self._beyond

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `TooLarge`, `SpoolFull` or `SpoolError`, and `ValueError` after sealing."""
        if self._sealed:
            raise ValueError("the reply is written once: it is sealed already")
        if self._length + len(chunk) > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        if self._beyond is not None:
            self._beyond.write(chunk)
            self._count(chunk)
            return
        left = memoryview(chunk)
        while left:
            try:
                taken = self._file.write(left) or 0
            except OSError as error:
                self._go_beyond(error).hold(left)
                taken = len(left)
            else:
                self._on_disk += taken
            self._count(left[:taken])
            left = left[taken:]

    def seal(self) -> None:
        """Bring the bytes to the disk under their final name; raises `SpoolFull` or `SpoolError`.

        If the answer outgrew the disk, this is only its beginning.
        """
        try:
            self._file.truncate(self._on_disk)
            os.fsync(self._file.fileno())
            self._part.rename(self.path)
            sync(self.path.parent)
        except OSError as error:
            raise failure(error, self.path.parent) from None
        self._sealed = True

    def rewound(self) -> BinaryIO:
        """Return the disk's part as a seekable file at its beginning; raises `SpoolError`."""
        try:
            self._file.truncate(self._on_disk)
            self._file.seek(0)
        except OSError as error:
            raise failure(error, self.path.parent) from None
        return cast("BinaryIO", self._file)

    def close(self) -> None:
        """Close the file. The arrived bytes stay on the disk until `Replies.forget`."""
        with contextlib.suppress(OSError):
            if not self._sealed:
                self._file.truncate(self._on_disk)
            if not self._on_disk:
                self._part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._file.close()

    def _go_beyond(self, error: OSError) -> Overflow:
        refusal = failure(error, self.path.parent)
        if self._storage is None:
            raise refusal from None
        _log.warning("reply_goes_to_bucket", code=refusal.code, reason=str(refusal), on_disk=self._on_disk)
        self._beyond = Overflow(self._storage, self._key, head=self._file.fileno(), head_length=self._on_disk)
        return self._beyond


def _new(part: Path, room: int) -> FileIO:
    """Open a new file with `room` allocated bytes for writing, and lock it; raises `OSError` if it exists."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = FileIO(os.open(part, flags, 0o600), "r+b")
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "its submission has an answer already") from None
    try:
        # A file system without locks holds none; there, a dead process's file stays as it is.
        with contextlib.suppress(OSError):
            lock(file.fileno())
        _allocate(file, room)
        part.stat()  # a worker that has just started may have taken it for a dead process's file
    except OSError:
        part.unlink(missing_ok=True)
        file.close()
        raise
    return file


def _allocate(file: FileIO, room: int) -> None:
    """Allocate `room` bytes of the disk, so that no other file can take them; raises `OSError` without enough space."""
    if not room:
        return
    try:
        os.posix_fallocate(file.fileno(), 0, room)
    except OSError as error:
        if error.errno not in _CANNOT_ALLOCATE:
            raise
        for at in range(0, room, _BLOCK_BYTES):
            file.write(bytes(min(_BLOCK_BYTES, room - at)))
        os.fsync(file.fileno())
        file.seek(0)


def lock(descriptor: int) -> None:
    """Lock the file until it is closed or this process ends; raises `BlockingIOError` if another process holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(directory: Path) -> None:
    """Sync a new name to the disk: without it, the file may vanish in a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure(error: OSError, directory: Path, *, room: int = 0) -> SpoolError:
    """Return the error for a refusal of the disk, for an answer that needs `room` bytes in `directory`."""
    if error.errno in _FULL:
        lacking = f"there is no room for {room >> 20} MiB" if room else "there is no room left"
        return SpoolFull(f"{lacking} in {directory}, where answers are kept: free some, or set GENQUEUE_SPOOL_DIR")
    return SpoolError(f"an answer cannot be kept in {directory}: {error.strerror or error}")
