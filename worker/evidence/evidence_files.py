"""Evidence on the disk, in small files, while the database does not accept it. The next start reads them.

A file holds ids, the outcome and links. Links may be signed, so only the file's owner may read it. If the disk
refuses, the evidence goes to the bucket as `submissions/<id>/evidence`, and a look at the job in doubt reads it there.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import stat
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, cast
from uuid import UUID

import structlog
from pydantic import TypeAdapter, ValidationError

from shared.db.payments.submissions import Answer
from worker.transport.storage import Storage
from worker.transport.storage_errors import ObjectMissing, StorageError

_log = structlog.get_logger(__name__)
_FILE: Final = ".json"
_VERSION: Final = 1
_MOST_BYTES: Final = 4 * 1024 * 1024
_ANSWERS: Final = TypeAdapter(Answer)


class Evidence:
    """The evidence of one host: files in `directory`, or objects in `storage` if the disk refuses."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self.trying: set[UUID] = set()
        """The submissions whose kept evidence this process itself tries to commit."""

    def of(self, submission_id: UUID, answer: Answer, *, place: str | None = None) -> "KeptEvidence":
        """Return the keepsake of an answer. Nothing is written yet, unless it already lies in `place`."""
        return KeptEvidence(self, submission_id, answer, place=place)

    def leftovers(self) -> list[UUID]:
        """Return the submissions whose evidence lies on this host's disk."""
        found = []
        for path in self._directory.glob(f"*{_FILE}"):
            with contextlib.suppress(ValueError):
                found.append(UUID(path.stem))
        return found

    def on_disk(self, submission_id: UUID) -> Answer | None:
        """Return the evidence on the disk; None if there is none that we wrote."""
        try:
            with _opened(self.path(submission_id)) as file:
                return _read(submission_id, file.read(_MOST_BYTES + 1))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("evidence_unreadable", submission=str(submission_id), error=type(error).__name__)
            return None

    def in_bucket(self, submission_id: UUID) -> Answer | None:
        """Return the evidence in the bucket, None if there is none of ours; raises `StorageError`."""
        file = BytesIO()
        try:
            self._storage.get_to(key_of(submission_id), file)
            return _read(submission_id, file.getvalue())
        except ObjectMissing:
            return None
        except ValueError as error:
            _log.warning("evidence_unreadable", submission=str(submission_id), error=type(error).__name__)
            return None

    def write(self, submission_id: UUID, answer: Answer) -> None:
        """Write the file and bring it to the disk; raises `OSError`."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._directory / f"{submission_id}.{secrets.token_hex(4)}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_written(submission_id, answer))
                file.flush()
                os.fsync(file.fileno())
            part.rename(self.path(submission_id))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync(self._directory)

    def put(self, submission_id: UUID, answer: Answer) -> None:
        """Store the evidence as an object; raises `StorageError`."""
        metadata = {"genqueue-submission": str(submission_id)}
        body = _EvidenceInMemory(_written(submission_id, answer))
        self._storage.put(key_of(submission_id), body, content_type="application/json", metadata=metadata)

    def forget(self, submission_id: UUID, *, bucket: bool) -> None:
        """Remove the file, and with `bucket` the object. A leftover does no harm."""
        with contextlib.suppress(OSError):
            self.path(submission_id).unlink(missing_ok=True)
        if bucket:
            with contextlib.suppress(StorageError):
                self._storage.delete(key_of(submission_id))

    def path(self, submission_id: UUID) -> Path:
        """Return the path of a submission's evidence."""
        return self._directory / f"{submission_id}{_FILE}"


class KeptEvidence:
    """The evidence of one submission as a `Keepsake`; `place` says where it is safe, None if it is not yet."""

    def __init__(self, evidence: Evidence, submission_id: UUID, answer: Answer, *, place: str | None) -> None:
        self._evidence = evidence
        self._submission_id = submission_id
        self._answer = answer
        self.place = place

    def keep(self) -> None:
        """Write the evidence to the disk, or to the bucket if the disk refuses; log it if both refuse."""
        if self.place:
            return
        self._evidence.trying.add(self._submission_id)
        try:
            self._evidence.write(self._submission_id, self._answer)
            self.place = str(self._evidence.path(self._submission_id))
        except OSError as error:
            _log.warning("evidence_not_on_disk", submission=str(self._submission_id), error=error.strerror)
            self._put()

    def drop(self) -> None:
        """Remove it: it is committed."""
        self._evidence.trying.discard(self._submission_id)
        if self.place is None:
            return
        self._evidence.forget(self._submission_id, bucket=self.place == key_of(self._submission_id))

    def _put(self) -> None:
        try:
            self._evidence.put(self._submission_id, self._answer)
            self.place = key_of(self._submission_id)
        except StorageError as error:
            _log.error("evidence_not_kept", submission=str(self._submission_id), code=error.code)


def key_of(submission_id: UUID) -> str:
    """Return the key of evidence that the disk refused."""
    return f"submissions/{submission_id}/evidence"


def _written(submission_id: UUID, answer: Answer) -> bytes:
    whole = {"version": _VERSION, "submission": str(submission_id)}
    return json.dumps({**whole, "answer": _ANSWERS.dump_python(answer, mode="json")}).encode()


def _read(submission_id: UUID, text: bytes) -> Answer:
    """Return the answer in a file of ours; raises `ValueError`."""
    if len(text) > _MOST_BYTES:
        raise ValueError("longer than anything we write")
    try:
        whole = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(whole, dict) or (whole.get("version"), whole.get("submission")) != (_VERSION, str(submission_id)):
        raise ValueError("not the evidence of this submission")
    try:
        return _ANSWERS.validate_python(whole.get("answer"))
    except ValidationError:
        raise ValueError("not an answer") from None


def _opened(path: Path) -> BinaryIO:
    """Open a file that we wrote; raises `OSError`, also if another user could have written it."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    found = os.fstat(file.fileno())
    if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022:
        file.close()
        raise PermissionError("somebody else may have written it")
    return cast("BinaryIO", file)


def _sync(directory: Path) -> None:
    """Sync a new name to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _EvidenceInMemory:
    """Bytes as `Stored`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.sha256_base64 = base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
        self.length = len(content)

    def rewound(self) -> BinaryIO:
        return BytesIO(self._content)
