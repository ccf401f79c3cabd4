"""Answers that carry their images: kept whole before anything is taken out of them, and found again after a crash."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast
from uuid import UUID

import anyio
import anyio.to_thread
import structlog

from shared.backoff import delay
from shared.db import submissions
from shared.db.engine import Connection
from shared.db.submissions import Answer
from shared.lifecycle import Outcome
from worker.bought import bought
from worker.fetch import Fetched
from worker.imagecheck import NotAnImage
from worker.providers.contract import Accepted, Again, InlineWire, PaidCall, Refused, UnreadableError
from worker.providers.receipt import kept
from worker.replies import ReplyFile, link_to
from worker.runtime import Account, Runtime
from worker.spool import Spool, SpoolError
from worker.storage import ObjectMissing, StorageError

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_OK = 200
_LEFTOVER_SECONDS = 60.0


async def pay(runtime: Runtime, account: Account, submission_id: UUID, call: PaidCall) -> Accepted | Refused:
    """Pay once; the answer lies on this host's disk, and if the bucket takes it there too, when this returns."""
    wire = _wire(account)
    try:
        reply = await _in_thread(runtime, partial(runtime.replies.open, submission_id))
    except SpoolError as error:
        return Refused(Outcome.NOT_SENT, Again.AFTER, error.code, str(error))
    try:
        answer = await wire.submit(replace(call, sink=reply))
        found = await _in_thread(runtime, lambda: kept(answer, wire, reply.rewound()))
        if isinstance(found, Accepted):
            await _keep(runtime, submission_id, reply)
            return linked(submission_id, found)
        return found
    finally:
        reply.close()


async def _keep(runtime: Runtime, submission_id: UUID, reply: ReplyFile) -> None:
    """Bring an answer to disk and bucket; where one refuses, the other has it, and else it is held in hand."""
    on_disk = True
    try:
        await _in_thread(runtime, reply.seal)
    except SpoolError as error:
        on_disk = False
        _log.warning("reply_not_on_disk", submission=str(submission_id), code=error.code)
    give_up = time.monotonic() + (0 if on_disk else runtime.settings.store_wait_seconds)
    tries = 0
    while True:
        try:
            await _in_thread(runtime, partial(runtime.replies.upload, submission_id, reply))
        except StorageError as error:
            runtime.bucket_refused()
            _log.warning("reply_not_in_bucket", submission=str(submission_id), code=error.code)
            if time.monotonic() >= give_up:
                return
            tries += 1
            await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=15, random=runtime.random))
        else:
            return


def linked(submission_id: UUID, answer: Accepted) -> Accepted:
    """Give each image of an answer its link into that answer."""
    images = tuple(replace(image, link=link_to(submission_id, index)) for index, image in enumerate(answer.images))
    return replace(answer, images=images)


async def extract(runtime: Runtime, account: Account, submission_id: UUID, index: int) -> Fetched:
    """Return one image of a kept answer as if it had been fetched; whoever receives it closes the spool."""
    return await _in_thread(runtime, partial(_extract, runtime, _wire(account), submission_id, index))


def _extract(runtime: Runtime, wire: InlineWire, submission_id: UUID, index: int) -> Fetched:
    spool = Spool(directory=runtime.spool_dir, max_bytes=runtime.settings.max_image_bytes)
    try:
        with runtime.replies.read(submission_id) as file:
            wire.extract(file, index, spool)
    except UnreadableError as error:
        spool.close()
        raise NotAnImage(f"in the answer: {error}") from None
    except BaseException:
        spool.close()
        raise
    return Fetched(spool, None, _OK, 0)


async def recover(runtime: Runtime, account: Account, submission_id: UUID) -> bool:
    """Record what a kept answer says was bought, if there is one that nobody recorded; its sender is gone or late.

    Raises `StorageError` where the bucket cannot be asked, for then nothing is known.
    """
    try:
        found = await _in_thread(runtime, partial(_read, runtime, _wire(account), submission_id))
    except ObjectMissing:
        return False
    if isinstance(found, Refused):
        return False
    actor = runtime.sender.name
    recorded = await runtime.write(partial(_record, submission_id, linked(submission_id, found), actor))
    if recorded:
        _log.info("answer_found", submission=str(submission_id), images=len(found.images))
    return recorded


def _read(runtime: Runtime, wire: InlineWire, submission_id: UUID) -> Accepted | Refused:
    with runtime.replies.read(submission_id) as file:
        return kept(Accepted(_OK, (), whole=False), wire, file)


def _record(submission_id: UUID, found: Accepted, actor: str, connection: Connection) -> bool:
    asked = submissions.asked_by(connection, submission_id)
    if asked is None:
        return False
    answer = Answer(
        Outcome.ACCEPTED,
        http_status=found.http_status,
        settled=found.settled,
        images=bought(asked.missing, asked.request, found.images),
    )
    recorded = submissions.record(connection, submission_id, answer)
    if recorded:
        submissions.follow_late(connection, asked.job_id, submission_id, actor=actor)
    return recorded


async def recover_leftovers(runtime: Runtime) -> None:
    """Record and upload what a worker of this host had in hand when it died; again until database and bucket took it.

    Both may be away when the whole machine comes up, and this disk may hold the only evidence of a purchase.
    """
    left, tries = await _in_thread(runtime, runtime.replies.leftovers), 0
    while left := [submission_id for submission_id in left if not await _is_recovered(runtime, submission_id)]:
        tries += 1
        await anyio.sleep(delay(tries, first_seconds=0.5, max_seconds=_LEFTOVER_SECONDS, random=runtime.random))


async def _is_recovered(runtime: Runtime, submission_id: UUID) -> bool:
    try:
        await _recover_leftover(runtime, submission_id)
    except Exception as error:  # noqa: BLE001 - it is tried again; the others must not wait for it
        _log.warning("leftover_stays", submission=str(submission_id), error=type(error).__name__)
        return False
    return True


async def _recover_leftover(runtime: Runtime, submission_id: UUID) -> None:
    asked = await runtime.sql(partial(submissions.asked_by, submission_id=submission_id))
    account = runtime.accounts.get(asked.account) if asked else None
    if account is None or not account.wire.inline:
        return
    await recover(runtime, account, submission_id)
    keep = runtime.replies.upload if asked.missing else runtime.replies.forget
    await _in_thread(runtime, partial(keep, submission_id))


async def forget(runtime: Runtime, submission_ids: set[UUID]) -> None:
    """Remove answers whose images are all stored by themselves; what cannot be removed now stays, harmless."""
    for submission_id in submission_ids:
        try:
            await _in_thread(runtime, partial(runtime.replies.forget, submission_id))
        except StorageError as error:
            _log.info("reply_stays", submission=str(submission_id), code=error.code)


def _wire(account: Account) -> InlineWire:
    wire = account.wire
    if not wire.inline:
        raise TypeError(f"{account.name} does not answer with images")
    return cast("InlineWire", wire)


async def _in_thread(runtime: Runtime, work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work, limiter=runtime.transfers_threads)
