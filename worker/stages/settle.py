"""Settle: the evidence of paid calls, and where their jobs go; many answers in the same statements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final
from uuid import UUID

from shared.db import accounts, pauses
from shared.db.engine import Connection
from shared.db.jobs.transitions import move
from shared.db.lost_calls import lost_calls
from shared.db.payments import drift, submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from shared.moves import Move
from shared.notes import short_note
from worker import next_step
from worker.evidence import inline_answers, unreadable
from worker.providers.contract import CHARGE_STATED, Accepted, Refused, RetryRule
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.cost_check import check_cost, cost_of
from worker.stages.image_indexes import assign_indexes, surplus
from worker.stages.payment_terms import price_of

_SERVER_ERROR: Final = 500
_FOR_A_PERSON: Final = {"account_address_wrong", CHARGE_STATED}
"""Pauses that no probe ends: a URL that leads nowhere, and a refusal that was charged, as the next call may be."""


@dataclass(frozen=True)
class Answered:
    """One paid call and its result."""

    runtime: Runtime
    account: ServedAccount
    intent: Intent
    answer: Accepted | Refused

    @cached_property
    def evidence(self) -> Answer:
        """What is recorded of the call."""
        return _evidence_of(self.account, self.intent, self.answer)

    @property
    def job_id(self) -> UUID:
        """The job that paid."""
        return self.intent.claim.job_id

    @property
    def balance(self) -> Decimal | None:
        """What the answer says is left of the account's balance."""
        return self.answer.remaining if isinstance(self.answer, Accepted) else None

    @property
    def submission_id(self) -> UUID:
        """The attempt to pay."""
        return self.intent.submission_id


def settle_all(connection: Connection, answered: Sequence[Answered]) -> list[JobState | None]:
    """Write the evidence, even of jobs that have moved meanwhile, then try the transitions.

    Returns where each job went; None if another worker had it by then.
    """
    # The accounts' rows before the submissions', in the lock order of reconcile, and in the same order for all.
    for account in _accounts(answered):
        _judge_account(connection, [one for one in answered if one.account.name == account])
    submissions.record_all(connection, {one.submission_id: one.evidence for one in answered})
    steps = [_decide(connection, one) for one in answered]
    moved = move(connection, steps, actor=answered[0].runtime.sender.name)
    for one, step in zip(answered, steps, strict=True):
        _follow(connection, one, step, won=one.job_id in moved)
    for account in _accounts(answered):
        bought = [one for one in answered if one.account.name == account and isinstance(one.answer, Accepted)]
        _tell_of_purchases(connection, bought)
    return [step.after if step.claim.job_id in moved else None for step in steps]


def _accounts(answered: Iterable[Answered]) -> list[str]:
    return sorted({one.account.name for one in answered})


def _judge_account(connection: Connection, answered: Sequence[Answered]) -> None:
    """Write what the answers say about the account on its row, in the order in which they came."""
    _watch_for_outage(connection, answered)
    for one in answered:
        if isinstance(one.answer, Refused):
            _slow_account(connection, one, one.answer)
        else:
            most = one.runtime.most_for(one.account)
            check_cost(connection, one.account.name, one.answer, one.intent.reserved, most=most)
            _count_undelivered(connection, one)
    last = _last_balance(answered)
    if last is not None and last.balance is not None:
        accounts.record_balance(connection, last.account.name, last.balance)


def _count_undelivered(connection: Connection, one: Answered) -> None:
    """Count a purchase that brings no image; after some in a row, the account buys nothing more."""
    if (why := next_step.nothing_bought(one.evidence.images)) is not None:
        probing = one.runtime.probing
        pauses.record_undelivered(connection, one.account.name, one.job_id, reason=why, probing=probing)


def _follow(connection: Connection, one: Answered, step: Move, *, won: bool) -> None:
    """Apply late evidence if another worker has moved the job.

    After a call that brings no picture, collect what an earlier call bought.
    """
    actor = one.runtime.sender.name
    if not won:
        submissions.follow_late(connection, one.job_id, one.submission_id, actor=actor)
    elif isinstance(one.answer, Refused) or step.after is JobState.FAILED:
        # An earlier attempt's purchase may have become known while this one was in the air.
        submissions.collect(connection, one.job_id, actor=actor)


def _decide(connection: Connection, one: Answered) -> Move:
    inputs, intent, answer = one.runtime.decision_inputs(one.account), one.intent, one.answer
    if isinstance(answer, Accepted):
        model = str(intent.request.get("model", ""))
        return next_step.after_purchase(inputs, intent.claim, one.evidence.images, model=model)
    times = 0
    if answer.code == next_step.UNAVAILABLE:
        times = submissions.refusals(connection, one.job_id, answer.code)
    shows_in = one.account.quiet_after_call
    return next_step.after_refusal(inputs, intent.claim, answer, tries=intent.tries, shows_in=shows_in, times=times)


def _slow_account(connection: Connection, one: Answered, refused: Refused) -> None:
    """Pause an account or slow it down, if a refusal of one paid call applies to all of them."""
    runtime, account, intent = one.runtime, one.account, one.intent
    if refused.again is RetryRule.RESUME:
        pauses.pause(
            connection,
            account.name,
            code=refused.code,
            reason=refused.message,
            action_url=refused.action_url,
            balance_needed=price_of(account, runtime.book(account), intent.request, len(intent.missing)),
            probing=None if refused.code in _FOR_A_PERSON else runtime.probing,
        )
    elif refused.again is RetryRule.AFTER:
        wait = next_step.wait_after_refused_call(runtime.decision_inputs(account), refused, tries=intent.tries)
        accounts.slow_down(connection, account.name, wait)


def _tell_of_purchases(connection: Connection, bought: Sequence[Answered]) -> None:
    """Wake lost calls that wait for a purchase to show, and compare the newest balance with the ledger."""
    if not bought:
        return
    account = bought[0].account
    lost_calls.purchase_settled(connection, account.name, seconds=account.quiet_seconds)
    last = _last_balance(bought)
    if last is not None and last.balance is not None:
        drift.record(connection, account.name, last.balance, own=last.submission_id)


def _last_balance(answered: Sequence[Answered]) -> Answered | None:
    """Return the last answer that says what is left."""
    return next((one for one in reversed(answered) if one.balance is not None), None)


def _watch_for_outage(connection: Connection, answered: Sequence[Answered]) -> None:
    """Pause an account whose provider fails call after call: each call may be paid for, and holds a job."""
    plain: list[Answered] = []
    for one in answered:
        doubt = _doubt(one.answer)
        if doubt is not None:
            _reset_failures(connection, plain)
            plain = []
            _count_failure(connection, one, doubt)
        elif not isinstance(one.answer, Refused) or one.answer.outcome is Outcome.REJECTED:
            plain.append(one)
    _reset_failures(connection, plain)


def _doubt(answer: Accepted | Refused) -> str | None:
    """Return why nobody knows what a call bought; None where that is known.

    Images that were only seen in an unreadable answer leave it unknown.
    """
    if isinstance(answer, Accepted):
        return unreadable.SEEN if answer.body else None
    return answer.message if answer.outcome is Outcome.UNKNOWN else None


def _reset_failures(connection: Connection, plain: Sequence[Answered]) -> None:
    """Reset the count of an account after plain answers in a row."""
    for one in plain[:1]:
        bought = any(not isinstance(each.answer, Refused) for each in plain)
        pauses.reset_failures(connection, one.account.name, bought=bought)


def _count_failure(connection: Connection, one: Answered, said: str) -> None:
    failing = (one.answer.http_status or 0) >= _SERVER_ERROR
    count = pauses.count_failure(connection, one.account.name, failing=failing)
    settings = one.runtime.settings
    if count.failing < settings.failures_before_pause and count.doubts < settings.doubts_before_pause:
        return
    reason = f"{count.doubts} paid calls in a row brought no readable answer; the last: {said}"
    pauses.pause(
        connection,
        one.account.name,
        code="provider_failing",
        reason=short_note(reason),
        action_url=None,
        probing=one.runtime.probing,
    )


def _evidence_of(account: ServedAccount, intent: Intent, answer: Accepted | Refused) -> Answer:
    if isinstance(answer, Refused):
        return Answer(
            answer.outcome,
            http_status=answer.http_status,
            error_code=answer.code,
            error=answer.message,
            quiet_seconds=account.quiet_after_call,
            charged_on_arrival=account.wire.find_by == "usage",
        )
    images = assign_indexes(intent.missing, intent.request, answer.images)
    if answer.cost_is_open:
        return Answer(
            Outcome.UNKNOWN,
            http_status=answer.http_status,
            upstream_id=answer.upstream_id,
            error_code="answer_unreadable",
            error=unreadable.SEEN if answer.body else inline_answers.COST_OPEN,
            images=images,
            quiet_seconds=account.quiet_after_call,
            charged_on_arrival=account.wire.find_by == "usage",
        )
    return Answer(
        Outcome.ACCEPTED,
        http_status=answer.http_status,
        upstream_id=answer.upstream_id,
        settled=cost_of(answer, intent.reserved, len(intent.missing)),
        elsewhere=answer.elsewhere,
        cost_stated=answer.settled is not None and answer.elsewhere is not None and answer.whole,
        images=images,
        unowned=surplus(intent.missing, answer.images),
        left_out=answer.left_out,
    )
