"""Transfer: copies every ready image of the claimed jobs to the bucket, earliest expiry first, and ends the jobs."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from shared.db.engine import Connection
from shared.db.group_commit import WriteRefusedError
from shared.db.jobs import images
from shared.db.jobs.images import ImageResult
from shared.db.jobs.transitions import give_back, move
from shared.db.payments import submissions
from shared.images import ClaimedImage
from shared.lifecycle import ImageState, JobState
from shared.moves import Claim, Move
from shared.notes import short_note
from worker import next_step
from worker.evidence.committer import NotCommittedError
from worker.evidence.inline_answers import forget
from worker.evidence.replies import parse_link
from worker.next_step import CopyWait
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.copy_image import copy_image

_log = structlog.get_logger(__name__)


async def transfer(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Copy ready images and end each job whose images are all final. The others are due again later."""
    account = runtime.accounts.get(account_name)
    if account is None:
        await runtime.in_transaction(_leave_to_others, account_name, claims)
        return
    jobs: dict[Claim, list[ClaimedImage]] = {}
    states = [JobState.TRANSFERRING]
    for image in await runtime.one_statement(images.of_claims, account=account_name, claims=claims, states=states):
        jobs.setdefault(image.claim, []).append(image)
    async with anyio.create_task_group() as group:
        for pictures in jobs.values():
            group.start_soon(_copy_job, runtime, account, pictures)


async def _copy_job(runtime: Runtime, account: ServedAccount, pictures: Sequence[ClaimedImage]) -> None:
    """Copy one job's images and write its end at once. Never raises, because that would cancel the jobs beside it."""
    first = pictures[0]
    with bound_contextvars(batch=str(first.batch_id), job=str(first.claim.job_id), account=account.name):
        try:
            await _copy_and_end(runtime, account, pictures)
        except NotCommittedError:
            _log.info("end_waits")
        except Exception:  # noqa: BLE001 - a job that has not ended is due again when its lease ends
            _log.exception("end_defect")


async def _copy_and_end(runtime: Runtime, account: ServedAccount, pictures: Sequence[ClaimedImage]) -> None:
    claim = pictures[0].claim
    wait = await _copy_all(runtime, account, pictures)
    try:
        ended = await runtime.write_joined(end_all, Copied(runtime, account, claim, wait))
    except WriteRefusedError as error:
        _log.error("end_not_recorded", error=str(error))
        # No worker died of it, as it would seem if the lease ended first.
        again, states = runtime.settings.retry_max_seconds, [JobState.TRANSFERRING]
        await runtime.write(give_back, [claim], states=states, due_seconds=again, done=True)
        return
    if ended is JobState.SUCCEEDED and account.wire.inline:
        inside = (parse_link(image.link or "") for image in pictures)
        await forget(runtime, {found[0] for found in inside if found})


async def _copy_all(runtime: Runtime, account: ServedAccount, pictures: Sequence[ClaimedImage]) -> CopyWait | None:
    """Copy ready images; return the earliest wait of those that could not be copied yet."""
    waiting: list[CopyWait] = []
    async with anyio.create_task_group() as group:
        for image in pictures:
            if image.state is ImageState.READY:
                group.start_soon(_copy_one, runtime, account, image, waiting)
    return min(waiting, key=lambda wait: wait.seconds, default=None)


async def _copy_one(runtime: Runtime, account: ServedAccount, image: ClaimedImage, waiting: list[CopyWait]) -> None:
    try:
        left = await copy_image(runtime, account, image)
    except NotCommittedError:  # nothing is wrong with the image: it is copied again when the job is due
        _log.info("copy_waits", index=image.index)
        return
    except Exception:  # noqa: BLE001 - one picture's trouble must not end its neighbours
        _log.exception("copy_defect", index=image.index)
        inputs, why = runtime.decision_inputs(account), "a defect while copying"
        most = runtime.settings.retry_max_seconds
        left = next_step.until_next_copy(inputs, image, "result_unavailable", why, at_least=most)
    if left is not None:
        waiting.append(left)


@dataclass(frozen=True, slots=True)
class Copied:
    """A job whose images this worker has tried to copy; `wait`: why some are still to come."""

    runtime: Runtime
    account: ServedAccount
    claim: Claim
    wait: CopyWait | None


def end_all(connection: Connection, copied: Sequence[Copied]) -> list[JobState | None]:
    """Write the end of each job whose images are final or whose collection deadline has passed; postpone the others.

    Returns where each job went; None if another worker holds it by now.
    """
    held = _still_here(connection, copied)
    here = [one for one in copied if one.claim in held]
    pictures = images.results(connection, [one.claim.job_id for one in here])
    steps = [_after_copying(connection, one, pictures[one.claim.job_id]) for one in here]
    if steps:
        move(connection, steps, actor=here[0].runtime.sender.name)
    after = {step.claim: step.after for step in steps}
    return [after.get(one.claim) for one in copied]


def _still_here(connection: Connection, copied: Sequence[Copied]) -> set[Claim]:
    """Lock the jobs that are still ours to end, and return their claims."""
    found: set[Claim] = set()
    for account in sorted({one.account.name for one in copied}):
        claims = [one.claim for one in copied if one.account.name == account]
        states = submissions.lock_all_claimed(connection, account, claims)
        found |= {claim for claim, state in states.items() if state is JobState.TRANSFERRING}
    return found


def _after_copying(connection: Connection, one: Copied, pictures: Sequence[ImageResult]) -> Move:
    inputs, claim, wait = one.runtime.decision_inputs(one.account), one.claim, one.wait
    still_copying = next_step.is_open(pictures) and not next_step.goes_back(inputs, pictures)
    if still_copying and images.past_bound(connection, claim.job_id):
        why = f"; {wait.code}: {wait.note}" if wait else ""
        images.give_up(connection, [claim.job_id], short_note(f"not copied before the collection deadline{why}"))
        pictures = images.results(connection, [claim.job_id])[claim.job_id]
    return next_step.after_copying(inputs, claim, pictures, wait)


def _leave_to_others(connection: Connection, account: str, claims: Sequence[Claim]) -> None:
    states = submissions.lock_all_claimed(connection, account, claims)
    here = [claim for claim, state in states.items() if state is JobState.TRANSFERRING]
    move(connection, map(next_step.without_key, here), actor="transfer")
