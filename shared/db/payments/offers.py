"""What providers offer to accounts, as workers read it: one row a model, and a line for each price that changed."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from shared.catalog.offers import NO_OFFERS, Offer, Offers, read
from shared.db.payments.caps import requeue_priced
from shared.db.waking import wake

FRESH_SECONDS: Final = 86_400.0
"""What was read longer ago says nothing any more: no row is refused by it, and no price is taken from it."""
_CHANGES_KEPT: Final = 200
_TURN = text("""
INSERT INTO offer_reading (account, due_at)
SELECT name, now() + :often * interval '1 second' FROM account WHERE name = :account
ON CONFLICT (account) DO UPDATE SET due_at = excluded.due_at WHERE offer_reading.due_at <= now()
RETURNING account
""")
_KNOWN = text("SELECT 1 FROM account WHERE name = :account")
_PUT_OFF = text("""
UPDATE offer_reading SET due_at = now() + :seconds * interval '1 second', note = :note WHERE account = :account
""")
_READ = text("""
UPDATE offer_reading SET read_at = clock_timestamp(), source = :source, whole = :whole, note = :note,
  due_at = least(due_at, now() + :seconds * interval '1 second')
WHERE account = :account
""")
_BEFORE = text("SELECT model, document FROM offer WHERE account = :account FOR UPDATE")
_WRITE = text("""
INSERT INTO offer (account, model, document) VALUES (:account, :model, CAST(:document AS jsonb))
ON CONFLICT (account, model) DO UPDATE SET document = excluded.document, read_at = clock_timestamp()
""")
_MENTION = text("""
INSERT INTO offer (account, model, document) VALUES (:account, :model, CAST(:document AS jsonb))
ON CONFLICT DO NOTHING
""")
_FORGET = text("DELETE FROM offer WHERE account = :account AND model <> ALL(CAST(:models AS text[]))")
_CHANGED = text("""
INSERT INTO offer_change (account, model, before, after) VALUES (:account, :model, :before, :after)
""")
_PRUNE = text("""
DELETE FROM offer_change WHERE account = :account AND id <= (
  SELECT id FROM offer_change WHERE account = :account ORDER BY id DESC OFFSET :kept LIMIT 1)
""")
_VERSION = text("SELECT read_at, note FROM offer_reading WHERE account = :account")
_LOAD = text("""
SELECT o.account, o.model, o.document, r.whole FROM offer o JOIN offer_reading r ON r.account = o.account
WHERE (CAST(:account AS text) IS NULL OR o.account = :account)
  AND r.read_at > now() - :fresh * interval '1 second' AND o.read_at > now() - :fresh * interval '1 second'
""")
_READINGS = text("""
SELECT r.account, r.read_at, r.source, r.whole, r.note, r.read_at > now() - :fresh * interval '1 second' AS fresh,
  (SELECT count(*) FROM offer WHERE offer.account = r.account) AS models,
  (SELECT count(*) FROM offer WHERE offer.account = r.account AND document ->> 'unbounded' <> '') AS unbounded
FROM offer_reading r ORDER BY r.account
""")
_CHANGES = text("""
SELECT account, model, at, before, after FROM offer_change
WHERE at > now() - :days * interval '1 day' ORDER BY id DESC LIMIT :limit
""")


class Change(NamedTuple):
    """The highest price of one image of a model, in USD, before and after; None where nothing bounds it."""

    model: str
    before: Decimal | None
    after: Decimal | None


def take_turn(connection: Connection, account: str, *, often_seconds: float) -> bool | None:
    """Tell whether this worker, and no other, is to ask what the account is offered; None where it is not known yet."""
    if connection.execute(_TURN, {"account": account, "often": often_seconds}).one_or_none():
        return True
    return False if connection.execute(_KNOWN, {"account": account}).one_or_none() else None


def put_off(connection: Connection, account: str, *, seconds: float, note: str) -> None:
    """Record why nothing could be read, and when to ask again."""
    connection.execute(_PUT_OFF, {"account": account, "seconds": seconds, "note": note})


def record(  # noqa: PLR0913 - one figure each
    connection: Connection,
    account: str,
    offers: Iterable[Offer],
    *,
    unread: Iterable[str],
    whole: bool,
    source: str,
    again_seconds: float,
) -> list[Change]:
    """Write what an account is offered now, and return the prices that changed.

    `unread` are models whose rates could not be asked for: what is known of them stays. Jobs that waited for a price
    get back in line.
    """
    mine = {"account": account}
    before = {row.model: read(row.model, row.document) for row in connection.execute(_BEFORE, mine)}
    offers, unread = list(offers), list(unread)
    for offer in offers:
        connection.execute(_WRITE, {**mine, "model": offer.model, "document": json.dumps(offer.document())})
    for model in unread:
        nothing = Offer(model, unbounded="its prices could not be read").document()
        connection.execute(_MENTION, {**mine, "model": model, "document": json.dumps(nothing)})
    if whole:
        connection.execute(_FORGET, {**mine, "models": [*(offer.model for offer in offers), *unread]})
    note = f"the prices of {len(unread)} model(s) could not be read" if unread else None
    connection.execute(_READ, {**mine, "source": source, "whole": whole, "note": note, "seconds": again_seconds})
    changes = list(_changes(before, offers))
    for change in changes:
        connection.execute(_CHANGED, {**mine, **change._asdict()})
    connection.execute(_PRUNE, {**mine, "kept": _CHANGES_KEPT})
    if requeue_priced(connection, [account]):
        wake(connection)
    return changes


def load(connection: Connection, account: str | None = None) -> dict[str, Offers]:
    """Return what accounts are offered, of one or of all; those of which nothing fresh is known are left out."""
    models: dict[str, dict[str, Offer]] = {}
    whole: dict[str, bool] = {}
    for row in connection.execute(_LOAD, {"account": account, "fresh": FRESH_SECONDS}):
        models.setdefault(row.account, {})[row.model] = read(row.model, row.document)
        whole[row.account] = row.whole
    return {name: Offers(found, whole[name]) for name, found in models.items()}


class RecentOffers:
    """What accounts are offered, read again after `seconds`: some hundred documents, too many for each small request.

    Threads may share it. With 0 seconds it is read each time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._read: tuple[float, dict[str, Offers]] = (float("-inf"), {})

    def load(self, connection: Connection) -> dict[str, Offers]:
        """Return the offers by account, at most that old."""
        at, found = self._read
        if time.monotonic() - at >= self._seconds:
            at, found = self._read = time.monotonic(), load(connection)
        return found


@dataclass(slots=True)
class Book:
    """An account's offers in a worker's memory: read again only where another reading was recorded."""

    account: str
    offers: Offers = NO_OFFERS
    _version: Any = field(default=None)

    def refresh(self, connection: Connection) -> bool:
        """Take over what was recorded last; False while the first question has no answer yet."""
        last = connection.execute(_VERSION, {"account": self.account}).one_or_none()
        if last is None or last.read_at is None:
            return bool(last and last.note)
        if last.read_at != self._version:
            self.offers = load(connection, self.account).get(self.account, NO_OFFERS)
            self._version = last.read_at
        return True


def readings(connection: Connection) -> list[dict[str, Any]]:
    """Return of each account when its offers were read last, how many there are, and what was wrong."""
    return [dict(row) for row in connection.execute(_READINGS, {"fresh": FRESH_SECONDS}).mappings()]


def changes(connection: Connection, *, days: int = 7, limit: int = 50) -> list[dict[str, Any]]:
    """Return the prices that changed lately, newest first."""
    return [dict(row) for row in connection.execute(_CHANGES, {"days": days, "limit": limit}).mappings()]


def _changes(before: dict[str, Offer], offers: Iterable[Offer]) -> Iterable[Change]:
    for offer in offers:
        known = before.get(offer.model)
        old, new = known.headline if known else None, offer.headline
        if old is not None and old != new:
            yield Change(offer.model, old, new)
