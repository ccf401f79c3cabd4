"""Sweep: searches each provider's own list for pictures that no submission owns; it reports, and never guesses.

A call in doubt is adopted by reconcile, where the match is certain. What is left may as well be another user's of the
same account: `genqueue strays` shows it to a person.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import anyio
import structlog

from shared.db import doubts, strays
from shared.db.engine import Connection
from shared.db.strays import Span
from worker.api_get import ApiGet
from worker.lookup import Metered, take_slot
from worker.providers.contract import Candidate, Found
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 30.0


async def sweep(runtime: Runtime) -> None:
    """Search every account whose provider has a list, when that is due, until cancelled."""
    while True:
        for account in runtime.accounts.values():
            if account.wire.find_by == "nothing":
                continue
            try:
                await search(runtime, account)
            except Exception as error:  # noqa: BLE001 - the next round searches again; the work must go on
                _log.warning("sweep_failed", account=account.name, error=type(error).__name__)
        await anyio.sleep(min(_LOOK_SECONDS, runtime.settings.sweep_seconds))


async def search(runtime: Runtime, account: Account) -> None:
    """Search one account's list from where the last search ended, if it is due and nobody else does.

    Up to the quiet time of the newest call: what is younger may still belong to a call in the air.
    """
    quiet = runtime.quiet_after(account) + account.quiet_seconds
    span = await runtime.sql(
        partial(strays.begin, account=account.name, every_seconds=runtime.settings.sweep_seconds, quiet_seconds=quiet)
    )
    if span is None:
        return
    wire = account.searching(cast("ApiGet", Metered(account.get, partial(take_slot, runtime, account.name))))
    found = await wire.find(None, span.since)
    if not isinstance(found, Found):
        _log.info("sweep_refused", account=account.name, code=found.code)
        return
    made = [one for one in found.candidates if one.made_at <= span.until]
    reported = await runtime.sql(partial(_record, account.name, made, span if found.complete else None))
    _log.info("swept", account=account.name, made=len(made), strays=reported, complete=found.complete)


def _record(account: str, made: Sequence[Candidate], span: Span | None, connection: Connection) -> int:
    """Write down what nobody owns; without `span` the list was not read whole, and the next search begins as this."""
    owned = doubts.owned(connection, account, [one.upstream_id for one in made])
    free = [one for one in made if one.upstream_id not in owned]
    for one in free:
        note = f"carries the reference of submission {one.reference}" if one.reference else "no submission owns it"
        strays.report(connection, account, one.upstream_id, made_at=one.made_at, note=note)
    if span is not None:
        strays.end(connection, account, span)
    return len(free)
