"""Probe: looks by itself whether what paused an account is over; a balance decides, else one paid call.

After it, paid calls begin one at a time and double with each purchase, so that a wrong guess costs one call.
"""

from functools import partial
from typing import Final

import anyio
import structlog

from shared.db import accounts, drift, slots
from shared.db.accounts import Probe
from shared.db.engine import Connection
from shared.db.enqueue import wake
from worker.paid_post import boot_clock
from worker.providers.contract import AccountFacts, Refused
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_NO_CREDIT: Final = "account_out_of_credit"


async def probe(runtime: Runtime) -> None:
    """Look at every paused account when its look is due, until cancelled."""
    while True:
        for account in runtime.accounts.values():
            try:
                await look(runtime, account)
            except Exception as error:  # noqa: BLE001 - the next look asks again; the work must go on
                _log.warning("probe_failed", account=account.name, error=type(error).__name__)
        await anyio.sleep(runtime.settings.tick_seconds)


async def look(runtime: Runtime, account: Account) -> None:
    """Ask one account whether the reason of its pause is gone, if its look is due and nobody else takes it."""
    due = await runtime.sql(partial(accounts.probe, name=account.name, probing=runtime.probing))
    if due is None:
        return
    granted, _wait = await runtime.sql(partial(slots.grant, account=account.name, kind="poll", wanted=1))
    if not granted:
        return
    asked_at = boot_clock()
    answer = await account.wire.account()
    over = is_over(due, answer)
    _log.info("probed", account=account.name, code=due.code, over=over)
    await runtime.sql(partial(_record, account.name, due, answer, over=over, asked_at=asked_at))


def is_over(due: Probe, answer: AccountFacts | Refused) -> bool:
    """Tell whether paid calls may begin again: the account answers, and has what the refused call needed.

    Where a provider shows no balance, one paid call has to find out.
    """
    if isinstance(answer, Refused):
        return False
    if due.code != _NO_CREDIT or answer.balance is None:
        return True
    return answer.balance >= due.needs if due.needs else answer.balance > 0


def _record(
    name: str, due: Probe, answer: AccountFacts | Refused, connection: Connection, *, over: bool, asked_at: float
) -> None:
    if isinstance(answer, AccountFacts):
        accounts.seen(connection, name, balance=answer.balance, notes="; ".join(answer.notes) or None)
        if answer.balance is not None:
            drift.record(connection, name, answer.balance, asked_seconds=boot_clock() - asked_at)
    if over and accounts.resume(connection, name, ended=due.code):
        wake(connection)
