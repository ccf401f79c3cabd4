"""Poll: asks a provider for many images at once, writes only changes, and copies what is ready at once."""

from collections.abc import Iterable, Sequence

import structlog

from shared.db import pauses
from shared.db.engine import Connection
from shared.db.group_commit import WriteRefusedError
from shared.db.jobs import images
from shared.db.jobs.transitions import give_back, move
from shared.db.payments import submissions
from shared.db.waking import wake
from shared.images import ClaimedImage
from shared.lifecycle import POLLED, JobState
from shared.moves import Claim, Move
from worker import next_step
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.account_blame import blame_account
from worker.stages.learn_times import learn_times
from worker.stages.look_health import RefusedLook, record_looks
from worker.stages.look_plan import ImagesOfJob, LookPlan, is_asked_for, plan_looks
from worker.stages.look_requests import Looks, ask_all
from worker.stages.transfer import transfer
from worker.stages.whose_refusal import is_of_one_job

_log = structlog.get_logger(__name__)


async def poll(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Ask for every open image of the claimed jobs; jobs that could not be asked for go back with the reason."""
    account = runtime.accounts.get(account_name)
    if account is None or not account.can_look:
        wait = 2 * next_step.NO_KEY_SECONDS
        await runtime.one_statement(give_back, claims, states=POLLED, account=account_name, due_seconds=wait)
        return
    found = await runtime.one_statement(images.of_claims, account=account_name, claims=claims, states=POLLED)
    looks = await ask_all(runtime, account, [one for one in found if is_asked_for(one)])
    _keep_links_apart(account, looks, found)
    jobs = list(_by_job(found).values())
    if looks.refusal is not None and not looks.known:
        asked = [job[0].claim.job_id for job in jobs]
        looks.of_one_job = await is_of_one_job(runtime, account, looks.refusal, asked)
    room = runtime.transfers.available
    try:
        ready = await runtime.write(write_looks, runtime, account, looks, jobs, room=room)
    except WriteRefusedError:
        # If PostgreSQL refuses one job's write, the other jobs' results must still be written.
        await _write_each(runtime, account, looks, jobs)
        return
    if ready:
        await transfer(runtime, account_name, ready)


def _keep_links_apart(account: ServedAccount, looks: Looks, found: Sequence[ClaimedImage]) -> None:
    """Leave a link that several images have to one of them: the others have none yet."""
    if others := next_step.links_of_others(looks.known, found):
        looks.known.update(others)
        _log.warning("link_of_another_image", account=account.name, images=len(others))


def _by_job(found: Iterable[ClaimedImage]) -> dict[Claim, list[ClaimedImage]]:
    jobs: dict[Claim, list[ClaimedImage]] = {}
    for image in found:
        jobs.setdefault(image.claim, []).append(image)
    return jobs


async def _write_each(
    runtime: Runtime, account: ServedAccount, looks: Looks, jobs: Sequence[list[ClaimedImage]]
) -> None:
    """Commit each job's write by itself.

    A job whose write is refused is due again later. That does not count as a death of its worker.
    """
    for job in jobs:
        try:
            await runtime.write(write_looks, runtime, account, looks, [job])
        except WriteRefusedError as error:
            _log.error("poll_not_recorded", error=str(error))
            wait = runtime.settings.retry_max_seconds
            await runtime.write(give_back, [job[0].claim], states=POLLED, due_seconds=wait, done=True)


def write_looks(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    looks: Looks,
    jobs: Sequence[ImagesOfJob],
    *,
    room: int = 0,
) -> list[Claim]:
    """Write the looks' results for each job, and its next step.

    Returns the claims of at most `room` jobs that this worker keeps, because it copies their images now.
    """
    # The account's row first, in the lock order of submit and dispatch. Then the images, then their jobs.
    at_most = _record_health(connection, runtime, account, looks, jobs)
    plan = plan_looks(runtime.decision_inputs(account), looks, jobs, room=room, at_most=at_most)
    _count_undelivered(connection, runtime, account, looks, plan)
    images.change(connection, plan.changes)
    learn_times(connection, runtime, account, [job[0] for job, _ in plan.decided], plan.moves)
    moved = move(connection, [*plan.moves, *plan.put_off], actor=runtime.sender.name)
    failed = {step.claim.job_id for step in plan.moves if step.after is JobState.FAILED} & moved
    submissions.collect_after_end(connection, failed, actor=runtime.sender.name)
    _wake_other_workers(connection, plan.moves)
    seconds = looks.no_room_seconds or runtime.settings.poll_first_seconds
    give_back(connection, plan.unanswered, states=POLLED, due_seconds=seconds)
    blame_account(connection, runtime, account, plan.changes)
    return [step.claim for step in plan.moves if step.keep_claim and step.claim.job_id in moved]


def _record_health(
    connection: Connection, runtime: Runtime, account: ServedAccount, looks: Looks, jobs: Sequence[ImagesOfJob]
) -> float:
    """Record whether the account's looks are answered; return the longest wait that a server may impose."""
    answered, found = bool(looks.known), bool(looks.vouching)
    refused = None if looks.of_one_job else looks.refusal
    refusal = RefusedLook(refused, [job[0].claim.job_id for job in jobs]) if refused else None
    return record_looks(runtime, account, connection, answered=answered, found=found, refusal=refusal)


def _count_undelivered(
    connection: Connection, runtime: Runtime, account: ServedAccount, looks: Looks, plan: LookPlan
) -> None:
    """Count the jobs that were paid and bring no image; after some in a row, the account buys nothing more."""
    for job, now in plan.decided:
        why = next_step.nothing_found(now) or _not_linked(job, looks)
        if why is not None:
            job_id = job[0].claim.job_id
            pauses.record_undelivered(connection, account.name, job_id, reason=why, probing=runtime.probing)


def _not_linked(job: ImagesOfJob, looks: Looks) -> str | None:
    return next_step.nothing_linked(job[0].job_tries + 1, [looks.of(image) for image in job])


def _wake_other_workers(connection: Connection, moves: Sequence[Move]) -> None:
    """Wake the workers if they may copy images for which this worker has no room."""
    if any(step.after is JobState.TRANSFERRING and not step.keep_claim for step in moves):
        wake(connection)
