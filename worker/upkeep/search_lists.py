"""The sweep: searches each provider's own list for images that no submission owns.

An image that carries the reference of a call of ours is adopted even if that call was judged unbought, because the
match is certain. Any other image may belong to another user of the account; `genqueue unowned` lists it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast
from uuid import UUID

import anyio
import structlog

from shared.catalog.parameter import is_uuid
from shared.db.engine import Connection
from shared.db.lost_calls import lost_calls, unowned, usage
from shared.db.lost_calls.lost_calls import Purchase
from shared.db.lost_calls.unowned import SweepSpan
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.db.waking import wake
from shared.lifecycle import ImageState, Outcome
from shared.upstream_ids import folded
from worker.lost_calls.listing import ListReading, read
from worker.lost_calls.provider_clock import ProviderClock, clock_of
from worker.lost_calls.read_list import refer
from worker.metered import metered
from worker.providers.contract import Listed, ListWire, ReferenceWire, Refused, UpstreamImage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.image_indexes import assign_indexes

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 30.0
_BEFORE: Final = timedelta(days=1)  # purchases from this long before the span also show the provider's clock


async def search_lists(runtime: Runtime) -> None:
    """Search every account whose provider has a list when its search is due, until cancelled."""
    while True:
        for account in runtime.accounts.values():
            if account.wire.find_by in {"usage", "nothing"}:
                continue
            try:
                await search(runtime, account)
            except Exception as error:  # noqa: BLE001 - the next round searches again; the work must go on
                _log.warning("sweep_failed", account=account.name, error=type(error).__name__)
        await anyio.sleep(min(_LOOK_SECONDS, runtime.settings.sweep_seconds))


async def search(runtime: Runtime, account: ServedAccount) -> None:
    """Search one account's list from the end of the last search, if it is due and nobody else does.

    The search stops before the newest call's quiet time: a younger image may still belong to a call in the air.
    """
    quiet = runtime.quiet_after(account) + account.quiet_seconds
    span = await runtime.in_transaction(
        partial(unowned.begin, account=account.name, every_seconds=runtime.settings.sweep_seconds, quiet_seconds=quiet)
    )
    if span is None:
        return
    found = await _everything(runtime, account, span)
    if isinstance(found, Refused):
        _log.info("sweep_refused", account=account.name, code=found.code)
        return
    reading, clock = found
    whole = reading.fault is None and reading.reaches(clock.earliest(span.since))
    made = [row for row in reading.rows if row.made_at is not None and row.made_at <= clock.earliest(span.until)]
    if account.wire.find_by == "reference":
        # Rows that were not looked up by id are left to the next search.
        owned = await runtime.in_transaction(_owned, account.name, made, span)
        whole = whole and all(row.reference is not None or folded(row.upstream_id or "") in owned for row in made)
        made = [row for row in made if row.reference is not None]
    left = await _settle(runtime, account, made, span, whole=whole)
    _log.info("swept", account=account.name, made=len(made), unowned=left, complete=whole)


async def _everything(
    runtime: Runtime, account: ServedAccount, span: SweepSpan
) -> tuple[ListReading, ProviderClock] | Refused:
    """Read the list back to the span's beginning, with the rows' references, and derive its clock."""
    now, known, bought = await runtime.in_transaction(_known, account.name, span)
    slack = account.slack_seconds
    wire = cast("ListWire", account.searching(metered(runtime, account)))

    def enough(rows: Sequence[Listed]) -> bool:
        begin = clock_of(rows, bought, slack_seconds=slack).earliest(span.since)
        return any(row.made_at is not None and row.made_at < begin for row in rows)

    reading = await read(wire, enough, asked_at=now)
    if isinstance(reading, ListReading) and wire.find_by == "reference":
        reading = await refer(cast("ReferenceWire", wire), reading, known, bought, whole=False)
    return reading if isinstance(reading, Refused) else (reading, clock_of(reading.rows, bought, slack_seconds=slack))


async def _settle(
    runtime: Runtime, account: ServedAccount, made: Sequence[Listed], span: SweepSpan, *, whole: bool
) -> int:
    """Adopt images that carry a reference of ours, record the unowned ones, and return the number of these."""
    # Of several rows of one call, one that did not fail comes first: the call takes no more than it asked for.
    for one in sorted(made, key=lambda row: row.failed):
        if is_uuid(one.reference):
            await runtime.in_transaction(_adopt, runtime, account.name, one, UUID(one.reference))
    return await runtime.in_transaction(partial(_record, whole=whole), account.name, made, span)


def _known(connection: Connection, account: str, span: SweepSpan) -> tuple[datetime, set[str], Mapping[str, Purchase]]:
    bought = _bought(connection, account, span)
    return usage.now(connection), {*bought, *unowned.known(connection, account)}, bought


def _bought(connection: Connection, account: str, span: SweepSpan) -> Mapping[str, Purchase]:
    return lost_calls.purchases(connection, account, span.since - _BEFORE)


def _owned(connection: Connection, account: str, made: Sequence[Listed], span: SweepSpan) -> set[str]:
    """Return the folded ids of what belongs to a call of ours, or is recorded as nobody's."""
    ids = [row.upstream_id for row in made if row.upstream_id]
    known = {*lost_calls.owned(connection, account, ids), *unowned.known(connection, account)}
    return {*map(folded, known), *_bought(connection, account, span)}


def _record(connection: Connection, account: str, made: Sequence[Listed], span: SweepSpan, *, whole: bool) -> int:
    """Record the unowned images and return their number.

    If the list was not read `whole`, the next search begins where this one began.
    """
    ids = [one.upstream_id for one in made if one.upstream_id]
    owned = {*map(folded, lost_calls.owned(connection, account, ids)), *_bought(connection, account, span)}
    left = [one for one in made if one.upstream_id and one.made_at and folded(one.upstream_id) not in owned]
    for one in left:
        ours = is_uuid(one.reference)
        note = f"carries the reference of submission {one.reference}" if ours else "no submission owns it"
        unowned.report(connection, account, str(one.upstream_id), made_at=one.made_at, note=note)
    if whole:
        unowned.end(connection, account, span)
    return len(left)


def _adopt(connection: Connection, runtime: Runtime, account: str, one: Listed, submission_id: UUID) -> None:
    """Adopt an image for the call whose reference it carries, unless no call of ours has that reference.

    A provider's own answer to a call takes precedence over its list; then a person must look. Each image has its own
    transaction: a holder of the account's row may wait for a submission, so this one must not wait for the account.
    """
    asked = submissions.asked_by(connection, submission_id)
    if asked is None:
        return
    lost_calls.lock(connection, account)
    if one.upstream_id is None or lost_calls.owned(connection, account, [one.upstream_id]):
        return
    pictures = assign_indexes(asked.missing, asked.request, [UpstreamImage(ImageState.PENDING, one.upstream_id)])
    answer = Answer(Outcome.ACCEPTED, upstream_id=one.upstream_id, images=pictures, inferred=True)
    if not submissions.record(connection, submission_id, answer):
        return
    submissions.follow_late(connection, asked.job_id, submission_id, actor=runtime.sender.name)
    wake(connection)
    _log.warning("adopted", job=str(asked.job_id), submission=str(submission_id))
