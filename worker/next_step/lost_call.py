"""Decides about a job whose paid call was lost, by what was found of the call."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from shared.lifecycle import IMAGE_UNFINISHED, ImageState, JobState, Outcome
from shared.moves import Claim, Move
from shared.notes import NOTE_CHARS, short_note
from shared.settings import Settings
from worker.next_step.inputs import DecisionInputs, LookAgain
from worker.next_step.known import ClosedSubmission, HeldCall, LostSubmission, Picture
from worker.next_step.payment import UNAVAILABLE, UNREADABLE
from worker.providers.contract import CHARGE_STATED, Refused

NOT_BOUGHT: Final = "not_bought"
UNSERVED_SECONDS: Final = 900.0
"""Until the next look at a job in doubt if no worker has its account's key."""
PATIENCE_SECONDS: Final = 3600.0
"""How long after a call's quiet time further looks may still find its answer; then the job is held for a person."""
LONGEST_LOOK_WAIT: Final = 900.0
"""The longest wait in seconds that a server may impose on looks: they collect what is paid for, which may expire."""
_PROVED_UNBOUGHT: Final = "proved_unbought"
_MOST_RESENDS: Final = 2  # of one job by itself, after a lost call or an error inside a success
_SENDER_SECONDS: Final = 600.0
_SENT_AGAIN: Final = frozenset(
    {
        "rate_limited",
        "provider_unreachable",
        UNAVAILABLE,
        "account_address_wrong",
        "spool_full",
        "spool_unwritable",
        "brand_not_ready",
        "account_unauthorized",
        "account_out_of_credit",
        "account_forbidden",
        NOT_BOUGHT,
    }
)
"""Refusals that may pass. If a job's sender could not act on one, the job goes back in line."""


def after_evidence(
    settings: Settings,
    claim: Claim,
    before: JobState,
    submission: ClosedSubmission,
    pictures: Sequence[Picture],
    *,
    can_look: bool = True,
) -> Move:
    """Follow an answer that came after all, too late for its sender to act on it; its outcome is known.

    `can_look`: whether the provider can be asked for a picture later.
    """
    code, note = submission.error_code, submission.error
    if submission.outcome is not Outcome.ACCEPTED:
        again = code in _SENT_AGAIN
        fails = Move(claim, before, JobState.FAILED, code=code or "provider_rejected", note=note)
        return Move(claim, before, JobState.QUEUED, 0, code=code, note=note) if again else fails
    held = partial(Move, claim, before, JobState.IN_DOUBT, settings.held_recheck_seconds, code=UNREADABLE, on_hold=True)
    if not pictures:
        return held(note="bought, but no image is recorded")
    if all(picture.state is ImageState.FAILED for picture in pictures):
        return Move(claim, before, JobState.FAILED, code=pictures[0].error_code, note=pictures[0].error)
    if not any(picture.state in IMAGE_UNFINISHED for picture in pictures):
        return Move(claim, before, JobState.TRANSFERRING, 0)
    return Move(claim, before, JobState.PENDING, settings.poll_first_seconds) if can_look else held(note="no links")


def adopted(claim: Claim) -> Move:
    """Decide about a lost call whose images the provider's list shows."""
    note = "the provider's own list shows what the lost call bought"
    return Move(claim, JobState.IN_DOUBT, JobState.PENDING, 0, code="answer_found", note=note)


def after_unbought(
    inputs: DecisionInputs, claim: Claim, submission: LostSubmission, call: HeldCall, note: str, *, sender_gone: bool
) -> Move | LookAgain:
    """Send a job again that is proved unbought, if its batch allows it and nobody can send the lost call any more."""
    held = partial(hold, claim, submission, call, seconds=inputs.recheck_seconds, code=_PROVED_UNBOUGHT)
    if not call.may_close:
        return held(f"{note}; its batch holds such jobs for a person")
    if submission.error_code == CHARGE_STATED:
        return held(f"{note}; but its own answer states a charge")
    if call.resends >= _MOST_RESENDS and not call.cancelled:
        return held(f"{note}; but it was sent again {call.resends} times already")
    if not sender_gone:
        return sender_runs(claim, submission, call, f"{note} so far, and ")
    return Move(claim, JobState.IN_DOUBT, JobState.QUEUED, 0, code=NOT_BOUGHT, note=note)


def sender_runs(claim: Claim, submission: LostSubmission, call: HeldCall, found: str = "") -> Move | LookAgain:
    """Hold a job whose sender still runs, and may still send or receive. `found` is put before that reason."""
    note = f"{found}its sender, worker {submission.sender}, still runs"
    return hold(claim, submission, call, note, seconds=_SENDER_SECONDS)


def unserved(claim: Claim, submission: ClosedSubmission, call: HeldCall) -> Move | LookAgain:
    """Hold a job in doubt if no worker has its account's key."""
    return hold(claim, submission, call, "no worker has its account's key", seconds=UNSERVED_SECONDS)


def without_list(
    inputs: DecisionInputs, claim: Claim, submission: ClosedSubmission, call: HeldCall
) -> Move | LookAgain:
    """Hold a job whose provider has no list. A job that is already held stays as it is."""
    wait = inputs.settings.held_recheck_seconds
    if call.held_note is not None:
        return LookAgain(claim, wait)
    return hold(claim, submission, call, "its provider lists nothing to find it in", seconds=inputs.recheck_seconds)


def after_refused_question(
    inputs: DecisionInputs, claim: Claim, submission: ClosedSubmission, call: HeldCall, refused: Refused
) -> Move | LookAgain:
    """Decide after the provider refused a look for a lost call. It may ask for a quarter of an hour at most."""
    wait = min(max(refused.after_seconds or 0, inputs.settings.retry_max_seconds), LONGEST_LOOK_WAIT)
    if call.quiet_in > -PATIENCE_SECONDS:
        return LookAgain(claim, wait)
    return hold(claim, submission, call, f"its provider cannot be asked about it ({refused.code})", seconds=wait)


def without_presence(
    inputs: DecisionInputs, claim: Claim, submission: ClosedSubmission, call: HeldCall, note: str
) -> Move | LookAgain:
    """Hold a job until a later purchase of its account shows. When that purchase settles, the job is due."""
    wait = min(inputs.settings.sweep_seconds, inputs.settings.held_recheck_seconds)
    return hold(claim, submission, call, note, seconds=wait)


def hold(
    claim: Claim,
    submission: ClosedSubmission,
    call: HeldCall,
    note: str,
    *,
    seconds: float,
    code: str | None = None,
) -> Move | LookAgain:
    """Hold a job for a person, with what was found beside what was lost; the same is said only once."""
    reason = short_note(f"{(submission.error or '')[: NOTE_CHARS // 2]}; {note}")
    code = code or submission.error_code
    if (call.held_code, call.held_note) == (code, reason):
        return LookAgain(claim, seconds)
    here = JobState.IN_DOUBT
    return Move(claim, here, here, seconds, code=code, note=reason, on_hold=True)
