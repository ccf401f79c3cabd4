"""Offers: reads regularly which models and prices a provider states for each account; free of charge.

The offers bound prices and refuse rows before anything is paid. One worker asks for all.
"""

from typing import Final, cast

import anyio
import structlog

from shared.db.engine import Connection
from shared.db.payments import offers
from shared.db.payments.caps import CHUNK, requeue_priced
from worker.metered import metered
from worker.providers.contract import LONGEST_WAIT_SECONDS, OfferWire, Refused
from worker.providers.offering import Offered
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_log = structlog.get_logger(__name__)
_AGAIN_SECONDS: Final = 30.0  # after a list that could not be read: one request
_PARTLY_SECONDS: Final = 120.0  # where some models' prices could not be: they wait, but all are asked for again
_LOOK_SECONDS: Final = 15.0
_UNKNOWN_SECONDS: Final = 0.5  # until the account is registered


async def read_offers(runtime: Runtime) -> None:
    """Ask for every account at regular intervals, until cancelled."""
    while True:
        wait = _LOOK_SECONDS
        for account in runtime.accounts.values():
            try:
                if await look(runtime, account) is None:
                    wait = _UNKNOWN_SECONDS
            except Exception as error:  # noqa: BLE001 - the next round asks again; the work must go on
                _log.warning("offers_failed", account=account.name, error=type(error).__name__)
        await anyio.sleep(wait)


async def look(runtime: Runtime, account: ServedAccount) -> bool | None:
    """Read one account's offers if they are due and nobody else does; None if the account is not registered yet."""
    if not isinstance(account.wire, OfferWire):
        return False
    often = runtime.settings.price_check_seconds
    turn = await runtime.in_transaction(offers.take_turn, account=account.name, often_seconds=often)
    if turn:
        await ask(runtime, account)
    return turn


async def ask(runtime: Runtime, account: ServedAccount) -> None:
    """Ask within the account's rate windows and record the answer. The log gets a line for each changed price."""
    answer = await cast("OfferWire", account.searching(metered(runtime, account))).offers()
    if isinstance(answer, Refused):
        again = min(runtime.settings.price_check_seconds, _AGAIN_SECONDS)
        note = f"{answer.code}: {answer.message}"
        await runtime.in_transaction(offers.put_off, account=account.name, seconds=again, note=note)
        return
    changes = await runtime.in_transaction(_record, account.name, answer)
    while await runtime.in_transaction(requeue_priced, [account.name]) == CHUNK:
        pass
    for change in changes:
        before, after = str(change.before), str(change.after or "without an upper bound")
        _log.warning("price_changed", account=account.name, model=change.model, before=before, after=after)


def _record(connection: Connection, name: str, answer: Offered) -> list[offers.Change]:
    return offers.record(
        connection,
        name,
        answer.offers,
        unread=answer.unread,
        whole=answer.whole,
        source=answer.source,
        again_seconds=_PARTLY_SECONDS if answer.unread else LONGEST_WAIT_SECONDS,
    )
