"""Decides about a job after its paid call."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.lifecycle import IMAGE_FINAL, ImageState, JobState, Outcome
from shared.moves import Claim, Move
from worker.next_step.inputs import DecisionInputs
from worker.next_step.known import LinkedPicture
from worker.next_step.look_times import until_first_look
from worker.next_step.refusal_waits import wait_after_refused_call
from worker.providers.contract import Refused, RetryRule

UNAVAILABLE: Final = "provider_unavailable"
UNREADABLE: Final = "answer_unreadable"
NO_KEY_SECONDS: Final = 15.0
"""Until a job is due again for another worker, because this one lacks its account's key."""


def after_purchase(inputs: DecisionInputs, claim: Claim, pictures: Sequence[LinkedPicture], *, model: str = "") -> Move:
    """Decide after a purchase: copy at once if all images have links, else ask the provider for them in time."""
    before = JobState.SUBMITTING
    if all(picture.state is ImageState.FAILED for picture in pictures):
        return Move(claim, before, JobState.FAILED, code=pictures[0].error_code, note=pictures[0].error)
    if all(picture.state is ImageState.READY or picture.state in IMAGE_FINAL for picture in pictures):
        ends = first_expiry(pictures)
        lease = inputs.transfer_lease
        return Move(claim, before, JobState.TRANSFERRING, lease, keep_claim=True, link_expires_at=ends)
    if not inputs.can_look:
        wait = inputs.settings.held_recheck_seconds
        return Move(claim, before, JobState.IN_DOUBT, wait, code=UNREADABLE, note="no links", on_hold=True)
    return Move(claim, before, JobState.PENDING, until_first_look(inputs, model))


def after_refusal(
    inputs: DecisionInputs, claim: Claim, refused: Refused, *, tries: int, shows_in: float, times: int = 0
) -> Move:
    """Decide after a paid call that brought no image.

    `tries` counts the job's failures so far. `times` counts how often its provider was unavailable, this time included.
    `shows_in`: seconds until the provider would show the call's purchase.
    """
    before, code, note = JobState.SUBMITTING, refused.code, refused.message
    if refused.outcome is Outcome.UNKNOWN:
        return lost(inputs, claim, before, shows_in=shows_in, code=code, note=note)
    if refused.again is RetryRule.NEVER or (code == UNAVAILABLE and times >= inputs.settings.submit_tries):
        return Move(claim, before, JobState.FAILED, code=code, note=note)
    if refused.again is RetryRule.RESUME:
        return Move(claim, before, JobState.QUEUED, 0, code=code, note=note, tries=tries)
    wait = wait_after_refused_call(inputs, refused, tries=tries)
    return Move(claim, before, JobState.QUEUED, wait, code=code, note=note, tries=tries + 1)


def lost(
    inputs: DecisionInputs | None,
    claim: Claim,
    before: JobState,
    *,
    shows_in: float,
    code: str | None,
    note: str | None,
) -> Move:
    """Put a job in doubt because its answer is lost. A worker looks for its purchase once the provider would show it.

    If the provider shows nothing, a person must end the job. `inputs` is None if this worker lacks the account's key.
    """
    doubtful = Move(claim, before, JobState.IN_DOUBT, NO_KEY_SECONDS, code=code, note=note)
    if inputs is None:
        return doubtful
    if inputs.find_by == "nothing":
        return replace(doubtful, due_seconds=inputs.settings.held_recheck_seconds, on_hold=True)
    return replace(doubtful, due_seconds=shows_in + inputs.slack_seconds)


def first_expiry(pictures: Sequence[LinkedPicture]) -> datetime | None:
    """Return when the first link expires; None if no expiry is known."""
    return min((ends for picture in pictures if (ends := picture.link_expires_at)), default=None)
