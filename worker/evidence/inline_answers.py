"""Answers that carry their images: kept whole before any image is extracted, and found again after a crash."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar, cast
from uuid import UUID

import anyio
import anyio.to_thread
import structlog

from shared.backoff import delay
from shared.db.engine import Connection
from shared.db.payments import kept_answers as db
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from worker.evidence import unreadable
from worker.evidence.replies import link_to
from worker.evidence.reply_file import ReplyFile
from worker.imagecheck import NotAnImage
from worker.providers.contract import Accepted, InlineWire, PaidCall, Refused, RetryRule
from worker.providers.reading import UnreadableError
from worker.providers.receipt import kept
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.cost_check import check_cost
from worker.stages.image_indexes import UNASKED, assign_indexes
from worker.transport.download import Fetched
from worker.transport.spool import Spool, SpoolError
from worker.transport.storage_errors import ObjectMissing, StorageError
from worker.troubles import DISK

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_OK = 200
_LEFTOVER_SECONDS = 60.0
COST_OPEN = "the answer broke off: its whole images are taken, but whether the call was charged is open"


async def pay(
    runtime: Runtime, account: ServedAccount, submission_id: UUID, call: PaidCall, *, asked: int
) -> Accepted | Refused:
    """Pay once for `asked` images. When this returns, the answer lies on this host's disk, in the bucket, or in both.

    If there is no room for the answer, nothing is sent.
    """
    wire = _wire(account)
    largest = await _largest(runtime, account)
    try:
        reply = await runtime.in_thread(runtime.replies.open, submission_id, largest=largest)
    except SpoolError as error:
        runtime.troubles.note(DISK, f"{error.code}: {error}")
        _log.warning("call_waits_for_room", code=error.code, reason=str(error))
        return Refused(Outcome.NOT_SENT, RetryRule.AFTER, error.code, str(error))
    runtime.troubles.over(DISK)
    try:
        answer = await wire.submit(replace(call, sink=reply))
        if not reply.length:
            return await unreadable.kept(runtime, submission_id, kept(answer, wire, reply.rewound()))
        in_bucket = await _keep(runtime, submission_id, reply)
        try:
            found = await runtime.in_thread(_read_back, runtime, wire, submission_id, reply, answer)
        except (StorageError, SpoolError) as error:
            note = f"the answer is kept, but cannot be read now ({error.code})"
            found = Refused(Outcome.UNKNOWN, RetryRule.AFTER, "answer_unreadable", note, http_status=answer.http_status)
        if isinstance(found, Refused) and found.outcome is not Outcome.UNKNOWN:
            return found
        if isinstance(found, Refused):
            await unreadable.note_reply(runtime, submission_id, reply, in_bucket=in_bucket)
            return replace(found, message=f"{found.message}; {unreadable.SAID}")
        sha256, count = reply.kept_sha256, len(found.images)
        await runtime.write(db.note, submission_id, sha256=sha256, length=reply.length, images=count, kept_as=None)
        return linked(submission_id, _bounded(found, asked))
    finally:
        if reply.overflow is not None:
            await runtime.in_thread(reply.overflow.drop)
        reply.close()


async def _largest(runtime: Runtime, account: ServedAccount) -> int:
    """Return the expected length of an answer for this account, in bytes."""
    try:
        return await runtime.in_transaction(db.largest, account=account.name)
    except Exception as error:  # noqa: BLE001 - nothing is sent yet, and the least room still serves
        _log.warning("largest_answer_unknown", error=type(error).__name__)
        return 0


def _read_back(
    runtime: Runtime, wire: InlineWire, submission_id: UUID, reply: ReplyFile, answer: Accepted | Refused
) -> Accepted | Refused:
    """Read an answer that has just arrived, from the place where it is whole."""
    if reply.overflow is None or not reply.overflow.stored:
        return kept(answer, wire, reply.rewound())
    with runtime.replies.read(submission_id, sha256=reply.sha256) as file:
        return kept(answer, wire, file)


def _bounded(answer: Accepted, asked: int) -> Accepted:
    """Take the number of images that was asked for and a few more; the others stay in the kept answer."""
    most = asked + UNASKED
    if len(answer.images) > most:
        _log.warning("more_images_than_asked", asked=asked, came=len(answer.images), taken=most)
    return replace(answer, images=answer.images[:most])


async def _keep(runtime: Runtime, submission_id: UUID, reply: ReplyFile) -> bool:
    """Bring an answer to disk and bucket. If one refuses, the other has it; if both refuse, it stays in memory.

    Returns whether the bucket has it.
    """
    on_disk = reply.overflow is None
    try:
        await runtime.in_thread(reply.seal)
    except SpoolError as error:
        on_disk = False
        _log.warning("reply_not_on_disk", submission=str(submission_id), code=error.code, said=str(error))
    give_up = time.monotonic() + (0 if on_disk else runtime.settings.store_wait_seconds)
    tries = 0
    while True:
        try:
            await runtime.in_thread(runtime.replies.upload, submission_id, reply)
        except (StorageError, SpoolError) as error:
            if isinstance(error, StorageError):
                runtime.bucket_refused(f"{error.code}: {error}")
            _log.warning("reply_not_in_bucket", submission=str(submission_id), code=error.code, said=str(error))
            if time.monotonic() >= give_up:
                return False
            tries += 1
            await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=15, random=runtime.random))
        else:
            runtime.bucket_took()
            if reply.overflow is not None:
                await runtime.in_thread(runtime.replies.forget_file, submission_id)
            return True


def linked(submission_id: UUID, answer: Accepted) -> Accepted:
    """Give each image of an answer its link into that answer."""
    images = tuple(replace(image, link=link_to(submission_id, index)) for index, image in enumerate(answer.images))
    return replace(answer, images=images)


async def extract(runtime: Runtime, account: ServedAccount, submission_id: UUID, index: int) -> Fetched:
    """Return one image of a kept answer as if it had been downloaded; the caller closes the spool."""
    sha256 = await runtime.in_transaction(db.sha256_of, submission_id)
    return await runtime.in_thread(_extract, runtime, _wire(account), submission_id, index, sha256)


def _extract(runtime: Runtime, wire: InlineWire, submission_id: UUID, index: int, sha256: str | None) -> Fetched:
    spool = Spool(directory=runtime.spool_dir, max_bytes=runtime.settings.max_image_bytes)
    try:
        with runtime.replies.read(submission_id, sha256=sha256) as file:
            wire.extract(file, index, spool)
    except UnreadableError as error:
        spool.close()
        raise NotAnImage(f"in the answer: {error}") from None
    except BaseException:
        spool.close()
        raise
    return Fetched(spool, None, _OK, 0)


async def recover(runtime: Runtime, account: ServedAccount, submission_id: UUID) -> bool:
    """Record the purchase in a kept answer that nobody has recorded, because its sender is gone or late.

    Raises `StorageError` if the bucket cannot be asked, because then nothing is known.
    """
    sha256 = await runtime.in_transaction(db.sha256_of, submission_id)
    try:
        found = await runtime.in_thread(_read, runtime, _wire(account), submission_id, sha256)
    except ObjectMissing:
        return False
    except SpoolError as error:
        _log.error("kept_answer_not_used", submission=str(submission_id), code=error.code)
        return False
    if isinstance(found, Refused):
        return False
    most = runtime.most_for(account)
    recorded = await runtime.write(_record, submission_id, found, runtime.sender.name, most)
    if recorded:
        _log.info("answer_found", submission=str(submission_id), images=len(found.images))
    return recorded


def _read(runtime: Runtime, wire: InlineWire, submission_id: UUID, sha256: str | None) -> Accepted | Refused:
    with runtime.replies.read(submission_id, sha256=sha256) as file:
        return kept(Accepted(_OK, (), whole=False), wire, file)


def _record(connection: Connection, submission_id: UUID, found: Accepted, actor: str, most: Decimal | None) -> bool:
    asked = submissions.asked_by(connection, submission_id)
    if asked is None:
        return False
    if asked.outcome != Outcome.ACCEPTED:
        check_cost(connection, asked.account, found, asked.reserved, most=most)
    taken = linked(submission_id, _bounded(found, len(asked.missing)))
    images = assign_indexes(asked.missing, asked.request, taken.images)
    if found.cost_is_open:
        open_still = Answer(Outcome.UNKNOWN, error_code="answer_unreadable", error=COST_OPEN)
        submissions.record(connection, submission_id, open_still)
        taken_now = db.take_images(connection, submission_id, images)
        submissions.collect(connection, asked.job_id, actor=actor)
        return taken_now
    answer = Answer(
        Outcome.ACCEPTED,
        http_status=found.http_status,
        settled=found.settled,
        elsewhere=found.elsewhere,
        images=images,
    )
    recorded = submissions.record(connection, submission_id, answer)
    if recorded:
        submissions.follow_late(connection, asked.job_id, submission_id, actor=actor)
    return recorded


async def recover_leftovers(runtime: Runtime) -> None:
    """Record and upload the answers of a worker of this host that died; retry until database and bucket accept them.

    Both may be unavailable when the machine starts, and this disk may hold the only evidence of a purchase.
    """
    old = await runtime.in_thread(runtime.replies.old_leftovers)
    left, tries = {*old, *await runtime.in_thread(runtime.replies.leftovers)}, 0
    while left := {one for one in left if not await _is_recovered(runtime, one, old=one in old)}:
        tries += 1
        await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=_LEFTOVER_SECONDS, random=runtime.random))


async def _is_recovered(runtime: Runtime, submission_id: UUID, *, old: bool) -> bool:
    try:
        await _recover_leftover(runtime, submission_id, old=old)
    except Exception as error:  # noqa: BLE001 - it is tried again; the others must not wait for it
        _log.warning("leftover_stays", submission=str(submission_id), error=type(error).__name__)
        return False
    return True


async def _recover_leftover(runtime: Runtime, submission_id: UUID, *, old: bool) -> None:
    asked = await runtime.in_transaction(submissions.asked_by, submission_id=submission_id)
    account = runtime.accounts.get(asked.account) if asked else None
    if account is None:
        return
    if not account.wire.inline:
        await unreadable.bring(runtime, submission_id)
        return
    if old:
        # Only answers that this database knows: another home's answers may lie in the same place.
        await runtime.in_thread(runtime.replies.move_here, submission_id)
    await recover(runtime, account, submission_id)
    keep = runtime.replies.upload if asked.missing else runtime.replies.forget
    await runtime.in_thread(keep, submission_id)


async def forget(runtime: Runtime, submission_ids: set[UUID]) -> None:
    """Remove answers whose images are all stored separately. A leftover does no harm."""
    for submission_id in submission_ids:
        if not await runtime.in_transaction(db.all_stored, submission_id=submission_id):
            continue
        try:
            await runtime.in_thread(runtime.replies.forget, submission_id)
        except StorageError as error:
            _log.info("reply_stays", submission=str(submission_id), code=error.code)


def _wire(account: ServedAccount) -> InlineWire:
    wire = account.wire
    if not wire.inline:
        raise TypeError(f"{account.name} does not answer with images")
    return cast("InlineWire", wire)
