"""Drift: how a provider's own balance moved, beside what the ledger says was spent in the same span.

A span begins with a reading of the balance, its base, and ends with the newest; a balance that rises begins a new one.
What a call in the air or held may have cost widens what the ledger explains; the rest is drift.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

# No transaction of ours lives for an hour: lines older than that are all there, and are summed up once.
_CARRY = text("""
INSERT INTO ledger_sum AS kept (account, until, reserved, settled, held, held_ever)
SELECT :account, now() - interval '1 hour', coalesce(sum(reserved), 0), coalesce(sum(settled), 0),
  coalesce(sum(held), 0), coalesce(sum(greatest(held, 0)), 0)
FROM ledger WHERE account = :account AND at <= now() - interval '1 hour'
  AND at > coalesce((SELECT until FROM ledger_sum WHERE account = :account), '-infinity')
ON CONFLICT (account) DO UPDATE SET until = excluded.until, reserved = kept.reserved + excluded.reserved,
  settled = kept.settled + excluded.settled, held = kept.held + excluded.held,
  held_ever = kept.held_ever + excluded.held_ever
""")
# `since` is when the provider was asked: what was settled after it may be missing in its answer. A price in USD is the
# account's own estimate, no bound: such a call counts as unpriced.
_NOW = text("""
SELECT clock_timestamp() AS at, CAST(:balance AS numeric) AS balance, kept.settled + l.settled AS settled,
  kept.held + l.held AS held, kept.held_ever + l.held_ever AS held_ever, kept.reserved + l.reserved AS in_air,
  l.just_settled, u.unpriced_held, u.unpriced_in_air
FROM ledger_sum kept,
LATERAL (
  SELECT coalesce((SELECT opened_at FROM submission WHERE id = CAST(:own AS uuid)),
    clock_timestamp() - :asked * interval '1 second') AS since
) AS asking,
LATERAL (
  SELECT coalesce(sum(settled), 0) AS settled, coalesce(sum(held), 0) AS held,
    coalesce(sum(greatest(held, 0)), 0) AS held_ever, coalesce(sum(reserved), 0) AS reserved,
    coalesce(sum(settled) FILTER (WHERE at >= since AND submission_id IS DISTINCT FROM CAST(:own AS uuid)), 0)
      AS just_settled
  FROM ledger WHERE account = :account AND at > kept.until
) AS l,
LATERAL (
  SELECT count(*) FILTER (WHERE outcome = 'unknown') AS unpriced_held,
    count(*) FILTER (WHERE outcome IS NULL) AS unpriced_in_air
  FROM submission WHERE account = :account AND (outcome IS NULL OR outcome = 'unknown')
    AND (reserved IS NULL OR unit = 'USD')
) AS u
WHERE kept.account = :account
""")
_SPAN = text("""
(SELECT * FROM balance_reading WHERE account = :account AND base ORDER BY id DESC LIMIT 1)
UNION (SELECT * FROM balance_reading WHERE account = :account ORDER BY id DESC LIMIT 1)
ORDER BY id
""")
_FORGET = text("DELETE FROM balance_reading WHERE id = ANY(:ids)")
_INSERT = text("""
INSERT INTO balance_reading (account, base, at, balance, settled, held, held_ever, in_air, just_settled, unpriced_held,
  unpriced_in_air)
VALUES (:account, :base, :at, :balance, :settled, :held, :held_ever, :in_air, :just_settled, :unpriced_held,
  :unpriced_in_air)
""")
_ALL = text("""
SELECT r.*, account.unit FROM balance_reading r JOIN account ON account.name = r.account ORDER BY r.account, r.id
""")


@dataclass(frozen=True, slots=True)
class Reading:
    """A balance, and the ledger's sums when it was recorded; `held_ever` never falls."""

    at: datetime
    balance: Decimal
    settled: Decimal
    held: Decimal
    held_ever: Decimal
    in_air: Decimal
    """Reserved by calls under way: the provider may have charged them already."""
    just_settled: Decimal
    """Settled while the provider was asked: it may have charged it only after its answer."""
    unpriced_held: int
    unpriced_in_air: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing was under way, so that balance and ledger speak of the same moment."""
        return not (self.in_air or self.just_settled or self.unpriced_in_air)


class Verdict(Enum):
    """What is to be said of a span."""

    EXACT = "exact"
    EXPLAINED = "explained"
    """By money that is held, or was in the air."""
    OPEN = "open"
    """Calls of unknown price are held or in the air: any difference may be theirs."""
    TAKEN = "taken"
    """The provider took more than the ledger knows."""
    SPARED = "spared"
    """The provider took less than the ledger says."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one reading of an account's balance to another."""

    account: str
    unit: str
    base: Reading
    last: Reading
    current: bool

    @property
    def spent(self) -> Decimal:
        """What the ledger says was spent."""
        return self.last.settled - self.base.settled

    @property
    def expected(self) -> Decimal:
        """The balance that the ledger expects."""
        return self.base.balance - self.spent

    @property
    def difference(self) -> Decimal:
        """How much less is left than expected."""
        return self.expected - self.last.balance

    @property
    def explained(self) -> Decimal:
        """How much of the difference held money and calls in the air may be."""
        if self.difference >= 0:
            return min(self.difference, self._more)
        return max(self.difference, -self._less)

    @property
    def drift(self) -> Decimal:
        """What nothing explains; negative where the provider took less than recorded."""
        return self.difference - self.explained

    @property
    def by_held(self) -> bool:
        """Whether what is explained needs money that is or was held."""
        in_air = self.last.in_air + self.base.just_settled
        return -(self.base.in_air + self.last.just_settled) > self.difference or self.difference > in_air

    @property
    def verdict(self) -> Verdict:
        """What is to be said of it."""
        if not self.difference:
            return Verdict.EXACT
        if not self.drift:
            return Verdict.EXPLAINED
        if self._unpriced:
            return Verdict.OPEN
        return Verdict.TAKEN if self.drift > 0 else Verdict.SPARED

    @property
    def _more(self) -> Decimal:
        held = min(self.last.held_ever - self.base.held_ever, self.last.held)
        return held + self.last.in_air + self.base.just_settled

    @property
    def _less(self) -> Decimal:
        ended = (self.last.held_ever - self.last.held) - (self.base.held_ever - self.base.held)
        return min(ended, self.base.held) + self.base.in_air + self.last.just_settled

    @property
    def _unpriced(self) -> bool:
        in_air = self.base.unpriced_in_air or self.last.unpriced_in_air
        return bool(in_air) or self.base.unpriced_held != self.last.unpriced_held


def record(
    connection: Connection, account: str, balance: Decimal, *, asked_seconds: float = 0.0, own: UUID | None = None
) -> None:
    """Record what a provider said is left: `asked_seconds` after it was asked, or in the answer to submission `own`.

    The caller's transaction has written to the account's row already, so that readings of one account take turns.
    """
    parameters = {"account": account, "balance": balance, "asked": asked_seconds, "own": own}
    # In a savepoint: the evidence of a purchase is written in the same transaction, and no reading is worth its loss.
    with suppress(SQLAlchemyError), connection.begin_nested():
        connection.execute(_CARRY, {"account": account})
        _extend(connection, account, _reading(connection.execute(_NOW, parameters).one()))


def accept(connection: Connection, account: str) -> bool:
    """Begin a new span at the newest reading: its drift is known by now. False where there is no reading."""
    kept = connection.execute(_SPAN, {"account": account}).all()
    if kept:
        _insert(connection, account, _reading(kept[-1]), base=True)
    return bool(kept)


def spans(connection: Connection) -> list[Span]:
    """Return each account's spans, oldest first; the last of each is current. A lone reading is a span of no length."""
    found: list[Span] = []
    for row in connection.execute(_ALL):
        reading = _reading(row)
        if row.base:
            if found and found[-1].account == row.account:
                found[-1] = _ended(found[-1])
            found.append(Span(row.account, row.unit, reading, reading, current=True))
        else:
            found[-1] = Span(row.account, row.unit, found[-1].base, reading, current=True)
    return found


def _extend(connection: Connection, account: str, now: Reading) -> None:
    """Let the account's span end at `now`, or begin another there."""
    kept = connection.execute(_SPAN, {"account": account}).all()
    if not kept:
        _insert(connection, account, now, base=True)
        return
    base, last = _reading(kept[0]), _reading(kept[-1])
    rise = now.balance - last.balance
    if 0 < rise <= now.just_settled + now.in_air + max(now.held - last.held, Decimal(0)):
        return  # no top-up: this was said before calls were charged that the last reading knew of already
    better = rise <= 0 and _is_better_base(account, base, now)
    if better:
        connection.execute(_FORGET, {"ids": [row.id for row in kept]})
    elif rise <= 0 and not kept[-1].base:
        connection.execute(_FORGET, {"ids": [kept[-1].id]})
    _insert(connection, account, now, base=better or rise > 0)


def _insert(connection: Connection, account: str, reading: Reading, *, base: bool) -> None:
    values = {name: getattr(reading, name) for name in Reading.__slots__}
    connection.execute(_INSERT, {"account": account, "base": base, **values})


def _ended(span: Span) -> Span:
    return Span(span.account, span.unit, span.base, span.last, current=False)


def _is_better_base(account: str, base: Reading, now: Reading) -> bool:
    """Tell whether a span may begin anew: calls were in the air at its base, none is now, and they explain it all."""
    if base.is_clean or not now.is_clean:
        return False
    span = Span(account, "", base, now, current=True)
    return -base.in_air <= span.difference <= base.just_settled or bool(base.unpriced_in_air)


def _reading(row: Any) -> Reading:
    return Reading(**{name: getattr(row, name) for name in Reading.__slots__})
