"""Drift: compares the change of a provider's own balance with what the ledger says was spent in the same span.

A span begins with a reading of the balance, its base, and ends with the newest reading. A rising balance begins a new
span. Calls in the air and held money may explain a difference; the rest is drift.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from shared.db.payments import spending

ROUNDING: Final = Decimal("0.000001")
"""Less than this is no difference: providers add up binary fractions."""
_CENTS: Final = -2
_CENT: Final = Decimal("0.01")

# In one statement, so that all sums are of the same moment. `just_settled` was settled after the provider was asked, so
# the provider's answer may not include it.
_NOW = text(f"""
SELECT clock_timestamp() AS at, CAST(:balance AS numeric) AS balance, sums.*, (
  SELECT coalesce(sum(settled), 0) FROM ledger
  WHERE account = :account AND submission_id IS DISTINCT FROM CAST(:own AS uuid)
    AND at >= (SELECT coalesce((SELECT opened_at FROM submission WHERE id = CAST(:own AS uuid)),
      clock_timestamp() - :asked * interval '1 second'))
) AS just_settled
FROM ({spending.OF_ACCOUNT}) AS sums
""")
_SPAN = text("""
(SELECT * FROM balance_reading WHERE account = :account AND base ORDER BY id DESC LIMIT 1)
UNION (SELECT * FROM balance_reading WHERE account = :account ORDER BY id DESC LIMIT 1)
ORDER BY id
""")
_FORGET = text("DELETE FROM balance_reading WHERE id = ANY(:ids)")
_INSERT = text("""
INSERT INTO balance_reading (account, base, at, balance, settled, held, held_ever, in_air, just_settled, unpriced_held,
  unpriced_in_air, unpriced_settled)
VALUES (:account, :base, :at, :balance, :settled, :held, :held_ever, :in_air, :just_settled, :unpriced_held,
  :unpriced_in_air, :unpriced_settled)
""")
_ALL = text("""
SELECT r.*, account.unit FROM balance_reading r JOIN account ON account.name = r.account ORDER BY r.account, r.id
""")


@dataclass(frozen=True, slots=True)
class BalanceFigure:
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
    unpriced_settled: int
    """Charged calls of unknown cost, in total; the ledger counts them as 0."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was under way, so that balance and ledger speak of the same moment."""
        return not (self.in_air or self.just_settled or self.unpriced_in_air)


class FigureVerdict(Enum):
    """The verdict on a provider's figure compared with the ledger's."""

    EXACT = "exact"
    EXPLAINED = "explained"
    """By calls that are held, in the air, or at an end of the span."""
    OPEN = "open"
    """It includes calls of unknown price or of another key. They may cause any difference, or hide one."""
    MORE = "more"
    """The provider took more than the ledger knows."""
    LESS = "less"
    """The provider took less than the ledger says."""


@dataclass(frozen=True, slots=True)
class BalanceSpan:
    """From one reading of an account's balance to another."""

    account: str
    unit: str
    base: BalanceFigure
    last: BalanceFigure
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
        """The unexplained part; negative if the provider took less than recorded. What rounding may be is none."""
        left = self.difference - self.explained
        return Decimal(0) if abs(left) < self._rounding else left

    @property
    def by_held(self) -> bool:
        """Whether what is explained needs money that is or was held."""
        in_air = self.last.in_air + self.base.just_settled
        return -(self.base.in_air + self.last.just_settled) > self.difference or self.difference > in_air

    @property
    def verdict(self) -> FigureVerdict:
        """The verdict on it."""
        if self.last.unpriced_settled != self.base.unpriced_settled:
            return FigureVerdict.OPEN
        if abs(self.difference) < self._rounding:
            return FigureVerdict.EXACT
        if not self.drift:
            return FigureVerdict.EXPLAINED
        if self._unpriced:
            return FigureVerdict.OPEN
        return FigureVerdict.MORE if self.drift > 0 else FigureVerdict.LESS

    @property
    def _rounding(self) -> Decimal:
        """How far off two readings may be by their digits: binary fractions, or cents where calls cost parts of one."""
        finest = min(_places(self.base.balance), _places(self.last.balance))
        return _CENT if finest == _CENTS and _places(self.spent.normalize()) < _CENTS else ROUNDING

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
    # In a savepoint, because the same transaction writes the evidence of a purchase, which must not be lost.
    with suppress(SQLAlchemyError), connection.begin_nested():
        _extend(connection, account, _reading(connection.execute(_NOW, parameters).one()))


def accept(connection: Connection, account: str) -> bool:
    """Begin a new span at the newest reading, because the drift so far is explained. False if there is no reading."""
    kept = connection.execute(_SPAN, {"account": account}).all()
    if kept:
        _insert(connection, account, _reading(kept[-1]), base=True)
    return bool(kept)


def spans(connection: Connection) -> list[BalanceSpan]:
    """Return each account's spans, oldest first; the last of each is current. A lone reading is a span of no length."""
    found: list[BalanceSpan] = []
    for row in connection.execute(_ALL):
        reading = _reading(row)
        if row.base:
            if found and found[-1].account == row.account:
                found[-1] = _ended(found[-1])
            found.append(BalanceSpan(row.account, row.unit, reading, reading, current=True))
        else:
            found[-1] = BalanceSpan(row.account, row.unit, found[-1].base, reading, current=True)
    return found


def _extend(connection: Connection, account: str, now: BalanceFigure) -> None:
    """End the account's span at `now`, or begin another one there."""
    kept = connection.execute(_SPAN, {"account": account}).all()
    if not kept:
        _insert(connection, account, now, base=True)
        return
    base, last = _reading(kept[0]), _reading(kept[-1])
    rise = now.balance - last.balance
    if abs(rise) < ROUNDING:
        rise = Decimal(0)
    if 0 < rise <= now.just_settled + now.in_air + max(now.held - last.held, Decimal(0)):
        return  # no top-up: this balance was stated before calls were charged that the last reading already includes
    if rise > 0 and not kept[-1].base and _is_exact(account, base, now):
        rise = Decimal(0)  # no top-up: the last reading was wrong, or what was taken was given back to the last digit
    better = rise <= 0 and _is_better_base(account, base, now)
    if better:
        connection.execute(_FORGET, {"ids": [row.id for row in kept]})
    elif rise <= 0 and not kept[-1].base:
        connection.execute(_FORGET, {"ids": [kept[-1].id]})
    _insert(connection, account, now, base=better or rise > 0)


def _insert(connection: Connection, account: str, reading: BalanceFigure, *, base: bool) -> None:
    values = {name: getattr(reading, name) for name in BalanceFigure.__slots__}
    connection.execute(_INSERT, {"account": account, "base": base, **values})


def _ended(span: BalanceSpan) -> BalanceSpan:
    return BalanceSpan(span.account, span.unit, span.base, span.last, current=False)


def _is_exact(account: str, base: BalanceFigure, now: BalanceFigure) -> bool:
    return BalanceSpan(account, "", base, now, current=True).verdict is FigureVerdict.EXACT


def _places(amount: Decimal) -> int:
    """Return the exponent of an amount's last digit."""
    exponent = amount.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _is_better_base(account: str, base: BalanceFigure, now: BalanceFigure) -> bool:
    """Tell whether a span may restart: calls were in the air at its base, none is now, and they explain everything."""
    if base.is_clean or not now.is_clean:
        return False
    span = BalanceSpan(account, "", base, now, current=True)
    explained = -base.in_air <= span.difference <= base.just_settled
    return (explained and base.unpriced_settled == now.unpriced_settled) or bool(base.unpriced_in_air)


def _reading(row: Any) -> BalanceFigure:
    return BalanceFigure(**{name: getattr(row, name) for name in BalanceFigure.__slots__})
