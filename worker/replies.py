"""Answers that carry images: kept whole, in a file and then as one object, before anything is taken out of them.

The file has the submission's id as its name and outlives its process; a worker that starts finds what one that died had
in hand, even the part that had arrived. In the bucket it is `submissions/<id>/reply`, and that object is the evidence
that the call was answered.
"""

import base64
import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, cast
from uuid import UUID

from worker.providers.contract import OWN_SCHEME
from worker.spool import SpoolError, SpoolFull, TooLarge
from worker.storage import Storage, Stored

_PART: Final = ".part"
_WHOLE: Final = ".reply"
_MODE: Final = 0o700
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ReplyFile:
    """One answer on its way to the disk: written once, then sealed; it is a `Sink` and, sealed, `Stored`."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._part = path.with_suffix(_PART)
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._length = 0
        self._sealed = False
        # Unbuffered: what has arrived must outlive this process, however it ends.
        self._file = _new(self._part)

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._length

    @property
    def sha256_base64(self) -> str:
        """Their SHA-256 in base64."""
        return base64.b64encode(self._hash.digest()).decode("ascii")

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `TooLarge`, `SpoolFull` or `SpoolError`, and `ValueError` once it is sealed."""
        if self._sealed:
            raise ValueError("the reply is written once: it is sealed already")
        if self._length + len(chunk) > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        left = memoryview(chunk)
        while left:
            try:
                taken = self._file.write(left) or 0
            except OSError as error:
                raise _failure(error) from None
            self._hash.update(left[:taken])
            self._length += taken
            left = left[taken:]

    def seal(self) -> None:
        """Bring the bytes to the disk under their final name; raises `SpoolFull` or `SpoolError`."""
        try:
            os.fsync(self._file.fileno())
            self._part.rename(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise _failure(error) from None
        self._sealed = True

    def rewound(self) -> BinaryIO:
        """Return the bytes as a seekable file at its beginning."""
        self._file.seek(0)
        return cast("BinaryIO", self._file)

    def close(self) -> None:
        """Close the file; whatever has arrived stays on the disk until `Replies.forget`."""
        with contextlib.suppress(OSError):
            if not self._length:
                self._part.unlink(missing_ok=True)
            self._file.close()


class Replies:
    """The answers of one host: files in `directory`, objects in `storage`; `max_bytes` caps each."""

    def __init__(self, directory: Path, storage: Storage, *, max_bytes: int) -> None:
        self._directory = directory
        self._storage = storage
        self._max_bytes = max_bytes

    def open(self, submission_id: UUID) -> ReplyFile:
        """Begin to keep an answer; raises `SpoolFull` or `SpoolError` where that cannot be, before anything is sent."""
        try:
            self._make_directory()
            return ReplyFile(self._path(submission_id), max_bytes=self._max_bytes)
        except OSError as error:
            raise _failure(error) from None

    def upload(self, submission_id: UUID, reply: ReplyFile | None = None) -> None:
        """Store a sealed answer as one object: `reply`, or the one that lies on this host's disk.

        Raises `StorageError`; `SpoolError` where the disk does not have it.
        """
        if reply is not None:
            self._put(submission_id, reply)
            return
        try:
            with self._path(submission_id).open("rb") as file:
                self._put(submission_id, _OnDisk(file))
        except OSError as error:
            raise _failure(error) from None

    @contextlib.contextmanager
    def read(self, submission_id: UUID) -> Iterator[BinaryIO]:
        """Yield the answer, from this host's file or else from the bucket.

        Raises `StorageError`, `SpoolFull` or `SpoolError`. Each reader has a file of its own.
        """
        try:
            file = self._opened(submission_id)
        except OSError as error:
            raise _failure(error) from None
        with file:
            yield file

    def has_object(self, submission_id: UUID) -> bool:
        """Tell whether the bucket holds this answer; raises `StorageError`."""
        return self._storage.head(key_of(submission_id)) is not None

    def leftovers(self) -> list[UUID]:
        """Return the submissions whose answers lie on this host's disk, sealed or left in the making by the dead.

        What a dead process was writing is sealed as it is: it broke off, but may be whole all the same.
        """
        for path in self._directory.glob(f"*{_PART}"):
            _adopt(path)
        found = []
        for path in self._directory.glob(f"*{_WHOLE}"):
            with contextlib.suppress(ValueError):
                found.append(UUID(path.stem))
        return found

    def forget(self, submission_id: UUID) -> None:
        """Remove the answer, file and object: everything in it is stored by itself. Raises `StorageError`."""
        self._path(submission_id).unlink(missing_ok=True)
        self._path(submission_id).with_suffix(_PART).unlink(missing_ok=True)
        self._storage.delete(key_of(submission_id))

    def _opened(self, submission_id: UUID) -> BinaryIO:
        with contextlib.suppress(FileNotFoundError):
            return self._path(submission_id).open("rb")
        self._make_directory()
        copy = cast("BinaryIO", tempfile.TemporaryFile(dir=self._directory))  # noqa: SIM115 - the reader closes it
        try:
            self._storage.get_to(key_of(submission_id), copy)
            copy.seek(0)
        except BaseException:
            with contextlib.suppress(OSError):
                copy.close()
            raise
        return copy

    def _put(self, submission_id: UUID, reply: Stored) -> None:
        metadata = {"genqueue-submission": str(submission_id)}
        self._storage.put(key_of(submission_id), reply, content_type="application/json", metadata=metadata)

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=_MODE, parents=True, exist_ok=True)

    def _path(self, submission_id: UUID) -> Path:
        return self._directory / f"{submission_id}{_WHOLE}"


class _OnDisk:
    """A sealed answer of a process that is gone, as `Stored`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256_base64 = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode("ascii")  # type: ignore[arg-type]  # typeshed asks for more than is used
        self.length = file.tell()

    def rewound(self) -> BinaryIO:
        self._file.seek(0)
        return self._file


def key_of(submission_id: UUID) -> str:
    """Return the key of a kept answer."""
    return f"submissions/{submission_id}/reply"


def link_to(submission_id: UUID, index: int) -> str:
    """Return the link of one image inside a kept answer."""
    return f"{OWN_SCHEME}:{submission_id}/{index}"


def parse_link(link: str) -> tuple[UUID, int] | None:
    """Return the submission and index of a link that `link_to` made, None for any other link."""
    scheme, _, rest = link.partition(":")
    submission_id, _, index = rest.partition("/")
    if scheme != OWN_SCHEME or not (index.isascii() and index.isdecimal()):
        return None
    with contextlib.suppress(ValueError):
        return UUID(submission_id), int(index)
    return None


def _adopt(part: Path) -> None:
    """Seal what a process left that is gone: its lock went with it. What a living one writes stays its own."""
    with contextlib.suppress(OSError), part.open("rb") as file:
        _lock(file.fileno())
        if os.fstat(file.fileno()).st_size:
            os.fsync(file.fileno())
            part.rename(part.with_suffix(_WHOLE))
        else:
            part.unlink(missing_ok=True)


def _new(part: Path) -> FileIO:
    """Open a file for writing and hold it; raises `OSError`, also where somebody has written to it already."""
    file = FileIO(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        _lock(file.fileno())
        held = False
    except OSError as error:
        # On a file system without locks none is held; there, what the dead leave stays as it is.
        held = isinstance(error, BlockingIOError)
    if held or os.fstat(file.fileno()).st_size:
        file.close()
        raise FileExistsError(errno.EEXIST, "its submission has an answer already")
    return file


def _lock(descriptor: int) -> None:
    """Hold the file until it is closed or this process ends; raises `BlockingIOError` where another holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync(directory: Path) -> None:
    """Bring a new name to the disk: without it a power cut may take the file back."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(error: OSError) -> SpoolError:
    if error.errno in _FULL:
        return SpoolFull("no space left for the answers that are kept: free some in GENQUEUE_SPOOL_DIR")
    return SpoolError(f"an answer cannot be kept: {error.strerror or type(error).__name__}")
