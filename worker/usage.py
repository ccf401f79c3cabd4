"""Usage: asks what a key has used up, and says what that tells of a lost call whose provider has no list."""

from functools import partial
from typing import cast

from shared.db import usage
from shared.db.doubts import Doubt
from shared.db.engine import Connection
from shared.db.usage import Reading
from shared.lifecycle import Outcome
from worker.lookup import PATIENCE_SECONDS, Judgement, Later, NotBought, Unclear, take_slot
from worker.providers.contract import Again, Refused, UsageWire
from worker.runtime import Account, Runtime


async def read(runtime: Runtime, account: Account) -> Reading | Refused:
    """Ask within the account's rate windows, and record the answer."""
    if not await take_slot(runtime, account.name):
        return Refused(Outcome.NOT_SENT, Again.AFTER, "rate_limited", "the account's rate windows have no room")
    asked_at = await runtime.sql(usage.now)  # before the question: a process that freezes after it dates nothing later
    used = await cast("UsageWire", account.wire).used()
    if isinstance(used, Refused):
        return used
    record = partial(usage.record, account=account.name, used=used, key_id=account.key_id, asked_at=asked_at)
    return await runtime.sql(record)


def judge(connection: Connection, account: Account, doubt: Doubt, reading: Reading) -> Judgement:
    """Say whether the figure proves that the lost call bought nothing; it can never say what was bought."""
    growth = usage.growth(connection, doubt.submission_id, reading, lag_seconds=account.quiet_seconds)
    if growth is None and doubt.quiet_in > 0:
        return Later(doubt.quiet_in)  # its sender came back between the question and now
    if growth is None:
        return Unclear("what its key had used up before the call was not read")
    if growth.is_none:
        return NotBought("what its key has used up shows that nothing was charged")
    if growth.loose and doubt.quiet_in > -PATIENCE_SECONDS:
        return Later(max(account.quiet_seconds, 1.0))
    if growth.fell or growth.unexplained < 0:
        return Unclear("what its key has used up fell, or lags behind its calls' costs, and proves nothing")
    return Unclear("its key used up more than the calls whose cost is known explain")
