"""Usage: asks what a key has used up, and says what that tells of a lost call whose provider has no list."""

from decimal import Decimal
from functools import partial
from typing import Final, cast

from shared.db import usage
from shared.db.doubts import Doubt
from shared.db.engine import Connection
from shared.lifecycle import Outcome
from worker.lookup import Judgement, Later, NotBought, Unclear, take_slot
from worker.paid_post import boot_clock
from worker.providers.contract import Again, Refused, UsageWire
from worker.runtime import Account, Runtime

_PATIENCE_SECONDS: Final = 3600.0


async def read(runtime: Runtime, account: Account) -> Decimal | Refused:
    """Ask within the account's rate windows, and record the answer."""
    if not await take_slot(runtime, account.name):
        return Refused(Outcome.NOT_SENT, Again.AFTER, "rate_limited", "the account's rate windows have no room")
    asked_at = boot_clock()
    used = await cast("UsageWire", account.wire).used()
    if isinstance(used, Decimal):
        record = partial(usage.record, account=account.name, used=used, asked_seconds=boot_clock() - asked_at)
        await runtime.sql(record)
    return used


def judge(connection: Connection, account: Account, doubt: Doubt) -> Judgement:
    """Say whether the figure proves that the lost call bought nothing; it can never say what was bought."""
    growth = usage.growth(connection, doubt.submission_id, lag_seconds=account.quiet_seconds)
    if growth is None:
        return Unclear("what the key had used up before the call was not read")
    if growth.is_none:
        return NotBought("what the key has used up shows that nothing was charged")
    if growth.loose and doubt.quiet_in > -_PATIENCE_SECONDS:
        return Later(max(account.quiet_seconds, 1.0))
    unit = account.provider.unit
    return Unclear(f"the key used up {growth.unexplained:f} {unit} more than the calls whose cost is known")
