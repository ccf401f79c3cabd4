"""Decides about a job after its provider was asked for its images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shared.lifecycle import IMAGE_UNFINISHED, ImageState, JobState
from shared.moves import Claim, Move
from shared.notes import short_note
from worker.next_step.inputs import DecisionInputs
from worker.next_step.known import LookedJob, LookedPicture
from worker.next_step.look_times import until_next_look
from worker.next_step.payment import first_expiry
from worker.next_step.refusal_waits import wait_after_refused_look
from worker.providers.contract import Refused

MISSING_LOOKS: Final = 5
"""The least number of looks in a row that must find an image missing before that is believed."""
_LOOK_FAILED: Final = "look_failed"


def after_look(
    inputs: DecisionInputs, job: LookedJob, pictures: Sequence[LookedPicture], *, waited: bool = False
) -> Move:
    """Decide after a look that covered every image of `job`.

    `waited`: an image was ready at an earlier look. It does not wait for its neighbours again, which may never end.
    """
    claim, before = job.claim, job.job_state
    open_ones = [picture for picture in pictures if picture.state in IMAGE_UNFINISHED]
    ready = any(picture.state is ImageState.READY for picture in pictures)
    if not open_ones or (ready and (waited or _may_be_gone(open_ones))):
        return _copied_or_failed(claim, before, pictures)
    tries = job.job_tries + 1
    drawing = any(picture.state is not ImageState.PENDING for picture in pictures)
    after = JobState.PROCESSING if drawing else before
    step = Move(claim, before, after, until_next_look(inputs, job, open_ones), tries=tries, needs_claim=True)
    lacking = next((picture for picture in open_ones if picture.lacking_looks), None)
    return replace(step, code=lacking.error_code, note=lacking.error) if lacking else step


def _may_be_gone(open_ones: Sequence[LookedPicture]) -> bool:
    """Tell whether every open image may be gone: then the ready images do not wait for them."""
    return all(picture.lacking_looks >= MISSING_LOOKS for picture in open_ones)


def _copied_or_failed(claim: Claim, before: JobState, pictures: Sequence[LookedPicture]) -> Move:
    if any(picture.state is not ImageState.FAILED for picture in pictures):
        ends = first_expiry(pictures)
        return Move(claim, before, JobState.TRANSFERRING, 0, link_expires_at=ends, needs_claim=True)
    first = pictures[0]
    return Move(claim, before, JobState.FAILED, code=first.error_code, note=first.error, needs_claim=True)


def copied_here(inputs: DecisionInputs, step: Move) -> Move:
    """Return a move to `transferring` with which the worker that looked keeps the job, to copy its images now."""
    return replace(step, due_seconds=inputs.transfer_lease, keep_claim=True)


def after_refused_look(
    inputs: DecisionInputs, claim: Claim, before: JobState, refused: Refused, *, tries: int, at_most: float
) -> Move:
    """Postpone a look that the provider refused, by at most `at_most` seconds if it names a time. No try is spent."""
    note = short_note(f"{inputs.title} was asked for this image: {refused.code}: {refused.message}")
    wait = wait_after_refused_look(inputs, refused, at_most)
    return Move(claim, before, before, wait, code=_LOOK_FAILED, note=note, tries=tries, needs_claim=True)
