"""Decide about a job in doubt by what is recorded of its newest paid call; the provider is not asked."""

from typing import TYPE_CHECKING, Final

from shared.db import accounts
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.db.jobs.transitions import move
from shared.db.lost_calls import lost_calls
from shared.db.lost_calls.lost_calls import LostCall
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from shared.moves import Claim
from worker import next_step
from worker.next_step import LookAgain
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

if TYPE_CHECKING:
    from shared.db.rows import Submission

from worker.lost_calls.case import Case, lost_call, write

MAYBE_BOUGHT: Final = (JobState.SUBMITTING, JobState.IN_DOUBT)
"""The states in which a paid call may have bought something that the job does not know of."""


def follow_evidence(
    connection: Connection, runtime: Runtime, account: ServedAccount | None, claim: Claim
) -> LostCall | None:
    """Decide by the recorded evidence; return the lost call if only the provider can settle it, and can do so now."""
    submission = submissions.latest(connection, claim.job_id, lock=True)
    # A payment is looked up only at the account that paid. With another key of it, no absence is proved.
    if submission is None or (account is not None and account.name != submission.account):
        return None
    state = submissions.lock_claimed(connection, submission.account, claim)
    if state not in MAYBE_BOUGHT:
        return None
    if submission.outcome is None:
        _lose(connection, runtime, account, claim, state, submission)
    elif submission.outcome is not Outcome.UNKNOWN:
        _follow(connection, runtime, claim, state, submission)
    elif state is JobState.SUBMITTING:
        _doubt(connection, runtime, account, claim, submission)
    elif account is None:
        _leave_to_others(connection, runtime, claim, submission)
    else:
        return _wait_for_provider(connection, runtime, account, claim, submission)
    return None


def _lose(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount | None,
    claim: Claim,
    state: JobState,
    submission: "Submission",
) -> None:
    """Put a job in doubt whose sender has not answered."""
    note = f"worker {submission.sender} was paying and has not answered since"
    # If usage decides, the sender must first be proved gone.
    at_once = account is not None and account.wire.find_by == "usage"
    shows_in = 0.0 if at_once else submissions.shows_in(connection, submission.id)
    lost = Answer(Outcome.UNKNOWN, error_code=submissions.SENDER_LOST, error=note)
    submissions.record(connection, submission.id, lost)
    inputs = _inputs(runtime, account)
    step = next_step.lost(inputs, claim, state, shows_in=shows_in, code=lost.error_code, note=note)
    move(connection, [step], actor=runtime.sender.name)
    # The answer of an earlier attempt may have come while this one was in the air.
    submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _doubt(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount | None,
    claim: Claim,
    submission: "Submission",
) -> None:
    """Put a job in doubt whose sender recorded an unknown outcome but could not move the job."""
    inputs, shows_in = _inputs(runtime, account), submissions.shows_in(connection, submission.id)
    code, note = submission.error_code, submission.error
    step = next_step.lost(inputs, claim, JobState.SUBMITTING, shows_in=shows_in, code=code, note=note)
    move(connection, [step], actor=runtime.sender.name)
    # If the answer broke off, its images may be known although its cost is open.
    submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _inputs(runtime: Runtime, account: ServedAccount | None) -> next_step.DecisionInputs | None:
    return None if account is None else runtime.decision_inputs(account)


def _follow(connection: Connection, runtime: Runtime, claim: Claim, state: JobState, submission: "Submission") -> None:
    """Decide by a known answer."""
    pictures = images.results(connection, [claim.job_id])[claim.job_id]
    account = runtime.accounts.get(submission.account)
    can_look = account is None or account.can_look
    step = next_step.after_evidence(runtime.settings, claim, state, submission, pictures, can_look=can_look)
    move(connection, [step], actor=runtime.sender.name)
    submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _leave_to_others(connection: Connection, runtime: Runtime, claim: Claim, submission: "Submission") -> None:
    """Leave the look to a worker that has the account's key; if none has it, hold the job."""
    call = lost_calls.of_submission(connection, submission.id, slack_seconds=0)
    if call is not None and submission.account in accounts.unserved(connection):
        write(connection, runtime, next_step.unserved(claim, submission, call))
    else:
        write(connection, runtime, LookAgain(claim, next_step.NO_KEY_SECONDS))


def _wait_for_provider(
    connection: Connection, runtime: Runtime, account: ServedAccount, claim: Claim, submission: "Submission"
) -> LostCall | None:
    """Return the lost call if its purchase would show by now; otherwise postpone the look or hold the job."""
    call = lost_call(connection, account, submission.id)
    if call is None:
        return None
    case = Case(runtime, account, claim, submission, call)
    if account.wire.find_by == "nothing":
        write(connection, runtime, next_step.without_list(case.inputs, claim, submission, call))
    elif account.wire.find_by == "usage" and call.sender_lock is not None:
        _await_sender(connection, case)
    elif call.quiet_in > 0:
        write(connection, runtime, LookAgain(claim, call.quiet_in))
    else:
        return call
    return None


def _await_sender(connection: Connection, case: Case) -> None:
    """Wait until a call's sender is proved gone. A frozen sender that resumes can still receive, and be charged."""
    if lost_calls.sender_gone(connection, case.call):
        wait = case.account.quiet_after_call
        lost_calls.record_sender_gone(connection, case.submission.id, quiet_seconds=wait)
        write(connection, case.runtime, LookAgain(case.claim, wait))
    elif case.call.quiet_in > 0:
        write(connection, case.runtime, LookAgain(case.claim, case.call.quiet_in))
    else:
        write(connection, case.runtime, next_step.sender_runs(case.claim, case.submission, case.call))
