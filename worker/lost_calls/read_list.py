"""Look: reads a provider's own list for lost calls; one reading serves all doubts of an account."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, cast

from shared.db.engine import Connection
from shared.db.lost_calls import lost_calls, usage
from shared.db.lost_calls.lost_calls import LostCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.absence import NEAR, hidden_purchases, newest_presence
from worker.lost_calls.list_facts import ListFacts
from worker.lost_calls.listing import Enough, ListReading, read
from worker.lost_calls.provider_clock import clock_of
from worker.metered import metered
from worker.providers.asking import GONE
from worker.providers.contract import Listed, ListWire, ReferenceWire, Refused
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_PURCHASES_BEFORE: Final = timedelta(days=1)
_MOST_LOOKS: Final = 20  # single rows, in one reading
_SERVES_SECONDS: Final = 300.0
"""How long a sufficient reading may be reused; the calls that were in the air at its time end meanwhile."""
_FRESH_SECONDS: Final = 30.0


async def look(runtime: Runtime, account: ServedAccount, lost_call: LostCall) -> ListReading | Refused:
    """Return a reading that suffices for the lost call: the last reading, or a new one within the rate windows."""
    now, known = await runtime.in_transaction(_now_and_purchases, account.name, lost_call.opened_at)
    last: ListReading | None = runtime.looked.get(account.name)
    if last is not None and _serves(account, last, lost_call, known, now):
        return last
    found = await _look(runtime, account, lost_call, now, known)
    if isinstance(found, ListReading):
        runtime.looked[account.name] = found
    return found


def list_facts(connection: Connection, account: ServedAccount, lost_call: LostCall, reading: ListReading) -> ListFacts:
    """Combine a reading with what the database knows now. Call it under the account's lock: nobody else adopts then."""
    ids = [row.upstream_id for row in reading.rows if row.upstream_id]
    # First what is in the air, then what is owned: a call that settles between the two is seen as an owner at least.
    in_the_air_since = lost_calls.in_the_air_since(connection, account.name)
    return ListFacts(
        reading=reading,
        find_by=account.wire.find_by,
        owned=lost_calls.owned(connection, account.name, ids),
        purchases=lost_calls.purchases(connection, account.name, lost_call.opened_at - _PURCHASES_BEFORE),
        key_id=account.key_id,
        in_the_air_since=in_the_air_since,
        slack_seconds=account.slack_seconds,
        quiet_seconds=account.quiet_seconds,
        wanted=_wanted(account, lost_call),
        bought_before=lost_calls.bought_before(connection, account.name, account.key_id, lost_call.opened_at),
    )


def _wanted(account: ServedAccount, lost_call: LostCall) -> Mapping[str, Any]:
    """Return what the call asked for, in its provider's words; nothing if that can no longer be said."""
    with suppress(ValueError, LookupError):
        return account.body(lost_call.request, len(lost_call.missing) or 1)
    return {}


def _now_and_purchases(
    connection: Connection, account: str, opened_at: datetime
) -> tuple[datetime, Mapping[str, Purchase]]:
    return usage.now(connection), lost_calls.purchases(connection, account, opened_at - _PURCHASES_BEFORE)


def _serves(
    account: ServedAccount, reading: ListReading, lost_call: LostCall, known: Mapping[str, Purchase], now: datetime
) -> bool:
    if reading.asked_at < lost_call.until + timedelta(seconds=account.slack_seconds):
        return False
    age = (now - reading.asked_at).total_seconds()
    if age < min(_FRESH_SECONDS, account.quiet_seconds):
        return True
    shown = ListFacts(
        reading=reading,
        find_by=account.wire.find_by,
        purchases=known,
        slack_seconds=account.slack_seconds,
        quiet_seconds=account.quiet_seconds,
    )
    shows = newest_presence(lost_call, shown) is not None and not hidden_purchases(lost_call, shown)
    return age < _SERVES_SECONDS and shows and _reaches(shown, lost_call)


def _reaches(shown: ListFacts, lost_call: LostCall) -> bool:
    return shown.clock.known and shown.reading.reaches(shown.clock.earliest(lost_call.opened_at - NEAR))


async def _look(
    runtime: Runtime, account: ServedAccount, lost_call: LostCall, now: datetime, known: Mapping[str, Purchase]
) -> ListReading | Refused:
    # What was deleted was bought all the same. The sweep leaves it out: it can no longer be collected.
    wire = cast("ListWire", account.searching(metered(runtime, account), with_deleted=True))
    reading = await read(wire, _enough(account, lost_call, known), asked_at=now)
    if isinstance(reading, Refused):
        return reading
    if wire.find_by != "reference":
        return reading
    owned = await runtime.in_transaction(_owned, account.name, reading)
    return await refer(cast("ReferenceWire", wire), reading, owned, known)


def _enough(account: ServedAccount, lost_call: LostCall, known: Mapping[str, Purchase]) -> Enough:
    """Read back to the purchases near the call, on the provider's clock as derived from our own rows."""

    def enough(rows: Sequence[Listed]) -> bool:
        clock = clock_of(rows, known, slack_seconds=account.slack_seconds)
        begin = clock.earliest(lost_call.opened_at - NEAR)
        return clock.known and any(row.made_at is not None and row.made_at < begin for row in rows)

    return enough


def _owned(connection: Connection, account: str, reading: ListReading) -> set[str]:
    return lost_calls.owned(connection, account, [row.upstream_id for row in reading.rows if row.upstream_id])


async def refer(
    wire: ReferenceWire, reading: ListReading, owned: set[str], known: Mapping[str, Purchase], *, whole: bool = True
) -> ListReading | Refused:
    """Look up unowned rows by id, for the reference that the list omits; at most twenty.

    One purchase of ours is looked up too. A row without a reference proves something only if our purchase has one. A
    row that is listed stays a row, whatever its own look says: a reference that was not read may be ours. If a look is
    refused, the whole reading is refused; without `whole`, the part that was read is returned.
    """
    taken = {folded(one) for one in owned}
    bare = [row.upstream_id for row in reading.rows if row.upstream_id and row.reference is None]
    ours = next((upstream_id for upstream_id in bare if folded(upstream_id) in known), None)
    asked = [upstream_id for upstream_id in bare if folded(upstream_id) not in taken]
    references: dict[str, str | None] = {}
    for upstream_id in [*([ours] if ours and asked else []), *asked[:_MOST_LOOKS]]:
        looked = await wire.look(upstream_id)
        if isinstance(looked, Listed):
            references[upstream_id] = looked.reference
        elif looked.code != GONE:
            if whole:
                return looked
            break
    return reading.with_references(references)
