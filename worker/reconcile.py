"""Reconcile: what became of a paid call whose sender is gone or whose answer was lost; it never pays.

What a submission's own evidence says is followed. Without evidence the job is held for a person.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from shared.db import images, submissions
from shared.db.engine import Connection
from shared.db.submissions import Answer
from shared.db.transitions import Claim, Move, move, release
from shared.lifecycle import ImageState, JobState, Outcome
from worker.inline import recover
from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_MAY_PASS = {
    "rate_limited",
    "provider_unreachable",
    "provider_unavailable",
    "account_address_wrong",
    "spool_full",
    "spool_unwritable",
    "brand_not_ready",
    "account_unauthorized",
    "account_out_of_credit",
    "account_forbidden",
}


async def reconcile(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Move each claimed job to where its newest submission's evidence puts it, or hold it."""
    for claim in claims:
        try:
            await _look_in_own_bucket(runtime, account_name, claim)
            await runtime.sql(partial(_reconcile, runtime, account_name, claim))
        except Exception:  # noqa: BLE001 - this one is due again when its lease ends; the others must not wait for it
            _log.exception("reconcile_defect", job=str(claim.job_id), account=account_name)


async def _look_in_own_bucket(runtime: Runtime, account_name: str, claim: Claim) -> None:
    """Record an answer that was kept but not committed: it is the best evidence there is."""
    account = runtime.accounts.get(account_name)
    if account is None or not account.wire.inline:
        return
    submission = await runtime.sql(partial(submissions.latest, job_id=claim.job_id))
    if submission is not None and submission.outcome in {None, Outcome.UNKNOWN.value}:
        await recover(runtime, account, submission.id)


def _reconcile(runtime: Runtime, account_name: str, claim: Claim, connection: Connection) -> None:
    submission = submissions.latest(connection, claim.job_id, lock=True)
    state = submissions.state_of(connection, claim)
    if state not in {JobState.SUBMITTING, JobState.IN_DOUBT} or submission is None:
        return
    outcome = Outcome(submission.outcome) if submission.outcome else None
    if outcome is None:
        note = f"worker {submission.sender} was paying and has not answered since"
        submissions.record(connection, submission.id, Answer(Outcome.UNKNOWN, error_code="sender_lost", error=note))
        step = _held(runtime, claim, state, "sender_lost", note)
        batch = str(submission.batch_id)
        _log.warning("in_doubt", batch=batch, job=str(claim.job_id), account=account_name, code="sender_lost")
    elif outcome is Outcome.UNKNOWN and state is JobState.IN_DOUBT:
        release(connection, [claim], states=[state], due_seconds=runtime.settings.held_recheck_seconds)
        return
    elif outcome is Outcome.UNKNOWN:
        step = _held(runtime, claim, state, submission.error_code, submission.error)
    else:
        step = _follow(runtime, claim, state, outcome, submission, connection)
    move(connection, [step], actor=runtime.sender.name)


def _held(runtime: Runtime, claim: Claim, state: JobState, code: str, note: str) -> Move:
    return Move(claim, state, JobState.IN_DOUBT, runtime.settings.held_recheck_seconds, code=code, note=note)


def _follow(
    runtime: Runtime, claim: Claim, state: JobState, outcome: Outcome, submission: Any, connection: Connection
) -> Move:
    """Go where the answer puts the job: it came after all, too late for its sender to act on it."""
    here = partial(Move, claim, state)
    if outcome is not Outcome.ACCEPTED:
        if submission.error_code in _MAY_PASS:
            return here(JobState.QUEUED, 0, code=submission.error_code, note=submission.error)
        return here(JobState.FAILED, code=submission.error_code or "provider_rejected", note=submission.error)
    pictures = images.states(connection, claim.job_id)
    if not pictures:
        return _held(runtime, claim, state, "answer_unreadable", "bought, but no image is recorded")
    if all(ImageState(picture.state) is ImageState.FAILED for picture in pictures):
        return here(JobState.FAILED, code=pictures[0].error_code, note=pictures[0].error)
    if any(ImageState(picture.state) in {ImageState.PENDING, ImageState.PROCESSING} for picture in pictures):
        return here(JobState.PENDING, runtime.settings.poll_first_seconds)
    return here(JobState.TRANSFERRING, 0)
