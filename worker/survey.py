"""Survey: asks each account now and then what it has left and whether it may generate; free of charge.

What it learns is what `genqueue doctor` shows, and what a lost call may later be judged by. A key that is refused
pauses its account before a job meets it.
"""

from functools import partial

import anyio
import structlog

from shared.db import accounts, drift
from shared.db.accounts import Probing
from shared.db.engine import Connection
from worker import usage
from worker.lookup import take_slot
from worker.paid_post import boot_clock
from worker.providers.contract import AccountFacts, Refused
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_REFUSED_KEY = "account_unauthorized"
_NO_ROOM_SECONDS = 5.0


async def survey(runtime: Runtime) -> None:
    """Ask every account, again and again, until cancelled."""
    often = runtime.settings.account_check_seconds
    due = dict.fromkeys(runtime.accounts, 0.0)
    while True:
        for name in [name for name, moment in due.items() if moment <= anyio.current_time()]:
            wait = often
            try:
                if not await ask(runtime, runtime.accounts[name]):
                    wait = min(often, _NO_ROOM_SECONDS)
            except Exception as error:  # noqa: BLE001 - the next round asks again; the work must go on
                _log.warning("survey_failed", account=name, error=type(error).__name__)
            due[name] = anyio.current_time() + wait
        await anyio.sleep_until(min(due.values(), default=anyio.current_time() + often))


async def ask(runtime: Runtime, account: Account) -> bool:
    """Ask one account and record the answer; False where it is not registered yet, or its windows have no room."""
    if not await take_slot(runtime, account.name):
        return False
    asked_at = boot_clock()
    answer = await account.wire.account()
    await runtime.sql(partial(_record, account.name, answer, runtime.probing, asked_at))
    if account.wire.find_by == "usage":
        await usage.read(runtime, account)
    return True


def _record(
    name: str, answer: AccountFacts | Refused, probing: Probing, asked_at: float, connection: Connection
) -> None:
    if isinstance(answer, AccountFacts):
        accounts.seen(connection, name, balance=answer.balance, notes="; ".join(answer.notes) or None)
        if answer.balance is not None:
            drift.record(connection, name, answer.balance, asked_seconds=boot_clock() - asked_at)
    elif answer.code == _REFUSED_KEY:
        accounts.pause(
            connection,
            name,
            code=answer.code,
            reason=answer.message,
            action_url=answer.action_url,
            probing=probing,
        )
