"""Reconcile: what became of a paid call whose sender is gone or whose answer was lost; it never pays.

Evidence is sought in this order: what is recorded of the submission, a reply in our own bucket, the provider's own
list or usage figure. What none of them settles is held for a person.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import structlog
from structlog.contextvars import bound_contextvars

from shared.db import accounts, doubts, images, submissions
from shared.db.doubts import Doubt
from shared.db.engine import Connection
from shared.db.submissions import Answer
from shared.db.transitions import Claim, Move, move, release, renew
from shared.db.usage import Reading
from shared.lifecycle import ImageState, JobState, Outcome
from worker import usage
from worker.bought import bought
from worker.inline import recover
from worker.lookup import PATIENCE_SECONDS, Adopt, Judgement, Later, NotBought, Unclear, judge, look_up
from worker.providers.contract import Found, Refused, UpstreamImage
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_LEASE_SECONDS: Final = 300.0  # one job's look-up, at thirty seconds a request
_SENDER_SECONDS: Final = 600.0
_NOT_HERE_SECONDS: Final = 15.0  # another worker has the account's key
_UNSERVED_SECONDS: Final = 900.0
_NOT_BOUGHT: Final = "not_bought"
_NOTE_CHARS: Final = 500
_MAY_PASS: Final = {
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
    _NOT_BOUGHT,
}


async def reconcile(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Move each claimed job to where its newest submission's evidence puts it, or hold it."""
    for claim in claims:
        with bound_contextvars(job=str(claim.job_id), account=account_name):
            try:
                await runtime.sql(partial(renew, claim=claim, lease_seconds=_LEASE_SECONDS))
                await _reconcile(runtime, account_name, claim)
            except Exception:  # noqa: BLE001 - this one is looked at again; the others must not wait for it
                _log.exception("reconcile_defect")
                await _give_back(runtime, claim)


async def _give_back(runtime: Runtime, claim: Claim) -> None:
    """End a look that failed; no worker died of it, as it would seem if its lease ended first."""
    states = [JobState.SUBMITTING, JobState.IN_DOUBT]
    wait = runtime.settings.retry_max_seconds
    try:
        await runtime.sql(partial(release, claims=[claim], states=states, due_seconds=wait, done=True))
    except Exception as error:  # noqa: BLE001 - the database is away; the lease ends by itself
        _log.warning("look_not_given_back", error=type(error).__name__)


async def _reconcile(runtime: Runtime, account_name: str, claim: Claim) -> None:
    account = runtime.accounts.get(account_name)
    if account is not None and account.wire.inline:
        await _look_in_own_bucket(runtime, account, claim)
    doubt = await runtime.sql(partial(_by_evidence, runtime, account, claim))
    if doubt is None or account is None:
        return
    by_usage = account.wire.find_by == "usage"
    found: Found | Reading | Refused
    found = await (usage.read(runtime, account) if by_usage else look_up(runtime, account, doubt))
    await runtime.sql(partial(_by_provider, runtime, account, claim, doubt.submission_id, found))


async def _look_in_own_bucket(runtime: Runtime, account: Account, claim: Claim) -> None:
    """Record an answer that was kept but not committed: it is the best evidence there is."""
    submission = await runtime.sql(partial(submissions.latest, job_id=claim.job_id))
    if submission is not None and submission.outcome in {None, Outcome.UNKNOWN.value}:
        await recover(runtime, account, submission.id)


def _by_evidence(runtime: Runtime, account: Account | None, claim: Claim, connection: Connection) -> Doubt | None:
    """Follow what is recorded, and return the doubt where only the provider can settle it, and can by now."""
    submission = submissions.latest(connection, claim.job_id, lock=True)
    state = submissions.state_of(connection, claim)
    if state not in {JobState.SUBMITTING, JobState.IN_DOUBT} or submission is None:
        return None
    outcome = Outcome(submission.outcome) if submission.outcome else None
    if outcome is None:
        code, note = "sender_lost", f"worker {submission.sender} was paying and has not answered since"
        submissions.record(connection, submission.id, Answer(Outcome.UNKNOWN, error_code=code, error=note))
        held = Move(claim, state, JobState.IN_DOUBT, **_doubt(runtime, account, submission), code=code, note=note)
        move(connection, [held], actor=runtime.sender.name)
        _log.warning("in_doubt", batch=str(submission.batch_id), code=code)
    elif outcome is not Outcome.UNKNOWN:
        move(connection, [_follow(runtime, claim, state, outcome, submission, connection)], actor=runtime.sender.name)
        submissions.collect(connection, claim.job_id, actor=runtime.sender.name)
    elif state is JobState.SUBMITTING:
        code, note = submission.error_code, submission.error
        held = Move(claim, state, JobState.IN_DOUBT, **_doubt(runtime, account, submission), code=code, note=note)
        move(connection, [held], actor=runtime.sender.name)
    elif account is None:
        _leave_to_others(runtime, claim, submission, connection)
    elif account.wire.find_by == "nothing":
        _leave_to_a_person(runtime, claim, submission, connection)
    else:
        return _by_now(runtime, account, claim, submission, connection)
    return None


def _by_now(runtime: Runtime, account: Account, claim: Claim, submission: Any, connection: Connection) -> Doubt | None:
    """Return the doubt about a lost call if its provider would show by now what it bought; else put the look off."""
    doubt = doubts.of_submission(connection, submission.id, slack_seconds=account.slack_seconds)
    if doubt is None:
        return None
    if account.wire.find_by == "usage" and doubt.sender_lock is not None:
        # A call is charged as its answer arrives, even at a sender that thaws: only when none can, usage is asked.
        if doubts.sender_gone(connection, doubt):
            doubts.sender_is_over(connection, submission.id, quiet_seconds=account.quiet_after_call)
            _look_again(connection, claim, account.quiet_after_call)
        elif doubt.quiet_in > 0:
            _look_again(connection, claim, doubt.quiet_in)
        else:
            note = _still_runs(submission)
            _keep_held(runtime, claim, submission, doubt, note, connection, seconds=_SENDER_SECONDS)
        return None
    if doubt.quiet_in > 0:
        _look_again(connection, claim, doubt.quiet_in)
        return None
    return doubt


def _leave_to_a_person(runtime: Runtime, claim: Claim, submission: Any, connection: Connection) -> None:
    """Hold a job that nothing can be looked up for; one that is held already stays as it is."""
    doubt = doubts.of_submission(connection, submission.id, slack_seconds=0)
    if doubt is not None and doubt.held_note is None:
        _keep_held(runtime, claim, submission, doubt, "its provider lists nothing to find it in", connection)
    else:
        _look_again(connection, claim, runtime.settings.held_recheck_seconds)


def _leave_to_others(runtime: Runtime, claim: Claim, submission: Any, connection: Connection) -> None:
    """Put the look off until a worker takes it that has the account's key; where none has, hold the job."""
    doubt = doubts.of_submission(connection, submission.id, slack_seconds=0)
    if doubt is not None and submission.account in accounts.unserved(connection):
        note = "no worker has its account's key"
        _keep_held(runtime, claim, submission, doubt, note, connection, seconds=_UNSERVED_SECONDS)
    else:
        _look_again(connection, claim, _NOT_HERE_SECONDS)


def _still_runs(submission: Any) -> str:
    return f"its sender, worker {submission.sender}, still runs"


def _doubt(runtime: Runtime, account: Account | None, submission: Any) -> dict[str, Any]:
    """Say when a lost call is looked for: once the provider would show it; where it shows nothing, a person must."""
    if account is None:
        return {"due_seconds": _NOT_HERE_SECONDS}
    if account.wire.find_by == "nothing":
        return {"due_seconds": runtime.settings.held_recheck_seconds, "parked": True}
    if account.wire.find_by == "usage" and submission.outcome is None:
        return {"due_seconds": 0.0}  # first its sender must be proved gone
    return {"due_seconds": float(submission.quiet_in) + account.slack_seconds}


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
        note, wait = "bought, but no image is recorded", runtime.settings.held_recheck_seconds
        return here(JobState.IN_DOUBT, wait, code="answer_unreadable", note=note, parked=True)
    if all(ImageState(picture.state) is ImageState.FAILED for picture in pictures):
        return here(JobState.FAILED, code=pictures[0].error_code, note=pictures[0].error)
    if any(ImageState(picture.state) in {ImageState.PENDING, ImageState.PROCESSING} for picture in pictures):
        return here(JobState.PENDING, runtime.settings.poll_first_seconds)
    return here(JobState.TRANSFERRING, 0)


def _by_provider(
    runtime: Runtime,
    account: Account,
    claim: Claim,
    submission_id: Any,
    found: Found | Reading | Refused,
    connection: Connection,
) -> None:
    """Adopt, let go, or hold, under the account's lock: two calls must not adopt the same picture."""
    doubts.lock(connection, account.name)
    accounts.lock(connection, account.name, wait=True)
    submission = submissions.latest(connection, claim.job_id, lock=True)
    state = submissions.state_of(connection, claim)
    doubt = doubts.of_submission(connection, submission_id, slack_seconds=account.slack_seconds)
    if state is not JobState.IN_DOUBT or submission.id != submission_id or doubt is None:
        return
    if isinstance(found, Refused):
        wait = max(found.after_seconds or 0, runtime.settings.retry_max_seconds)
        if doubt.quiet_in > -PATIENCE_SECONDS and wait <= PATIENCE_SECONDS:
            _look_again(connection, claim, wait)
        else:
            note = f"its provider cannot be asked about it ({found.code})"
            _keep_held(runtime, claim, submission, doubt, note, connection, seconds=wait)
        return
    judgement = _judge(account, doubt, found, connection)
    _log.info("looked_up", judgement=type(judgement).__name__)
    match judgement:
        case Adopt(upstream_ids):
            _adopt(runtime, claim, doubt, upstream_ids, connection)
        case NotBought(note):
            _let_go(runtime, claim, doubt, submission, note, connection)
        case Later(seconds):
            _look_again(connection, claim, seconds)
        case Unclear(note):
            _keep_held(runtime, claim, submission, doubt, note, connection)


def _judge(account: Account, doubt: Doubt, found: Found | Reading, connection: Connection) -> Judgement:
    if isinstance(found, Reading):
        return usage.judge(connection, account, doubt, found)
    return judge(
        doubt,
        found,
        rivals=doubts.rivals(connection, account.name, doubt, slack_seconds=account.slack_seconds),
        owned=doubts.owned(connection, account.name, [one.upstream_id for one in found.candidates]),
        find_by=account.wire.find_by,
    )


def _adopt(runtime: Runtime, claim: Claim, doubt: Doubt, upstream_ids: Sequence[str], connection: Connection) -> None:
    pictures = [UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in upstream_ids]
    answer = Answer(
        Outcome.ACCEPTED,
        upstream_id=upstream_ids[0],
        images=bought(doubt.missing, doubt.request, pictures),
        inferred=True,
    )
    submissions.record(connection, doubt.submission_id, answer)
    note = "the provider's own list shows what the lost call bought"
    step = Move(claim, JobState.IN_DOUBT, JobState.PENDING, 0, code="answer_found", note=note)
    move(connection, [step], actor=runtime.sender.name)


def _let_go(runtime: Runtime, claim: Claim, doubt: Doubt, submission: Any, note: str, connection: Connection) -> None:
    """Send again what was not bought, if its batch says so and nobody can send the lost call any more."""
    if not doubt.may_close:
        _keep_held(runtime, claim, submission, doubt, note, connection)
    elif not doubts.sender_gone(connection, doubt):
        note = f"{note} so far, and {_still_runs(submission)}"
        _keep_held(runtime, claim, submission, doubt, note, connection, seconds=_SENDER_SECONDS)
    else:
        answer = Answer(Outcome.REJECTED, error_code=_NOT_BOUGHT, error=note, inferred=True)
        submissions.record(connection, doubt.submission_id, answer)
        step = Move(claim, JobState.IN_DOUBT, JobState.QUEUED, 0, code=_NOT_BOUGHT, note=note)
        move(connection, [step], actor=runtime.sender.name)
        submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _recheck(runtime: Runtime, submission: Any) -> float:
    """Say when a held job is looked at again: sooner where its answer may come into our own bucket late."""
    account = runtime.accounts.get(submission.account)
    settings = runtime.settings
    if account is not None and account.wire.inline:
        return min(settings.sweep_seconds, settings.held_recheck_seconds)
    return settings.held_recheck_seconds


def _look_again(connection: Connection, claim: Claim, seconds: float) -> None:
    """Put the next look off; this one is done, and has ended no worker."""
    release(connection, [claim], states=[JobState.IN_DOUBT], due_seconds=seconds, done=True)


def _keep_held(  # noqa: PLR0913 - a job, what was lost of it, and what was found
    runtime: Runtime,
    claim: Claim,
    submission: Any,
    doubt: Doubt,
    note: str,
    connection: Connection,
    *,
    seconds: float | None = None,
) -> None:
    """Hold the job for a person, with what the look-up showed beside what was lost; say the same only once."""
    reason = f"{submission.error}; {note}"[:_NOTE_CHARS]
    wait = _recheck(runtime, submission) if seconds is None else seconds
    if doubt.held_note == reason:
        _look_again(connection, claim, wait)
        return
    code, here = submission.error_code, JobState.IN_DOUBT
    held = Move(claim, here, here, wait, code=code, note=reason, parked=True)
    move(connection, [held], actor=runtime.sender.name)
