"""Poll: asks a provider for many images at once, writes only changes, and copies what is ready at once."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from shared.db import pauses
from shared.db.engine import Connection
from shared.db.group_commit import WriteRefusedError
from shared.db.jobs import images
from shared.db.jobs.transitions import give_back, move
from shared.db.waking import wake
from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import IMAGE_UNFINISHED, POLLED, ImageState, JobState
from shared.moves import Claim, Move
from worker import next_step
from worker.next_step import ImageLook
from worker.providers.contract import Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.account_blame import blame_account
from worker.stages.learn_times import learn_times
from worker.stages.look_health import RefusedLook, record_looks
from worker.stages.look_requests import Looks, ask_all
from worker.stages.transfer import transfer
from worker.stages.whose_refusal import is_of_one_job

_log = structlog.get_logger(__name__)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
ImagesOfJob = Sequence[ClaimedImage]
"""The images of one job that a look read; never empty."""
_Learned = tuple[ImagesOfJob, Sequence[ImageChange]]


async def poll(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Ask for every open image of the claimed jobs; jobs that could not be asked for go back with the reason."""
    account = runtime.accounts.get(account_name)
    if account is None or not account.can_look:
        wait = 2 * next_step.NO_KEY_SECONDS
        await runtime.one_statement(give_back, claims, states=POLLED, account=account_name, due_seconds=wait)
        return
    found = await runtime.one_statement(images.of_claims, account=account_name, claims=claims, states=POLLED)
    looks = await ask_all(runtime, account, [one for one in found if _is_asked_for(one)])
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


def _is_asked_for(image: ClaimedImage) -> bool:
    return image.state in IMAGE_UNFINISHED


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
    answered, found = bool(looks.known), bool(looks.vouching)
    refused = None if looks.of_one_job else looks.refusal
    refusal = RefusedLook(refused, [job[0].claim.job_id for job in jobs]) if refused else None
    at_most = record_looks(runtime, account, connection, answered=answered, found=found, refusal=refusal)
    unknown, known = _split_by_answer(looks, jobs)
    inputs = runtime.decision_inputs(account)
    learned = [(job, [_image_after_look(inputs, image, looks) for image in job]) for job in known]
    changes = [change for job, now in learned for change in _changes(job, now)]
    _stop_buying_nothing(connection, runtime, account, looks, learned)
    images.change(connection, changes)
    moves = [next_step.after_look(inputs, job[0], now, waited=_has_ready(job)) for job, now in learned]
    learn_times(connection, runtime, account, [job[0] for job, _ in learned], moves)
    shared = _shared_out(inputs, moves, room)
    put_off = _put_off(inputs, looks.refusal, unknown, at_most)
    moved = move(connection, [*shared, *put_off], actor=runtime.sender.name)
    _wake_other_workers(connection, shared)
    if looks.refusal is None:
        seconds = looks.no_room_seconds or runtime.settings.poll_first_seconds
        give_back(connection, [job[0].claim for job in unknown], states=POLLED, due_seconds=seconds)
    blame_account(connection, runtime, account, changes)
    return [step.claim for step in shared if step.keep_claim and step.claim.job_id in moved]


def _stop_buying_nothing(
    connection: Connection, runtime: Runtime, account: ServedAccount, looks: Looks, learned: Sequence[_Learned]
) -> None:
    """Count the jobs that were paid and bring no image; after some in a row, the account buys nothing more."""
    for job, now in learned:
        why = next_step.nothing_found(now) or _not_linked(job, looks)
        if why is not None:
            job_id = job[0].claim.job_id
            pauses.record_undelivered(connection, account.name, job_id, reason=why, probing=runtime.probing)


def _not_linked(job: ImagesOfJob, looks: Looks) -> str | None:
    return next_step.nothing_linked(job[0].job_tries + 1, [looks.of(image) for image in job])


def _split_by_answer(looks: Looks, jobs: Sequence[ImagesOfJob]) -> tuple[list[ImagesOfJob], list[ImagesOfJob]]:
    """Return the jobs that must wait for another look, and those whose next step the looks decide."""
    unknown: list[ImagesOfJob] = []
    known: list[ImagesOfJob] = []
    for job in jobs:
        if _is_unknown(looks, job):
            unknown.append(job)
        else:
            known.append(job)
    return unknown, known


def _wake_other_workers(connection: Connection, shared: Sequence[Move]) -> None:
    """Wake the workers if they may copy images for which this worker has no room."""
    if any(step.after is JobState.TRANSFERRING and not step.keep_claim for step in shared):
        wake(connection)


def _has_ready(job: ImagesOfJob) -> bool:
    return any(image.state is ImageState.READY for image in job)


def _shared_out(inputs: next_step.DecisionInputs, moves: Sequence[Move], room: int) -> list[Move]:
    """Keep the claims of as many jobs to be copied as there is room for here, earliest expiry first.

    Any worker takes the others. A job that waits too long for its message loses its link.
    """
    ready = [step for step in moves if step.after is JobState.TRANSFERRING]
    urgent = sorted(ready, key=lambda step: step.link_expires_at or _NEVER)[:room]
    kept = {step.claim for step in urgent}
    return [next_step.copied_here(inputs, step) if step.claim in kept else step for step in moves]


def _is_unknown(looks: Looks, job: ImagesOfJob) -> bool:
    """Tell whether a job must wait for another look: before its collection deadline, and if no image can be copied."""
    return (
        not job[0].given_up and not _has_ready(job) and any(looks.of(one) is None for one in job if _is_asked_for(one))
    )


def _put_off(
    inputs: next_step.DecisionInputs, refusal: Refused | None, jobs: Sequence[ImagesOfJob], at_most: float
) -> list[Move]:
    if refusal is None:
        return []
    put_off: Callable[..., Move] = partial(next_step.after_refused_look, inputs, refused=refusal, at_most=at_most)
    return [put_off(claim=job[0].claim, before=job[0].job_state, tries=job[0].job_tries) for job in jobs]


def _changes(job: ImagesOfJob, learned: Sequence[ImageChange]) -> Iterable[ImageChange]:
    return (change for change, row in zip(learned, job, strict=True) if _is_news(change, row))


def _is_news(change: ImageChange, row: ClaimedImage) -> bool:
    """Tell whether a look changed something. If the image lacks something else than before, its count restarts at 1.

    A link to an unfinished image is stored, because the look at the collection deadline may return none.
    """
    if change.state in IMAGE_UNFINISHED and change.link not in {None, row.link}:
        return True
    another_lack = change.lacking_looks > 0 and change.error_code != row.error_code
    return another_lack or change.state is not row.state or change.lacking_looks != row.lacking_looks


def _image_after_look(inputs: next_step.DecisionInputs, image: ClaimedImage, looks: Looks) -> ImageChange:
    # Other images that this look found count too.
    others = bool(looks.vouching - {image.upstream_id or ""})
    return next_step.image_after_look(inputs, image, ImageLook(looks.of(image), looks.refusal, others))
