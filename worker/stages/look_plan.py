"""Decides what the looks of one poll lead to: the change of each image, and the next step of each job."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import IMAGE_UNFINISHED, ImageState, JobState
from shared.moves import Claim, Move
from worker import next_step
from worker.next_step import ImageLook
from worker.providers.contract import Refused
from worker.stages.look_requests import Looks

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
ImagesOfJob = Sequence[ClaimedImage]
"""The images of one job that a look read; never empty."""


@dataclass(frozen=True, slots=True)
class LookPlan:
    """What a poll writes. Each job is in exactly one of `decided`, `put_off` and `unanswered`."""

    decided: Sequence[tuple[ImagesOfJob, Sequence[ImageChange]]]
    """The jobs whose next step the looks decide, with what each image is now."""
    changes: Sequence[ImageChange]
    """What is new about their images."""
    moves: Sequence[Move]
    """Their next steps, in the order of `decided`."""
    put_off: Sequence[Move]
    """The jobs that wait because their look was refused."""
    unanswered: Sequence[Claim]
    """The jobs that are given back, because no look asked for them, or its answer left them out."""


def plan_looks(
    inputs: next_step.DecisionInputs, looks: Looks, jobs: Sequence[ImagesOfJob], *, room: int, at_most: float
) -> LookPlan:
    """Decide about each job. This worker copies the images of at most `room` jobs now, and keeps their claims.

    `at_most`: the longest wait in seconds that a refusal may impose.
    """
    unknown, known = _split_by_answer(looks, jobs)
    decided = [(job, [_image_after_look(inputs, image, looks) for image in job]) for job in known]
    moves = [next_step.after_look(inputs, job[0], now, waited=_has_ready(job)) for job, now in decided]
    return LookPlan(
        decided=decided,
        changes=[change for job, now in decided for change in _changes(job, now)],
        moves=_keep_urgent(inputs, moves, room),
        put_off=_put_off(inputs, looks.refusal, unknown, at_most),
        unanswered=[job[0].claim for job in unknown] if looks.refusal is None else [],
    )


def is_asked_for(image: ClaimedImage) -> bool:
    """Tell whether a look asks for an image: it is not finished yet."""
    return image.state in IMAGE_UNFINISHED


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


def _has_ready(job: ImagesOfJob) -> bool:
    return any(image.state is ImageState.READY for image in job)


def _keep_urgent(inputs: next_step.DecisionInputs, moves: Sequence[Move], room: int) -> list[Move]:
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
        not job[0].given_up and not _has_ready(job) and any(looks.of(one) is None for one in job if is_asked_for(one))
    )


def _put_off(
    inputs: next_step.DecisionInputs, refusal: Refused | None, jobs: Sequence[ImagesOfJob], at_most: float
) -> list[Move]:
    if refusal is None:
        return []
    put_off: Callable[..., Move] = partial(next_step.after_refused_look, inputs, refused=refusal, at_most=at_most)
    return [put_off(claim=job[0].claim, before=job[0].job_state, tries=job[0].job_tries) for job in jobs]


def _changes(job: ImagesOfJob, now: Sequence[ImageChange]) -> Iterable[ImageChange]:
    return (change for change, row in zip(now, job, strict=True) if _is_news(change, row))


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
