"""Spend caps: what an account may spend in a day and a batch in all, counted from the attempts to pay themselves.

An attempt counts with its reserve while it is open or in doubt, then with what it cost. Who decides holds the account's
lock and one lock for each capped batch, so that any number of workers together keep a cap.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.accounts import LockedAccount
from shared.db.transitions import Claim

_COST = """
coalesce(sum(CASE WHEN outcome = 'accepted' THEN settled
  WHEN coalesce(outcome, 'unknown') = 'unknown' THEN reserved END), 0) AS spent,
count(*) FILTER (WHERE outcome IS NULL) AS open
"""
_TODAY = text(f"""
SELECT {_COST} FROM submission WHERE account = :account AND opened_at >= date_trunc('day', now())
""")
_CAPPED = text("""
SELECT id, CAST(caps ->> :provider AS numeric) AS cap FROM batch
WHERE id = ANY(CAST(:ids AS uuid[])) AND caps ? :provider ORDER BY id FOR SHARE
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:batch AS text) || ' ' || :provider, 0))")
_BATCH = text(f"""
SELECT {_COST} FROM submission
WHERE batch_id = :batch AND account IN (SELECT name FROM account WHERE provider = :provider)
""")
_SET = text("""
UPDATE batch SET caps = CASE WHEN CAST(:caps AS jsonb) = '{}' THEN '{}' ELSE caps || CAST(:caps AS jsonb) END
WHERE name = :name RETURNING id
""")
_OF = text("SELECT caps FROM batch WHERE name = :name")
_PARK = text("""
SELECT id, epoch FROM job WHERE batch_id = :batch AND account = :account AND state = 'queued' AND NOT parked
  AND claimed_by IS NULL LIMIT 5000 FOR NO KEY UPDATE SKIP LOCKED
""")
# In one order for all, or two that let jobs go lock each other out.
_UNPARK = """
UPDATE job SET parked = false, due_at = now() WHERE id IN (
  SELECT id FROM job WHERE parked AND state = 'queued' AND {which} ORDER BY id FOR NO KEY UPDATE)
"""
# A person made room: the deadline of what waited for it begins anew.
_UNPARK_BATCH = text(
    _UNPARK.format(which="batch_id = :batch AND error_code IN ('batch_cap_reached', 'price_unknown')").replace(
        "due_at = now()", "due_at = now(), deadline_at = greatest(deadline_at, now() + (deadline_at - created_at))"
    )
)
_UNPARK_PRICED = text(_UNPARK.format(which="account = ANY(CAST(:accounts AS text[])) AND error_code = 'price_unknown'"))
# A parked job is due in a day; it was parked a day before. Money that came back since may have left room.
_UNPARK_MOVED = text(
    _UNPARK.format(
        which="""account = :account AND (due_at <= now() OR (error_code = 'batch_cap_reached'
    AND due_at - :recheck * interval '1 second' < (SELECT back.at FROM back WHERE back.batch_id = job.batch_id)))"""
    ).replace(
        "UPDATE",
        """WITH back AS MATERIALIZED (
  SELECT s.batch_id, max(s.answered_at) AS at FROM submission s JOIN account a ON a.name = s.account
  WHERE a.provider = :provider AND (s.outcome IN ('rejected', 'not_sent') OR s.settled < s.reserved)
    AND s.batch_id IN (SELECT DISTINCT batch_id FROM job WHERE parked AND account = :account)
  GROUP BY s.batch_id
) UPDATE""",
        1,
    )
)
RECHECK_SECONDS: Final = 86_400.0
BATCH_CAP: Final = "batch_cap_reached"
DAILY_CAP: Final = "daily_cap_reached"
PRICE_UNKNOWN: Final = "price_unknown"


@dataclass(slots=True)
class Purse:
    """What is left under one cap, and whether attempts in the air may still give some of it back."""

    cap: Decimal
    spent: Decimal
    open: int

    def fits(self, price: Decimal) -> bool:
        """Whether `price` can be spent as well; free of charge always fits."""
        return not price or self.spent + price <= self.cap


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job may not be paid for now. `passing`: attempts in the air may yet leave room."""

    code: str
    note: str
    passing: bool = False


class Budget:
    """What may still be spent of one account for the batches in line; each yes is counted at once."""

    def __init__(self, day: Purse | None, batches: dict[UUID, Purse], *, unit: str, allow_unknown: bool) -> None:
        self._day = day
        self._batches = batches
        self._unit = unit
        self._allow_unknown = allow_unknown

    def refusal(self, batch_id: UUID, price: Decimal | None) -> Refusal | None:
        """Count `price` and return None, or say which cap has no room for it."""
        batch = self._batches.get(batch_id)
        if price is None:
            if self._allow_unknown and batch is None and self._day is None:
                return None
            why = "no cap can be kept without it" if self._allow_unknown else "and none is allowed to be unknown"
            return Refusal(PRICE_UNKNOWN, f"nobody has told this account's price of the model, {why}")
        for purse, code, whose in ((self._day, DAILY_CAP, "the account's day"), (batch, BATCH_CAP, "the batch")):
            if purse is not None and not purse.fits(price):
                spent = f"{purse.spent:f} of {purse.cap:f} {self._unit} are spent or set aside"
                return Refusal(code, f"{whose} has a cap: {spent}, this needs {price:f}", passing=purse.open > 0)
        for purse in filter(None, (self._day, batch)):
            purse.spent += price
            purse.open += 1
        return None


def budget(connection: Connection, account: LockedAccount, batches: Iterable[UUID], *, allow_unknown: bool) -> Budget:
    """Return what is left; the caller holds the account's lock, and this takes that of each capped batch."""
    found = {}
    whose = {"ids": list(set(batches)), "provider": account.provider}
    for row in connection.execute(_CAPPED, whose).all():
        of_batch = {"batch": row.id, "provider": account.provider}
        connection.execute(_LOCK, of_batch)
        spent = connection.execute(_BATCH, of_batch).one()
        found[row.id] = Purse(row.cap, spent.spent, spent.open)
    day = None
    if account.daily_cap is not None:
        today = connection.execute(_TODAY, {"account": account.name}).one()
        day = Purse(account.daily_cap, today.spent, today.open)
    return Budget(day, found, unit=account.unit, allow_unknown=allow_unknown)


def in_line(connection: Connection, account: str, batch_id: UUID) -> list[Claim]:
    """Lock and return the jobs that wait behind one which its batch's cap refused; at most 5,000."""
    rows = connection.execute(_PARK, {"account": account, "batch": batch_id})
    return [Claim(row.id, row.epoch) for row in rows]


def unpark_moved(connection: Connection, account: str, provider: str) -> int:
    """Put parked jobs back in line whose batch got money back since, or that waited a day; return how many."""
    parameters = {"account": account, "provider": provider, "recheck": RECHECK_SECONDS}
    return connection.execute(_UNPARK_MOVED, parameters).rowcount


def unpark_priced(connection: Connection, accounts: Iterable[str]) -> int:
    """Put jobs back in line that waited for a price: a worker with other settings begins. Return how many."""
    return connection.execute(_UNPARK_PRICED, {"accounts": list(accounts)}).rowcount


def set_for(connection: Connection, batch: str, caps: Mapping[str, Decimal]) -> bool:
    """Set caps of a batch (provider -> amount in its unit) and let its jobs try again; False if it is not there.

    Those of other providers stay; an empty mapping takes all of them away.
    """
    batch_id = connection.execute(_SET, {"name": batch, "caps": _document(caps)}).scalar_one_or_none()
    if batch_id is not None:
        connection.execute(_UNPARK_BATCH, {"batch": batch_id})
    return batch_id is not None


def of_batch(connection: Connection, batch: str) -> dict[str, Decimal]:
    """Return a batch's caps by provider; empty without any, or without such a batch."""
    found = connection.execute(_OF, {"name": batch}).scalar_one_or_none() or {}
    return {provider: Decimal(cap) for provider, cap in found.items()}


def _document(caps: Mapping[str, Decimal]) -> str:
    return json.dumps({provider: f"{cap:f}" for provider, cap in caps.items()})
