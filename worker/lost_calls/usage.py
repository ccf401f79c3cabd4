"""Usage: asks what a key has used up, and judges by that a lost call whose provider has no list."""

from functools import partial
from typing import Final, cast

from shared.db.engine import Connection
from shared.db.lost_calls import usage
from shared.db.lost_calls.lost_calls import LostCall
from shared.db.lost_calls.stated_costs import agreement
from shared.db.lost_calls.usage import Growth, UsageFigure
from shared.lifecycle import Outcome
from worker.lost_calls.judgement import Judgement, Lacking, Later, NotBought, Unclear
from worker.metered import take_look
from worker.next_step import PATIENCE_SECONDS
from worker.providers.contract import Refused, RetryRule, UsageWire
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_NOT_CHARGED: Final = NotBought(
    "nothing was bought: what its key has used up shows later calls of ours, and no other charge"
)
_LACKING: Final = Lacking(
    "what its key has used up shows no charge of this call; no later purchase of ours shows there yet, "
    "so that proves nothing; it is read again when the account's next purchase settles"
)


_UNTRIED: Final = Lacking(
    "what its key has used up shows no charge of this call, but it is not known yet that its provider charges what it "
    "states; that shows once the account's next purchase settles, and then it is read again",
    to_be_made=True,
)


async def read(runtime: Runtime, account: ServedAccount) -> UsageFigure | Refused:
    """Ask within the account's rate windows, and record the answer."""
    if not await take_look(runtime, account.name):
        return Refused(Outcome.NOT_SENT, RetryRule.AFTER, "rate_limited", "the account's rate windows have no room")
    asked_at = await runtime.in_transaction(
        usage.now
    )  # read before the question: a process that freezes afterwards cannot date the figure too late
    used = await cast("UsageWire", account.wire).used()
    if isinstance(used, Refused):
        return used
    record = partial(usage.record, account=account.name, used=used.here, elsewhere=used.elsewhere)
    return await runtime.in_transaction(record, key_id=account.key_id, asked_at=asked_at)


def judge(connection: Connection, account: ServedAccount, lost_call: LostCall, reading: UsageFigure) -> Judgement:
    """Judge whether the figure proves that the lost call bought nothing. It can never show what was bought."""
    growth = usage.growth(
        connection, lost_call.submission_id, reading, over_at=lost_call.over_at, lag_seconds=account.quiet_seconds
    )
    if not lost_call.was_made_with(account.key_id):
        return Unclear("the account's key is not known to be the one that paid, and another's figure proves nothing")
    if growth is None:
        # The sender may have come back since the question.
        unread = Unclear("what its key had used up before the call was not read")
        return Later(lost_call.quiet_in) if lost_call.quiet_in > 0 else unread
    if growth.is_none:
        return _believed(connection, account, lost_call, reading, growth) if growth.later else _LACKING
    if growth.loose and lost_call.quiet_in > -PATIENCE_SECONDS:
        return Later(max(account.quiet_seconds, 1.0))
    if growth.fell or growth.is_short:
        return Unclear("what its key has used up fell, or lags behind its calls' costs, and proves nothing")
    return Unclear("its key used up more than the calls whose cost is known explain")


def _believed(
    connection: Connection, account: ServedAccount, lost_call: LostCall, reading: UsageFigure, growth: Growth
) -> Judgement:
    """Believe a figure without another charge only if the costs that explain it are known to be what is charged."""
    agreed = agreement(connection, lost_call.submission_id, reading, lag_seconds=account.quiet_seconds)
    if agreed.short:
        return Unclear("its key used up less than its calls' stated costs, and a charge may hide in such a surplus")
    return _NOT_CHARGED if agreed.covers(growth) else _UNTRIED
