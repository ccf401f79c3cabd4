"""Spend caps: what an account may spend in a day, and a batch in total, counted from the attempts to pay.

An attempt counts with its reserve while it is open or in doubt, then with its cost, here or elsewhere. If an attempt's
price is unknown, no cap can be kept, so nothing more is bought under that cap. The deciding worker holds the account's
lock and one lock for each capped batch, so caps are exact over any number of workers.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.accounts import LockedAccount
from shared.db.jobs import leftovers
from shared.db.jobs.steering import HELD
from shared.db.jobs.transitions import Claim
from shared.db.payments import spending
from shared.notes import counted

# Also of batches without a cap: a hold or a first cap that commits while an intent is written would not stop it.
_TERMS = text("""
SELECT id, CAST(caps ->> :provider AS numeric) AS cap, held_at IS NOT NULL AS held FROM batch
WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR SHARE
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:batch AS text) || ' ' || :provider, 0))")
_SET = text("""
UPDATE batch SET caps = CASE WHEN CAST(:caps AS jsonb) = '{}' THEN '{}' ELSE caps || CAST(:caps AS jsonb) END
WHERE name = :name RETURNING id
""")
_LOWER = text("""
UPDATE batch SET caps = caps || (
  SELECT coalesce(jsonb_object_agg(given.key, given.value), '{}') FROM jsonb_each_text(CAST(:caps AS jsonb)) AS given
  WHERE NOT batch.caps ? given.key OR CAST(given.value AS numeric) < CAST(batch.caps ->> given.key AS numeric))
WHERE name = :name
""")
_NOW = text("SELECT clock_timestamp()")
_OF = text("SELECT caps FROM batch WHERE name = :name")
_IN_LINE = text("""
SELECT id, epoch FROM job WHERE batch_id = :batch AND account = :account AND state = 'queued' AND NOT on_hold
  AND claimed_by IS NULL ORDER BY id LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
""")
# The same order for all, or two releases deadlock.
_RETURN = """
UPDATE job SET on_hold = false, due_at = now(){more} WHERE id = ANY(ARRAY(
  SELECT id FROM job WHERE on_hold AND state = 'queued' AND {which} LIMIT :most FOR NO KEY UPDATE {skip}))
"""
# A person made room, so the deadline of the waiting jobs starts again.
_RETURN_BATCH = {
    wait: text(
        _RETURN.format(
            more=", deadline_at = greatest(deadline_at, now() + (deadline_at - created_at))",
            which="""batch_id = (SELECT id FROM batch WHERE name = :name)
    AND error_code IN ('batch_cap_reached', 'price_unknown')
    AND (CAST(:until AS timestamptz) IS NULL OR due_at <= :until) ORDER BY id""",
            skip=skip,
        )
    )
    for wait, skip in ((False, "SKIP LOCKED"), (True, ""))
}
_RETURN_PRICED = text(
    _RETURN.format(more="", which="account = ANY(:accounts) AND error_code = 'price_unknown'", skip="SKIP LOCKED")
)
_RETURN_DUE = text(
    _RETURN.format(
        more="",
        which="account = :account AND error_code = :code AND batch_id = :batch AND due_at <= :until ORDER BY due_at",
        skip="SKIP LOCKED",
    )
)
# Which batches an account holds jobs of, and why: read from the index in steps, one step for each, however many jobs.
_HELD_BATCHES = text(f"""
WITH RECURSIVE part AS (
  (SELECT error_code, batch_id FROM job WHERE on_hold AND state = 'queued' AND account = :account
    AND error_code IS NOT NULL ORDER BY error_code, batch_id LIMIT 1)
  UNION ALL
  SELECT after.error_code, after.batch_id FROM part CROSS JOIN LATERAL (
    SELECT error_code, batch_id FROM job WHERE on_hold AND state = 'queued' AND account = :account
      AND (error_code, batch_id) > (part.error_code, part.batch_id) ORDER BY error_code, batch_id LIMIT 1
  ) AS after
)
SELECT error_code, batch_id, now() AS now FROM part
WHERE error_code NOT IN ('{leftovers.CODE}', '{HELD}')
""")
RECHECK_SECONDS: Final = 86_400.0
"""The wait of a job on hold for room: it is due this long after it was put on hold."""
CHUNK: Final = 500
"""Jobs that one transaction puts on hold or back in line: about a tenth of a second of locks."""
BATCH_CAP: Final = "batch_cap_reached"
DAILY_CAP: Final = "daily_cap_reached"
PRICE_UNKNOWN: Final = "price_unknown"


@dataclass(slots=True)
class CapSpending:
    """What is left under one cap, and whether attempts in the air may still give some of it back."""

    cap: Decimal
    spent: Decimal
    open: int
    unpriced: int = 0
    """Calls of unknown cost that count under the cap."""

    def fits(self, price: Decimal) -> bool:
        """Whether `price` can also be spent; a free call always fits."""
        return not price or (not self.unpriced and self.spent + price <= self.cap)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job may not be paid for now. `passing`: attempts in the air may yet leave room."""

    code: str
    note: str
    passing: bool = False


class Budget:
    """What may still be spent of one account for the batches in line; each yes is counted at once."""

    def __init__(
        self,
        day: CapSpending | None,
        batches: dict[UUID, CapSpending],
        *,
        unit: str,
        allow_unknown: bool,
        held: Collection[UUID] = (),
    ) -> None:
        self._day = day
        self._batches = batches
        self._unit = unit
        self._allow_unknown = allow_unknown
        self._held = held

    def refusal(self, batch_id: UUID, price: Decimal | None, *, unpriced: str = "") -> Refusal | None:
        """Count `price` and return None, or say why it may not be paid; `unpriced` says why there is no price."""
        if batch_id in self._held:
            return Refusal(HELD, "its batch is held")
        batch = self._batches.get(batch_id)
        if price is None:
            if self._allow_unknown and batch is None and self._day is None:
                return None
            why = "no cap can be kept without it" if self._allow_unknown else "and none is allowed to be unknown"
            what = f"the model is {unpriced}" if unpriced.startswith("priced") else unpriced
            return Refusal(PRICE_UNKNOWN, f"{what or 'nobody has told this account the price of the model'}, {why}")
        for purse, code, whose in ((self._day, DAILY_CAP, "the account's day"), (batch, BATCH_CAP, "the batch")):
            if purse is not None and not purse.fits(price):
                spent = f"{purse.spent:f} of {purse.cap:f} {self._unit} are spent or set aside"
                spent += f", and so is the unknown price of {counted(purse.unpriced, 'call')}" if purse.unpriced else ""
                return Refusal(code, f"{whose} has a cap: {spent}, this needs {price:f}", passing=purse.open > 0)
        for purse in filter(None, (self._day, batch)):
            purse.spent += price
            purse.open += 1
        return None


def budget(connection: Connection, account: LockedAccount, batches: Iterable[UUID], *, allow_unknown: bool) -> Budget:
    """Return what is left; the caller holds the account's lock, and this takes that of each capped batch."""
    found = {}
    whose = {"ids": list(set(batches)), "provider": account.provider}
    bounded = connection.execute(_TERMS, whose).all()
    for row in (row for row in bounded if row.cap is not None):
        of_batch = {"batch": row.id, "provider": account.provider}
        connection.execute(_LOCK, of_batch)
        spent = spending.of_batch(connection, row.id, account.provider)
        found[row.id] = CapSpending(row.cap, spent.spent, spent.open, spent.unpriced)
    day = None
    if account.daily_cap is not None:
        today = spending.of_day(connection, account.name)
        day = CapSpending(account.daily_cap, today.spent, today.open, today.unpriced)
    held = frozenset(row.id for row in bounded if row.held)
    return Budget(day, found, unit=account.unit, allow_unknown=allow_unknown, held=held)


def in_line(connection: Connection, account: str, batch_id: UUID) -> list[Claim]:
    """Lock and return at most 500 jobs that wait behind a job that its batch's cap refused."""
    rows = connection.execute(_IN_LINE, {"account": account, "batch": batch_id, "most": CHUNK})
    return [Claim(row.id, row.epoch) for row in rows]


def requeue_affordable(connection: Connection, account: str, provider: str) -> int:
    """Return at most 500 held jobs to the line: those whose batch got money back, and those held for a day.

    Returns their number; fewer than 500 mean that none is left.
    """
    released = 0
    for held in connection.execute(_HELD_BATCHES, {"account": account}).all():
        until = _due_until(connection, held, provider)
        which = {"account": account, "code": held.error_code, "batch": held.batch_id, "until": until}
        released += connection.execute(_RETURN_DUE, {**which, "most": CHUNK - released}).rowcount
        if released == CHUNK:
            break
    return released


def _due_until(connection: Connection, held: Any, provider: str) -> datetime:
    """Return up to which due time jobs may go on now; it covers all that were on hold before money came back."""
    now: datetime = held.now
    if held.error_code != BATCH_CAP:
        return now
    back = spending.of_batch(connection, held.batch_id, provider).gave_back_at
    return now if back is None else max(now, back + timedelta(seconds=RECHECK_SECONDS))


def requeue_priced(connection: Connection, accounts: Iterable[str]) -> int:
    """Put up to 500 jobs that waited for a price back in line; fewer than 500 mean that none is left."""
    return connection.execute(_RETURN_PRICED, {"accounts": list(accounts), "most": CHUNK}).rowcount


def requeue_batch(connection: Connection, batch: str, *, until: datetime | None = None, wait: bool = False) -> int:
    """Put up to 500 jobs of a batch back in line after a person made room; return their number.

    Jobs that others have locked are left out. With `wait`, one job is put back, and its lock is awaited. `until`:
    `held_before`.
    """
    asked = {"name": batch, "most": 1 if wait else CHUNK, "until": until}
    return connection.execute(_RETURN_BATCH[wait], asked).rowcount


def held_before(connection: Connection) -> datetime:
    """Return the due time up to which jobs were put on hold before now: later ones met the new cap, and are left."""
    now: datetime = connection.execute(_NOW).scalar_one()
    return now + timedelta(seconds=RECHECK_SECONDS)


def set_for(connection: Connection, batch: str, caps: Mapping[str, Decimal]) -> bool:
    """Set caps of a batch (provider -> amount in its unit) and let up to 500 of its jobs try again.

    Caps of other providers stay; an empty mapping removes all caps. False if there is no such batch. The caller repeats
    `requeue_batch` in further transactions until a transaction that waits returns 0.
    """
    if connection.execute(_SET, {"name": batch, "caps": _document(caps)}).scalar_one_or_none() is None:
        return False
    requeue_batch(connection, batch)
    return True


def lower_for(connection: Connection, batch: str, caps: Mapping[str, Decimal]) -> None:
    """Lower caps of a batch, or set them where it has none; a cap that is lower already stays."""
    connection.execute(_LOWER, {"name": batch, "caps": _document(caps)})


def of_batch(connection: Connection, batch: str) -> dict[str, Decimal]:
    """Return a batch's caps by provider; empty without any, or without such a batch."""
    found = connection.execute(_OF, {"name": batch}).scalar_one_or_none() or {}
    return {provider: Decimal(cap) for provider, cap in found.items()}


def _document(caps: Mapping[str, Decimal]) -> str:
    return json.dumps({provider: f"{cap:f}" for provider, cap in caps.items()})
