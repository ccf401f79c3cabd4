"""Reconcile: finds out what happened to a paid call whose sender is gone or whose answer was lost. It never pays.

It looks for evidence in this order: the recorded submission, a reply in our own bucket, the provider's own list or
usage figure. If none of them settles the call, the job is held for a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from shared.db import accounts
from shared.db.engine import Connection
from shared.db.jobs import images
from shared.db.jobs.transitions import move, release, renew
from shared.db.lost_calls import candidates, lost_calls, unowned
from shared.db.lost_calls.candidates import Candidate
from shared.db.lost_calls.lost_calls import LostCall
from shared.db.lost_calls.usage import UsageFigure
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome
from shared.moves import Claim, Move
from worker import next_step
from worker.evidence import unreadable
from worker.evidence.inline_answers import recover
from worker.evidence.recommit import recommit_for
from worker.lost_calls import usage
from worker.lost_calls.lookup import Adopt, Judgement, Lacking, Later, NotBought, Unclear, judge
from worker.lost_calls.read_list import Looked, look, seen
from worker.next_step import LookAgain
from worker.providers.contract import Listed, Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.image_indexes import assign_indexes

if TYPE_CHECKING:
    from shared.db.rows import Submission

_log = structlog.get_logger(__name__)
_LEASE_SECONDS: Final = 300.0  # one job's look-up, at thirty seconds a request
_MAYBE_BOUGHT: Final = (JobState.SUBMITTING, JobState.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class _Case:
    """One job in doubt, read under the locks of this transaction."""

    runtime: Runtime
    account: ServedAccount
    claim: Claim
    submission: "Submission"
    call: LostCall

    @property
    def policy(self) -> next_step.DecisionInputs:
        """The policy for its decisions."""
        return self.runtime.decision_inputs(self.account)


async def reconcile(runtime: Runtime, account_name: str, claims: Sequence[Claim]) -> None:
    """Move each claimed job to where its newest submission's evidence puts it, or hold it."""
    for claim in claims:
        with bound_contextvars(job=str(claim.job_id), account=account_name):
            try:
                if await runtime.sql(renew, claim, lease_seconds=_LEASE_SECONDS, account=account_name):
                    await _reconcile(runtime, account_name, claim)
            except Exception:  # noqa: BLE001 - this one is looked at again; the others must not wait for it
                _log.exception("reconcile_defect")
                await _give_back(runtime, account_name, claim)


async def _give_back(runtime: Runtime, account_name: str, claim: Claim) -> None:
    """Give back the claim of a failed look. If its lease ended first, it would seem that its worker died."""
    wait = runtime.settings.retry_max_seconds
    try:
        await runtime.sql(release, [claim], states=_MAYBE_BOUGHT, account=account_name, due_seconds=wait, done=True)
    except Exception as error:  # noqa: BLE001 - the database is away; the lease ends by itself
        _log.warning("look_not_given_back", error=type(error).__name__)


async def _reconcile(runtime: Runtime, account_name: str, claim: Claim) -> None:
    account = runtime.accounts.get(account_name)
    await recommit_for(runtime, await runtime.sql(submissions.latest, claim.job_id))
    if account is None:
        await runtime.sql(follow_evidence, runtime, None, claim)
        return
    await _read_own_bucket(runtime, account, claim)
    call = await runtime.sql(follow_evidence, runtime, account, claim)
    if call is not None:
        by_usage = account.wire.find_by == "usage"
        found = await (usage.read(runtime, account) if by_usage else look(runtime, account, call))
        judgement = await runtime.sql(follow_provider, runtime, account, claim, call.submission_id, found)
        if isinstance(judgement, Unclear) and judgement.candidates:
            await _note_candidates(runtime, account_name, call.submission_id, judgement.candidates)


async def _note_candidates(runtime: Runtime, account: str, submission_id: UUID, rows: Sequence[Listed]) -> None:
    """Record what a person may compare. The decision is committed already, and nothing here can change it."""
    found = [Candidate(row.upstream_id, row.made_at) for row in rows if row.upstream_id]
    try:
        await runtime.sql(candidates.note, account, submission_id, found)
    except Exception as error:  # noqa: BLE001 - the person decides without them
        _log.warning("candidates_not_noted", error=type(error).__name__)


async def _read_own_bucket(runtime: Runtime, account: ServedAccount, claim: Claim) -> None:
    """Record an answer that was kept but not committed, because it is the best evidence."""
    if not account.wire.inline:
        await unreadable.read_again(runtime, account, claim.job_id)
        return
    submission = await runtime.sql(submissions.latest, claim.job_id)
    ours = submission is not None and submission.account == account.name
    if submission is not None and ours and submission.outcome in {None, Outcome.UNKNOWN}:
        await recover(runtime, account, submission.id)


def follow_evidence(
    connection: Connection, runtime: Runtime, account: ServedAccount | None, claim: Claim
) -> LostCall | None:
    """Decide by the recorded evidence; return the lost call if only the provider can settle it, and can do so now."""
    submission = submissions.latest(connection, claim.job_id, lock=True)
    # A payment is looked up only with the key that paid.
    if submission is None or (account is not None and account.name != submission.account):
        return None
    state = submissions.lock_claimed(connection, submission.account, claim)
    if state not in _MAYBE_BOUGHT:
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
    policy = _policy(runtime, account)
    step = next_step.lost(policy, claim, state, shows_in=shows_in, code=lost.error_code, note=note)
    move(connection, [step], actor=runtime.sender.name)


def _doubt(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount | None,
    claim: Claim,
    submission: "Submission",
) -> None:
    """Put a job in doubt whose sender recorded an unknown outcome but could not move the job."""
    policy, shows_in = _policy(runtime, account), submissions.shows_in(connection, submission.id)
    code, note = submission.error_code, submission.error
    step = next_step.lost(policy, claim, JobState.SUBMITTING, shows_in=shows_in, code=code, note=note)
    move(connection, [step], actor=runtime.sender.name)
    # If the answer broke off, its images may be known although its cost is open.
    submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _policy(runtime: Runtime, account: ServedAccount | None) -> next_step.DecisionInputs | None:
    return None if account is None else runtime.decision_inputs(account)


def _follow(connection: Connection, runtime: Runtime, claim: Claim, state: JobState, submission: "Submission") -> None:
    """Decide by a known answer."""
    pictures = images.results(connection, [claim.job_id])[claim.job_id]
    account = runtime.accounts.get(submission.account)
    can_look = account is None or account.wire.poll_batch > 0
    step = next_step.after_evidence(runtime.settings, claim, state, submission, pictures, can_look=can_look)
    move(connection, [step], actor=runtime.sender.name)
    submissions.collect(connection, claim.job_id, actor=runtime.sender.name)


def _leave_to_others(connection: Connection, runtime: Runtime, claim: Claim, submission: "Submission") -> None:
    """Leave the look to a worker that has the account's key; if none has it, hold the job."""
    call = lost_calls.of_submission(connection, submission.id, slack_seconds=0)
    if call is not None and submission.account in accounts.unserved(connection):
        _write(connection, runtime, next_step.unserved(claim, submission, call))
    else:
        _write(connection, runtime, LookAgain(claim, next_step.NO_KEY_SECONDS))


def _wait_for_provider(
    connection: Connection, runtime: Runtime, account: ServedAccount, claim: Claim, submission: "Submission"
) -> LostCall | None:
    """Return the lost call if its provider would show its purchase by now; else postpone the look or hold the job."""
    call = _lost_call(connection, account, submission.id)
    if call is None:
        return None
    case = _Case(runtime, account, claim, submission, call)
    if account.wire.find_by == "nothing":
        _write(connection, runtime, next_step.unlisted(case.policy, claim, submission, call))
    elif account.wire.find_by == "usage" and call.sender_lock is not None:
        _await_sender(connection, case)
    elif call.quiet_in > 0:
        _write(connection, runtime, LookAgain(claim, call.quiet_in))
    else:
        return call
    return None


def _await_sender(connection: Connection, case: _Case) -> None:
    """Wait until a call's sender is proved gone: the answer is charged as it arrives, even at a thawed sender."""
    if lost_calls.sender_gone(connection, case.call):
        wait = case.account.quiet_after_call
        lost_calls.record_sender_gone(connection, case.submission.id, quiet_seconds=wait)
        _write(connection, case.runtime, LookAgain(case.claim, wait))
    elif case.call.quiet_in > 0:
        _write(connection, case.runtime, LookAgain(case.claim, case.call.quiet_in))
    else:
        _write(connection, case.runtime, next_step.sender_runs(case.claim, case.submission, case.call))


def _lost_call(connection: Connection, account: ServedAccount, submission_id: UUID) -> LostCall | None:
    return lost_calls.of_submission(
        connection, submission_id, slack_seconds=account.slack_seconds, quiet_seconds=account.quiet_after_call
    )


def follow_provider(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    claim: Claim,
    submission_id: UUID,
    found: Looked | UsageFigure | Refused,
) -> Judgement | None:
    """Adopt, release or hold, under the account's lock: two calls must not adopt the same image.

    Returns the judgement that was followed; None without one.
    """
    lost_calls.lock(connection, account.name)
    accounts.lock(connection, account.name, wait=True)
    submission = submissions.latest(connection, claim.job_id, lock=True)
    state = submissions.lock_claimed(connection, account.name, claim)
    call = _lost_call(connection, account, submission_id)
    if submission is None or submission.id != submission_id or state is not JobState.IN_DOUBT or call is None:
        return None
    case = _Case(runtime, account, claim, submission, call)
    if isinstance(found, Refused):
        _write(connection, runtime, next_step.after_refused_question(case.policy, claim, submission, call, found))
        return None
    judgement = _judge(connection, case, found)
    _log.info("looked_up", judgement=type(judgement).__name__)
    step = _judged(connection, case, judgement)
    _write(connection, runtime, step)
    if _sends_again(step):
        # An earlier attempt's purchase may be known by now: then the job collects that instead.
        submissions.collect(connection, claim.job_id, actor=runtime.sender.name)
    return judgement


def _judge(connection: Connection, case: _Case, found: Looked | UsageFigure) -> Judgement:
    account, call = case.account, case.call
    if isinstance(found, UsageFigure):
        return usage.judge(connection, account, call, found)
    shown = seen(connection, account, call, found)
    # Every call that may own an image of this call's time is a rival.
    reach, slack = shown.clock.width_seconds, account.slack_seconds
    others = lost_calls.other_calls(connection, account.name, call, slack_seconds=slack, reach_seconds=reach)
    return judge(call, shown, rivals=others)


def _judged(connection: Connection, case: _Case, judgement: Judgement) -> Move | LookAgain:
    """Record the judgement on the lost call, and return its job's next step."""
    claim, submission, call = case.claim, case.submission, case.call
    match judgement:
        case Adopt():
            _adopt(connection, case, judgement)
            return next_step.adopted(claim)
        case NotBought(note):
            return _let_go(connection, case, note)
        case Lacking(note):
            return _await_purchase(connection, case, note)
        case Later(seconds):
            return LookAgain(claim, seconds)
        case Unclear(note):
            return next_step.hold(claim, submission, call, note, seconds=case.policy.recheck_seconds)


def _adopt(connection: Connection, case: _Case, found: Adopt) -> None:
    call = case.call
    for upstream_id in found.unowned:
        note = f"carries the reference of submission {call.submission_id}, beyond the images that it asked for"
        unowned.report(connection, case.account.name, upstream_id, made_at=None, note=note)
    pictures = [UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in found.upstream_ids]
    taken = assign_indexes(call.missing, call.request, pictures)
    answer = Answer(Outcome.ACCEPTED, upstream_id=found.upstream_ids[0], images=taken, inferred=True)
    submissions.record(connection, call.submission_id, answer)


def _let_go(connection: Connection, case: _Case, note: str) -> Move | LookAgain:
    """Record that a call bought nothing, if its job is sent again for that reason."""
    gone = lost_calls.sender_gone(connection, case.call)
    step = next_step.after_unbought(case.policy, case.claim, case.submission, case.call, note, sender_gone=gone)
    if _sends_again(step):
        unbought = Answer(Outcome.REJECTED, error_code=next_step.NOT_BOUGHT, error=note, inferred=True)
        submissions.record(connection, case.call.submission_id, unbought)
    return step


def _sends_again(step: Move | LookAgain) -> bool:
    return isinstance(step, Move) and step.after is JobState.QUEUED


def _await_purchase(connection: Connection, case: _Case, note: str) -> Move | LookAgain:
    """Hold the job until a later purchase of the account shows; if one was made already, wait for it to show."""
    bought = lost_calls.bought_since(connection, case.account.name, case.call.over_at)
    if bought and case.call.quiet_in > -next_step.PATIENCE_SECONDS:
        return LookAgain(case.claim, max(case.account.quiet_seconds, 1.0))
    lost_calls.await_purchase(connection, case.submission.id)
    return next_step.without_presence(case.policy, case.claim, case.submission, case.call, note)


def _write(connection: Connection, runtime: Runtime, step: Move | LookAgain) -> None:
    """Write the decision. A postponed look counts as done, and as no crash."""
    if isinstance(step, LookAgain):
        held = [JobState.IN_DOUBT]
        release(connection, [step.claim], states=held, due_seconds=step.seconds, done=True)
    else:
        move(connection, [step], actor=runtime.sender.name)
