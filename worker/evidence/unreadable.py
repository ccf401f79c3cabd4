"""Successes that could not be read: kept in the bucket, and read again by newer code or when a person asks."""

import base64
import hashlib
import socket
from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from typing import Any, BinaryIO, Final, TypeVar
from uuid import UUID

import structlog

from shared.db.engine import Connection
from shared.db.payments import kept_answers as db
from shared.db.payments import submissions
from shared.db.payments.kept_answers import Unread
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from worker.evidence.replies import key_of
from worker.evidence.reply_file import ReplyFile
from worker.evidence.spill import Spill
from worker.providers.contract import Accepted, PaidCall, Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.cost_check import check_cost, cost_of
from worker.stages.image_indexes import assign_indexes, surplus
from worker.transport.paid_post import SHORT_BYTES, PaidPost, PaidReply
from worker.transport.spool import SpoolError, SpoolFull
from worker.transport.storage_errors import StorageError
from worker.transport.undone import undone

T = TypeVar("T")
_log = structlog.get_logger(__name__)
SAID: Final = "what came is kept: see `genqueue explain`"
SEEN: Final = "the answer cannot be read as a whole: the pictures that it links to are taken, but its cost is open"
_TYPE: Final = "application/octet-stream"
_MOST_BYTES: Final = 2**24  # more than a call without images ever reads


async def kept(
    runtime: Runtime, submission_id: UUID, answer: Accepted | Refused, spill: Spill | None = None
) -> Accepted | Refused:
    """Keep an answer that may have been bought and could not be read, and return it; a refusal with a note of that.

    It goes to the bucket; if the bucket refuses, it stays on this host's disk until a worker starts here. `spill` has
    the whole of one that is too long for memory.
    """
    long = spill.reply if spill else None
    if not answer.body:
        if long is not None:
            await runtime.in_thread(runtime.replies.forget_file, submission_id)
        return answer
    if long is not None and await _keep_long(runtime, submission_id, long):
        return replace(answer, message=f"{answer.message}; {SAID}") if isinstance(answer, Refused) else answer
    try:
        await _store(runtime, submission_id, answer.body)
    except StorageError as error:
        runtime.bucket_refused(f"{error.code}: {error}")
        _log.warning("unreadable_answer_not_in_bucket", submission=str(submission_id), code=error.code)
        if not await _onto_disk(runtime, submission_id, answer.body):
            return answer
    return replace(answer, message=f"{answer.message}; {SAID}") if isinstance(answer, Refused) else answer


async def _keep_long(runtime: Runtime, submission_id: UUID, reply: ReplyFile) -> bool:
    """Keep an answer that lies on the disk already; False where the disk has no more of it than memory."""
    try:
        await runtime.in_thread(reply.seal)
        if reply.length <= SHORT_BYTES:
            raise SpoolFull(f"the disk took {reply.length} bytes")
    except SpoolError as error:
        _log.warning("reply_not_on_disk", submission=str(submission_id), code=error.code, said=str(error))
        await runtime.in_thread(runtime.replies.forget_file, submission_id)
        return False
    key, kept_as = _key(submission_id), f"{reply.path} on {socket.gethostname()}"
    try:
        await runtime.in_thread(lambda: runtime.replies.upload(submission_id, reply, key=key))
    except (StorageError, SpoolError) as error:
        runtime.bucket_refused(f"{error.code}: {error}")
        _log.warning("unreadable_answer_not_in_bucket", submission=str(submission_id), code=error.code)
    else:
        kept_as = _address(runtime, key)
        await runtime.in_thread(runtime.replies.forget_file, submission_id)
    await runtime.write(db.note, submission_id, sha256=reply.sha256, length=0, images=None, kept_as=kept_as)
    return True


async def bring(runtime: Runtime, submission_id: UUID) -> None:
    """Bring an unreadable answer from this host's disk to the bucket; raises `StorageError` or `SpoolError`."""

    def uploaded() -> str:
        runtime.replies.upload(submission_id, key=_key(submission_id))
        with runtime.replies.read(submission_id) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for more than is used

    sha256, kept_as = await runtime.in_thread(uploaded), _address(runtime, _key(submission_id))
    await runtime.write(db.note, submission_id, sha256=sha256, length=0, images=None, kept_as=kept_as)
    await runtime.in_thread(runtime.replies.forget_file, submission_id)


async def _store(runtime: Runtime, submission_id: UUID, body: bytes) -> None:
    key = _key(submission_id)
    await runtime.in_thread(runtime.storage.put, key, _AnswerInMemory(body), content_type=_TYPE, metadata={})
    await _note(runtime, submission_id, body, _address(runtime, key))


async def _onto_disk(runtime: Runtime, submission_id: UUID, body: bytes) -> bool:
    try:
        path = await runtime.in_thread(runtime.replies.keep, submission_id, body)
    except SpoolError as error:
        _log.error("unreadable_answer_not_kept", submission=str(submission_id), code=error.code)
        return False
    await _note(runtime, submission_id, body, f"{path} on {socket.gethostname()}")
    return True


async def _note(runtime: Runtime, submission_id: UUID, body: bytes, kept_as: str) -> None:
    sha256 = hashlib.sha256(body).hexdigest()
    await runtime.write(db.note, submission_id, sha256=sha256, length=0, images=None, kept_as=kept_as)


async def note_reply(runtime: Runtime, submission_id: UUID, reply: ReplyFile, *, in_bucket: bool) -> None:
    """Record where an unreadable inline answer is kept. If the bucket has it, the disk need not."""
    kept_as = _address(runtime, key_of(submission_id)) if in_bucket else f"{reply.path} on {socket.gethostname()}"
    sha256, length = reply.kept_sha256, reply.length
    await runtime.write(db.note, submission_id, sha256=sha256, length=length, images=0, kept_as=kept_as)
    if in_bucket:
        await runtime.in_thread(runtime.replies.forget_file, submission_id)


async def read_again(runtime: Runtime, account: ServedAccount, job_id: UUID) -> None:
    """Read a job's kept answer with the wire's present reader, and record the purchase in it.

    If the bucket is unavailable, the next look reads the answer.
    """
    await _name_unnamed(runtime, job_id)
    found = await runtime.in_transaction(db.unread, job_id=job_id)
    asked = await runtime.in_transaction(submissions.asked_by, submission_id=found.submission_id) if found else None
    if found is None or asked is None:
        return
    body = _ShortAnswer()
    try:
        await runtime.in_thread(runtime.storage.get_to, _key(found.submission_id), body)
        request = account.body(asked.request, len(asked.missing) or 1)
    except (StorageError, ValueError, LookupError) as error:
        _log.warning("kept_answer_not_read", submission=str(found.submission_id), error=type(error).__name__)
        return
    plain = undone(body.getvalue(), "", max_bytes=_MOST_BYTES)  # an earlier version kept some as they came
    wire = account.reading(_Replayed(PaidReply(found.http_status, {}, plain)))
    answer = await wire.submit(PaidCall(request, 0, str(found.submission_id)))
    if isinstance(answer, Accepted):
        most = runtime.most_for(account)
        await runtime.write(_record, found, asked, answer, actor=runtime.sender.name, most=most)
        _log.info("answer_found", submission=str(found.submission_id), images=len(answer.images))


async def _name_unnamed(runtime: Runtime, job_id: UUID) -> None:
    """Record an answer that lies in the bucket but not in the database, because its worker died in between."""
    submission = await runtime.in_transaction(submissions.latest, job_id)
    if submission is None or submission.error_code != submissions.SENDER_LOST or submission.kept_as is not None:
        return
    key, body = _key(submission.id), _ShortAnswer()
    try:
        if await runtime.in_thread(runtime.storage.head, key) is None:
            return
        await runtime.in_thread(runtime.storage.get_to, key, body)
    except (StorageError, ValueError) as error:
        _log.warning("kept_answer_not_read", submission=str(submission.id), error=type(error).__name__)
        return
    await _note(runtime, submission.id, body.getvalue(), _address(runtime, key))


def _record(
    connection: Connection, found: Unread, asked: Any, answer: Accepted, *, actor: str, most: Decimal | None
) -> None:
    """Record an answer that was read late as one that was read at once is: `settle.evidence_of`."""
    if answer.cost_is_open:
        if db.take_images(connection, found.submission_id, assign_indexes(asked.missing, asked.request, answer.images)):
            submissions.collect(connection, asked.job_id, actor=actor)
        return
    if asked.outcome != Outcome.ACCEPTED:
        check_cost(connection, asked.account, answer, asked.reserved, most=most)
    said = Answer(
        Outcome.ACCEPTED,
        http_status=answer.http_status,
        upstream_id=answer.upstream_id,
        settled=cost_of(answer, asked.reserved, len(asked.missing)),
        elsewhere=answer.elsewhere,
        images=assign_indexes(asked.missing, asked.request, answer.images),
        unowned=surplus(asked.missing, answer.images),
        left_out=answer.left_out,
    )
    if submissions.record(connection, found.submission_id, said):
        submissions.follow_late(connection, asked.job_id, found.submission_id, actor=actor)


class _Replayed(PaidPost):
    """Returns an earlier answer instead of making a paid call. It cannot send anything."""

    def __init__(self, reply: PaidReply) -> None:
        self._reply = reply
        self.timeout_seconds = 0.0

    async def send(self, *_: object, **__: object) -> PaidReply:
        """Return the answer."""
        return self._reply


class _ShortAnswer(BytesIO):
    """The content of an answer that is short enough for memory; raises `ValueError` for a longer one."""

    def write(self, chunk: Any) -> int:
        """Append `chunk`."""
        if self.tell() + len(chunk) > _MOST_BYTES:
            raise ValueError(f"an answer of more than {_MOST_BYTES} bytes")
        return super().write(chunk)


class _AnswerInMemory:
    """A short answer as `Stored`."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)
        self.sha256_base64 = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")

    def rewound(self) -> BinaryIO:
        return BytesIO(self._body)


def _key(submission_id: UUID) -> str:
    return f"submissions/{submission_id}/answer"


def _address(runtime: Runtime, key: str) -> str:
    return f"s3://{runtime.settings.s3_bucket}/{key}"
