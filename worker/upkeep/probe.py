"""Probe: finds out whether the cause of an account's pause is gone. A balance decides, or one paid call.

After the pause, paid calls begin one at a time and double with each purchase. So a wrong guess costs one call.
"""

from typing import Final

import anyio
import structlog

from shared.db import accounts, pauses, rate_windows
from shared.db.engine import Connection
from shared.db.pauses import Probe, Probing
from shared.db.payments import drift
from shared.db.waking import wake
from worker.providers.contract import AccountFacts, Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.transport.paid_post import boot_clock

_log = structlog.get_logger(__name__)
_TICKS: Final = 4
"""Ticks of the dispatcher between two looks: a pause lasts minutes."""
_NO_CREDIT: Final = "account_out_of_credit"


async def probe(runtime: Runtime) -> None:
    """Probe every paused account when its probe is due, until cancelled."""
    while True:
        try:
            due = await runtime.one_statement(pauses.due_probes, runtime.accounts)
        except Exception as error:  # noqa: BLE001 - the next look asks again; the work must go on
            due = []
            _log.warning("probe_failed", error=type(error).__name__)
        for name in due:
            try:
                await look(runtime, runtime.accounts[name])
            except Exception as error:  # noqa: BLE001 - the same of each account
                _log.warning("probe_failed", account=name, error=type(error).__name__)
        await anyio.sleep(_TICKS * runtime.settings.tick_seconds)


async def look(runtime: Runtime, account: ServedAccount) -> None:
    """Probe one account if its probe is due and nobody else does."""
    due = await runtime.in_transaction(take_turn, account.name, runtime.probing)
    if due is None:
        return
    asked_at = boot_clock()
    answer = await account.wire.account()
    over = is_over(due, answer)
    _log.info("probed", account=account.name, code=due.code, over=over)
    await runtime.in_transaction(_record, account.name, due, answer, over=over, asked_at=asked_at)


def take_turn(connection: Connection, name: str, probing: Probing) -> Probe | None:
    """Take the account's probe if it is due and its rate window has room for the question."""
    with connection.begin_nested() as savepoint:
        due = pauses.probe(connection, name, probing)
        if due is not None and not rate_windows.grant(connection, name, kind="poll", wanted=1)[0]:
            savepoint.rollback()  # it stays due: without room in the window, no question was asked
            return None
        return due


def is_over(due: Probe, answer: AccountFacts | Refused) -> bool:
    """Tell whether paid calls may begin again: the account answers and has what the refused call needed.

    If a provider shows no balance, one paid call must find out.
    """
    if isinstance(answer, Refused):
        return False
    if due.code != _NO_CREDIT or answer.balance is None:
        return True
    return answer.balance >= due.balance_needed if due.balance_needed else answer.balance > 0


def _record(
    connection: Connection, name: str, due: Probe, answer: AccountFacts | Refused, *, over: bool, asked_at: float
) -> None:
    if isinstance(answer, AccountFacts):
        accounts.record_survey(connection, name, balance=answer.balance, notes="; ".join(answer.notes) or None)
        if answer.balance is not None:
            drift.record(connection, name, answer.balance, asked_seconds=boot_clock() - asked_at)
    # Waiting looks and downloads will show the end of the pause. If none waits, one paid call must find out.
    over = over and not pauses.waiting_work_will_tell(connection, name, due.code)
    if over and pauses.resume(connection, name, ended=due.code):
        wake(connection)
