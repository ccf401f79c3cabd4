"""Decides about a job after its images were copied or could not be copied."""

from collections.abc import Sequence

from shared.lifecycle import IMAGE_FINAL, ImageState, JobState
from shared.moves import Claim, Move
from worker.next_step.inputs import CopyWait, DecisionInputs
from worker.next_step.known import CopiedPicture, Picture


def after_copying(
    inputs: DecisionInputs, claim: Claim, pictures: Sequence[CopiedPicture], wait: CopyWait | None
) -> Move:
    """Decide after a transfer. `wait` is the earliest wait of the images that could not be copied yet."""
    before = JobState.TRANSFERRING
    if not is_open(pictures):
        return _ended(claim, pictures)
    if goes_back(inputs, pictures):
        return Move(claim, before, JobState.PENDING, 0)
    if wait is None:
        return Move(claim, before, before, inputs.settings.retry_first_seconds)
    return Move(claim, before, before, wait.seconds, code=wait.code, note=wait.note, tries=wait.tries)


def is_open(pictures: Sequence[Picture]) -> bool:
    """Tell whether an image is not final yet."""
    return any(picture.state not in IMAGE_FINAL for picture in pictures)


def goes_back(inputs: DecisionInputs, pictures: Sequence[Picture]) -> bool:
    """Tell whether a transferring job has nothing to copy, and its provider can be asked for the rest."""
    return inputs.can_look and not any(picture.state is ImageState.READY for picture in pictures)


def _ended(claim: Claim, given: Sequence[CopiedPicture]) -> Move:
    """Return the end of a job whose images are all final. One that it did not ask for cannot fail it."""
    before = JobState.TRANSFERRING
    pictures = [picture for picture in given if picture.asked]
    failed = [picture for picture in pictures if picture.state is ImageState.FAILED]
    failed.sort(
        key=lambda picture: picture.error_code != "result_unverified"
    )  # an image that a person can accept comes first
    if not failed:
        return Move(claim, before, JobState.SUCCEEDED)
    first = failed[0]
    if len(failed) == len(pictures):
        return Move(claim, before, JobState.FAILED, code=first.error_code, note=first.error)
    note = f"{len(pictures) - len(failed)} of {len(pictures)} images stored; {first.error_code}: {first.error}"
    return Move(claim, before, JobState.FAILED, code="partial_result", note=note)
