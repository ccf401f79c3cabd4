"""Answers that carry images: kept whole, in a file and then as one object, before any image is extracted.

The file is named after the submission's id and outlives its process. A worker that starts finds the answer of a dead
worker, even a partial one. In the bucket the answer is `submissions/<id>/reply`, the evidence that the call was
answered. If the disk refuses, the whole answer is streamed to the bucket as it arrives.
"""

import base64
import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast
from uuid import UUID

import structlog

from worker.evidence import private_files
from worker.evidence.private_files import NotOursError
from worker.evidence.reply_file import PART, ReplyFile, failure, lock, sync
from worker.providers.contract import OWN_SCHEME
from worker.transport.digested import Stored
from worker.transport.spool import SpoolError
from worker.transport.storage import Storage
from worker.transport.storage_errors import ObjectMissing

_log = structlog.get_logger(__name__)
_WHOLE: Final = ".reply"
_COPY: Final = ".copy"
_BLOCK_BYTES: Final = 1024 * 1024
LEAST_ROOM_BYTES: Final = 32 * 2**20


class ReplyDamaged(SpoolError):  # noqa: N818 - named for what happened to the answer
    """The file of a kept answer was changed after it arrived, and the bucket does not have the answer."""

    code = "reply_damaged"


class Replies:
    """The answers of one host: files in `directory`, objects in `storage`; `max_bytes` caps each.

    `old_directory` is where an earlier version kept them.
    """

    def __init__(self, directory: Path, storage: Storage, *, max_bytes: int, old_directory: Path | None = None) -> None:
        self._directory = directory
        self._storage = storage
        self._max_bytes = max_bytes
        self._old_directory = old_directory

    def open(self, submission_id: UUID, *, largest: int = 0) -> ReplyFile:
        """Open a file for an answer, with room for twice the `largest` so far, at least 32 MiB, at most the cap.

        The room is really allocated. If that fails, raises `SpoolFull` or `SpoolError` before anything is sent.
        """
        room = min(max(LEAST_ROOM_BYTES, 2 * largest), self._max_bytes)
        try:
            private_files.make_private(self._directory, tighten=True)
            return ReplyFile(
                self._path(submission_id),
                max_bytes=self._max_bytes,
                room=room,
                storage=self._storage,
                key=key_of(submission_id),
            )
        except NotOursError as error:
            raise SpoolError(str(error)) from None
        except OSError as error:
            raise failure(error, self._directory, room=room) from None

    def begin(self, submission_id: UUID) -> ReplyFile:
        """Open a file for an answer that has no room yet; raises `SpoolFull` or `SpoolError`."""
        try:
            private_files.make_private(self._directory, tighten=True)
            return ReplyFile(self._path(submission_id), max_bytes=self._max_bytes)
        except NotOursError as error:
            raise SpoolError(str(error)) from None
        except OSError as error:
            raise failure(error, self._directory) from None

    def keep(self, submission_id: UUID, body: bytes) -> Path:
        """Keep a short answer on the disk and return its file; raises `SpoolFull` or `SpoolError`."""
        reply = self.begin(submission_id)
        with contextlib.closing(reply):
            reply.write(body)
            reply.seal()
        return reply.path

    def upload(self, submission_id: UUID, reply: ReplyFile | None = None, *, key: str | None = None) -> None:
        """Store an answer as one object: `reply`, or the answer on this host's disk; under `key`, if one is given.

        Raises `StorageError`; `SpoolError` if the disk does not have it.
        """
        if reply is not None and reply.overflow is not None:
            try:
                reply.overflow.finish()
            except OSError as error:
                raise failure(error, self._directory) from None
            return
        if reply is not None:
            self._put(submission_id, reply, key)
            return
        try:
            with private_files.open_file(self._path(submission_id)) as file:
                self._put(submission_id, _OnDisk(file), key)
        except NotOursError as error:
            raise SpoolError(str(error)) from None
        except OSError as error:
            raise failure(error, self._directory) from None

    @contextlib.contextmanager
    def read(self, submission_id: UUID, *, sha256: str | None = None) -> Iterator[BinaryIO]:
        """Yield the answer from this host's file, or from the bucket; only `read` and `seek(0)` are guaranteed.

        A file is not used if others could have changed it, or if its SHA-256 is not the recorded one. Raises
        `StorageError`, `SpoolError`, or `ReplyDamaged` if there is no other copy. Each reader has its own file.
        """
        refusal: SpoolError | None = None
        try:
            file = self._on_disk(submission_id, sha256)
        except SpoolError as error:
            _log.error("kept_answer_not_used", submission=str(submission_id), code=error.code, reason=str(error))
            file, refusal = None, error
        if file is None:
            try:
                file = cast("BinaryIO", self._storage.open(key_of(submission_id)))
            except ObjectMissing:
                if refusal is not None:
                    raise refusal from None
                raise
        with contextlib.closing(file):
            yield file

    def leftovers(self) -> list[UUID]:
        """Return the submissions whose answers lie on this host's disk, sealed or left unfinished by a dead process.

        An unfinished answer of a dead process is sealed as it is: it may be whole all the same.
        """
        for path in self._directory.glob(f"*{PART}"):
            _adopt(path)
        return _named(self._directory)

    def old_leftovers(self) -> list[UUID]:
        """Return the submissions whose answers an earlier version left in its own place.

        If others could have changed that place, it is refused with an error in the log.
        """
        old = self._old_directory
        if old is None or not old.exists():
            return []
        try:
            private_files.make_private(old, tighten=False)
        except (NotOursError, OSError) as error:
            _log.error("old_answers_not_used", directory=str(old), reason=str(error))
            return []
        for path in old.glob(f"*{PART}"):
            _adopt(path)
        return _named(old)

    def move_here(self, submission_id: UUID) -> None:
        """Bring an answer over from an earlier version's place; raises `SpoolError`."""
        if self._old_directory is None:
            return
        source, target = self._old_directory / f"{submission_id}{_WHOLE}", self._path(submission_id)
        try:
            private_files.make_private(self._directory, tighten=True)
            with private_files.open_file(source) as file, target.with_suffix(_COPY).open("wb") as copy:
                shutil.copyfileobj(file, copy, _BLOCK_BYTES)
                copy.flush()
                os.fsync(copy.fileno())
            target.with_suffix(_COPY).chmod(0o600)
            target.with_suffix(_COPY).rename(target)
            sync(self._directory)
            source.unlink()
        except NotOursError as error:
            raise SpoolError(str(error)) from None
        except OSError as error:
            raise failure(error, self._directory) from None

    def forget(self, submission_id: UUID) -> None:
        """Remove the answer, file and object, because everything in it is stored separately. Raises `StorageError`."""
        self.forget_file(submission_id)
        self._storage.delete(key_of(submission_id))

    def forget_file(self, submission_id: UUID) -> None:
        """Remove the file of an answer that the bucket has."""
        for suffix in (_WHOLE, PART):
            self._path(submission_id).with_suffix(suffix).unlink(missing_ok=True)

    def _on_disk(self, submission_id: UUID, sha256: str | None) -> BinaryIO | None:
        """Return the answer's file; None if there is none. Raises `SpoolError` if it must not be used."""
        path = self._path(submission_id)
        try:
            file = private_files.open_file(path)
        except FileNotFoundError:
            return None
        except NotOursError as error:
            raise SpoolError(str(error)) from None
        except OSError as error:
            raise failure(error, self._directory) from None
        if sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != sha256:  # type: ignore[arg-type]  # typeshed asks for more than is used
            file.close()
            raise ReplyDamaged(f"{path} is not the answer that arrived: its SHA-256 is another")
        file.seek(0)
        return file

    def _put(self, submission_id: UUID, reply: Stored, key: str | None) -> None:
        metadata = {"genqueue-submission": str(submission_id)}
        place = key or key_of(submission_id)
        self._storage.put(place, reply, content_type="application/json", metadata=metadata)

    def _path(self, submission_id: UUID) -> Path:
        return self._directory / f"{submission_id}{_WHOLE}"


class _OnDisk:
    """A sealed answer of a dead process, as `Stored`."""

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


def _named(directory: Path) -> list[UUID]:
    found = []
    for path in directory.glob(f"*{_WHOLE}"):
        with contextlib.suppress(ValueError):
            found.append(UUID(path.stem))
    return found


def _adopt(part: Path) -> None:
    """Seal an answer whose process has died, which ended its lock. An answer still being written is left alone."""
    try:
        with private_files.open_file(part) as file:
            lock(file.fileno())
            length = _written(file)
            if length:
                os.truncate(part, length)
                os.fsync(file.fileno())
                part.rename(part.with_suffix(_WHOLE))
            else:
                part.unlink(missing_ok=True)
    except NotOursError as error:
        _log.error("kept_answer_not_used", file=str(part), reason=str(error))
    except OSError:
        return


def _written(file: BinaryIO) -> int:
    """Return where the answer ends in a file with allocated room after it; JSON contains no NUL."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        if found := len(file.read(end - start).rstrip(b"\0")):
            return start + found
        end = start
    return 0
