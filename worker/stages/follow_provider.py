"""Decide about a lost call by what its provider shows: adopt its pictures, send it again, or hold its job."""

from uuid import UUID

import structlog

from shared.db import accounts
from shared.db.engine import Connection
from shared.db.lost_calls import lost_calls, unowned
from shared.db.lost_calls.usage import UsageFigure
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome
from shared.moves import Claim, Move
from worker import next_step
from worker.lost_calls import usage
from worker.lost_calls.case import Case, lost_call, write
from worker.lost_calls.judgement import Adopt, Judgement, Lacking, Later, NotBought, Unclear
from worker.lost_calls.listing import ListReading
from worker.lost_calls.lookup import judge
from worker.lost_calls.read_list import list_facts
from worker.next_step import LookAgain
from worker.providers.contract import Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.image_indexes import UNASKED, assign_indexes

_log = structlog.get_logger(__name__)


def follow_provider(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    claim: Claim,
    submission_id: UUID,
    found: ListReading | UsageFigure | Refused,
) -> Judgement | None:
    """Adopt, release or hold, under the account's lock: two calls must not adopt the same image.

    Returns the judgement that was followed; None without one.
    """
    lost_calls.lock(connection, account.name)
    accounts.lock(connection, account.name, wait=True)
    submission = submissions.latest(connection, claim.job_id, lock=True)
    state = submissions.lock_claimed(connection, account.name, claim)
    lost_calls.lock_policy(connection, submission_id)
    call = lost_call(connection, account, submission_id)
    if submission is None or submission.id != submission_id or state is not JobState.IN_DOUBT or call is None:
        return None
    case = Case(runtime, account, claim, submission, call)
    if isinstance(found, Refused):
        write(connection, runtime, next_step.after_refused_question(case.inputs, claim, submission, call, found))
        return None
    judgement = _judge(connection, case, found)
    _log.info("looked_up", judgement=type(judgement).__name__)
    step = _judged(connection, case, judgement)
    write(connection, runtime, step)
    if _sends_again(step):
        # An earlier attempt's purchase may be known by now: then the job collects that instead.
        submissions.collect(connection, claim.job_id, actor=runtime.sender.name)
    return judgement


def _judge(connection: Connection, case: Case, found: ListReading | UsageFigure) -> Judgement:
    account, call = case.account, case.call
    if isinstance(found, UsageFigure):
        return usage.judge(connection, account, call, found)
    shown = list_facts(connection, account, call, found)
    # Every call that may own an image of this call's time is a rival.
    reach, slack = shown.clock.width_seconds, account.slack_seconds
    others = lost_calls.other_calls(connection, account.name, call, slack_seconds=slack, reach_seconds=reach)
    return judge(call, shown, rivals=others)


def _judged(connection: Connection, case: Case, judgement: Judgement) -> Move | LookAgain:
    """Record the judgement on the lost call, and return its job's next step."""
    claim, submission, call = case.claim, case.submission, case.call
    match judgement:
        case Adopt():
            _adopt(connection, case, judgement)
            return next_step.adopted(claim)
        case NotBought(note):
            return _let_go(connection, case, note)
        case Lacking():
            return _await_purchase(connection, case, judgement)
        case Later(seconds):
            return LookAgain(claim, seconds)
        case Unclear(note):
            return next_step.hold(claim, submission, call, note, seconds=case.inputs.recheck_seconds)


def _adopt(connection: Connection, case: Case, found: Adopt) -> None:
    call = case.call
    for upstream_id in found.additional[UNASKED:]:
        note = f"carries the reference of submission {call.submission_id}, beyond the images that it asked for"
        unowned.report(connection, case.account.name, upstream_id, made_at=None, note=note)
    names = (*found.upstream_ids, *found.additional[:UNASKED])
    pictures = [UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in names]
    taken = assign_indexes(call.missing, call.request, pictures)
    answer = Answer(Outcome.ACCEPTED, upstream_id=found.upstream_ids[0], images=taken, inferred=True)
    submissions.record(connection, call.submission_id, answer)


def _let_go(connection: Connection, case: Case, note: str) -> Move | LookAgain:
    """Record that a call bought nothing, if its job is sent again for that reason."""
    gone = lost_calls.sender_gone(connection, case.call)
    step = next_step.after_unbought(case.inputs, case.claim, case.submission, case.call, note, sender_gone=gone)
    if _sends_again(step):
        unbought = Answer(Outcome.REJECTED, error_code=next_step.NOT_BOUGHT, error=note, inferred=True)
        submissions.record(connection, case.call.submission_id, unbought)
    return step


def _sends_again(step: Move | LookAgain) -> bool:
    return isinstance(step, Move) and step.after is JobState.QUEUED


def _await_purchase(connection: Connection, case: Case, lacking: Lacking) -> Move | LookAgain:
    """Hold the job until a later purchase of the account shows; if such a purchase exists, wait until it shows."""
    bought = lost_calls.bought_since(connection, case.account.name, case.call.over_at, key_id=case.call.key_id)
    if bought and not lacking.to_be_made and case.call.quiet_in > -next_step.PATIENCE_SECONDS:
        return LookAgain(case.claim, max(case.account.quiet_seconds, 1.0))
    lost_calls.await_purchase(connection, case.submission.id)
    return next_step.without_presence(case.inputs, case.claim, case.submission, case.call, lacking.note)
