"""Answers that carry images: kept whole, in a file and then as one object, before anything is taken out of them.

The file has the submission's id as its name and outlives its process; a worker that starts finds what one that died had
in hand. In the bucket it is `submissions/<id>/reply`, and that object is the evidence that the call was answered.
"""

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from worker.spool import SpoolFull, TooLarge
from worker.storage import Storage

_SCHEME: Final = "reply:"
_PART: Final = ".part"
_WHOLE: Final = ".reply"
_MODE: Final = 0o700


class ReplyFile:
    """One answer on its way to the disk: written once, then sealed; it is a `Sink` and, sealed, `Stored`."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._part = path.with_suffix(_PART)
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._length = 0
        self._file: BinaryIO = self._part.open("w+b")

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._length

    @property
    def sha256_base64(self) -> str:
        """Their SHA-256 in base64."""
        return base64.b64encode(self._hash.digest()).decode("ascii")

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `TooLarge`, or `SpoolFull` where the disk does not take it."""
        if self._length + len(chunk) > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        try:
            self._file.write(chunk)
        except OSError as error:
            raise SpoolFull(f"the reply cannot be kept: {error.strerror}") from None
        self._hash.update(chunk)
        self._length += len(chunk)

    def seal(self) -> None:
        """Bring the bytes to the disk under their final name; raises `SpoolFull`."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._part.rename(self.path)
        except OSError as error:
            raise SpoolFull(f"the reply cannot be kept: {error.strerror}") from None

    def rewound(self) -> BinaryIO:
        """Return the bytes as a seekable file at its beginning."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Close the file; a sealed one stays on the disk, any other is removed."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


class Replies:
    """The answers of one host: files in `directory`, objects in `storage`; `max_bytes` caps each."""

    def __init__(self, directory: Path, storage: Storage, *, max_bytes: int) -> None:
        self._directory = directory
        self._storage = storage
        self._max_bytes = max_bytes

    def open(self, submission_id: UUID) -> ReplyFile:
        """Begin to keep an answer; raises `SpoolFull` where the directory cannot be written."""
        try:
            self._directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
            return ReplyFile(self._path(submission_id), max_bytes=self._max_bytes)
        except OSError as error:
            raise SpoolFull(f"the reply's file cannot be made: {error.strerror}") from None

    def upload(self, submission_id: UUID, reply: ReplyFile) -> None:
        """Store a sealed answer as one object; raises `StorageError`."""
        metadata = {"genqueue-submission": str(submission_id)}
        self._storage.put(key_of(submission_id), reply, content_type="application/json", metadata=metadata)

    @contextlib.contextmanager
    def read(self, submission_id: UUID) -> Iterator[BinaryIO]:
        """Yield the answer, from this host's file or else from the bucket; raises `StorageError`, `SpoolFull`."""
        with contextlib.suppress(FileNotFoundError), self._path(submission_id).open("rb") as local:
            yield local
            return
        self._directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._directory) as copy:
            self._storage.get_to(key_of(submission_id), copy)
            copy.seek(0)
            yield copy

    def has_object(self, submission_id: UUID) -> bool:
        """Tell whether the bucket holds this answer; raises `StorageError`."""
        return self._storage.head(key_of(submission_id)) is not None

    def leftovers(self) -> list[UUID]:
        """Return the submissions whose answers lie on this host's disk."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                with contextlib.suppress(ValueError):
                    found += [UUID(path.stem)] if path.suffix == _WHOLE else []
        return found

    def forget(self, submission_id: UUID) -> None:
        """Remove the answer, file and object: everything in it is stored by itself. Raises `StorageError`."""
        self._path(submission_id).unlink(missing_ok=True)
        self._storage.delete(key_of(submission_id))

    def _path(self, submission_id: UUID) -> Path:
        return self._directory / f"{submission_id}{_WHOLE}"


def key_of(submission_id: UUID) -> str:
    """Return the key of a kept answer."""
    return f"submissions/{submission_id}/reply"


def link_to(submission_id: UUID, index: int) -> str:
    """Return the link of one image inside a kept answer."""
    return f"{_SCHEME}{submission_id}/{index}"


def parse_link(link: str) -> tuple[UUID, int] | None:
    """Return the submission and index of a link that `link_to` made, None for any other link."""
    if not link.startswith(_SCHEME):
        return None
    submission_id, _, index = link.removeprefix(_SCHEME).partition("/")
    return UUID(submission_id), int(index)
