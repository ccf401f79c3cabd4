"""Survey: asks each account regularly for its balance or usage and whether it may generate; free of charge.

`genqueue doctor` shows the results, and a lost call may later be judged by them. If a key is refused, its account is
paused before a job meets the refusal.
"""

from datetime import UTC, timedelta
from functools import partial

import anyio
import structlog

from shared.db import accounts, pauses
from shared.db.engine import Connection
from shared.db.lost_calls.usage import now
from shared.db.pauses import Probing
from shared.db.payments import drift
from shared.db.read import verifying
from worker.lost_calls import usage
from worker.metered import take_look
from worker.providers.contract import AccountFacts, CostsWire, Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.transport.paid_post import boot_clock

_log = structlog.get_logger(__name__)
_REFUSED_KEY = "account_unauthorized"
_NO_ROOM_SECONDS = 5.0


async def survey(runtime: Runtime) -> None:
    """Ask every account at regular intervals, until cancelled."""
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


async def ask(runtime: Runtime, account: ServedAccount) -> bool:
    """Ask one account and record the answer; False if it is not registered yet or its windows have no room."""
    if not await take_look(runtime, account.name):
        return False
    asked_at = boot_clock()
    answer = await account.wire.account()
    await runtime.in_transaction(_record, account.name, answer, runtime.probing, asked_at)
    if account.wire.find_by == "usage":
        await usage.read(runtime, account)
    if isinstance(account.wire, CostsWire):
        await _ask_costs(runtime, account, account.wire)
    return True


async def _ask_costs(runtime: Runtime, account: ServedAccount, wire: CostsWire) -> None:
    """Ask what yesterday and today cost, because yesterday's figure may still have changed."""
    if not await take_look(runtime, account.name):
        return
    asked_at = await runtime.in_transaction(now)
    costs = await wire.costs(asked_at.astimezone(UTC).date() - timedelta(days=1), asked_at)
    if isinstance(costs, Refused):
        return
    record = partial(verifying.record_costs, account=account.name, costs=costs, key_id=account.key_id)
    await runtime.in_transaction(record, asked_at=asked_at)


def _record(
    connection: Connection, name: str, answer: AccountFacts | Refused, probing: Probing, asked_at: float
) -> None:
    if isinstance(answer, AccountFacts):
        accounts.record_survey(connection, name, balance=answer.balance, notes="; ".join(answer.notes) or None)
        if answer.balance is not None:
            drift.record(connection, name, answer.balance, asked_seconds=boot_clock() - asked_at)
    elif answer.code == _REFUSED_KEY:
        pauses.pause(
            connection,
            name,
            code=answer.code,
            reason=answer.message,
            action_url=answer.action_url,
            probing=probing,
        )
