"""Usage: what a key has used up in all, as its provider says, beside what our own calls are known to have cost.

The figure only ever grows by what somebody is charged. Where it grew by no more than the costs that the provider itself
stated for calls of ours between two readings, nothing else was charged between them: no lost call was.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

_KEEP_DAYS: Final = 30
_ROUNDING: Final = Decimal("0.000001")  # in USD; providers add up binary fractions, and no image costs so little
_NOW = text("SELECT clock_timestamp()")
_INSERT = text("""
INSERT INTO usage_reading (account, key_id, asked_at, used) VALUES (:account, :key_id, :asked_at, :used) RETURNING id
""")
_PRUNE = text("DELETE FROM usage_reading WHERE account = :account AND at < now() - :days * interval '1 day'")
# `ours` are the calls whose cost is certainly in the second figure and not in the first. `loose` may be in it.
_AROUND = text("""
WITH lost AS (
  SELECT account, key_id, opened_at, quiet_at FROM submission WHERE id = :id
), last AS (
  SELECT r.at, r.asked_at - :lag * interval '1 second' AS shown, r.used
  FROM usage_reading r JOIN lost USING (account, key_id) WHERE r.id = :reading AND r.asked_at >= lost.quiet_at
), first AS (
  SELECT r.at, r.used FROM usage_reading r JOIN lost USING (account, key_id) WHERE r.at <= lost.opened_at
  ORDER BY r.at DESC LIMIT 1
)
SELECT last.used - first.used AS risen, calls.ours, calls.loose, coalesce(readings.fell, false) AS fell
FROM first, last, LATERAL (
  SELECT coalesce(sum(s.settled) FILTER (WHERE s.outcome = 'accepted' AND s.stated AND s.answered_at < last.shown), 0)
      AS ours,
    count(*) FILTER (WHERE s.outcome IS NULL OR (s.outcome = 'accepted' AND s.answered_at >= last.shown)) AS loose
  FROM submission s JOIN lost USING (account, key_id) WHERE s.opened_at > first.at
) AS calls, LATERAL (
  SELECT bool_or(later.used < (
    -- Two that were asked beside each other may be recorded in either order.
    SELECT earlier.used FROM usage_reading earlier
    WHERE earlier.account = later.account AND earlier.key_id = later.key_id AND earlier.id <> later.id
      AND earlier.at <= later.asked_at ORDER BY earlier.at DESC LIMIT 1
  )) AS fell
  FROM usage_reading later JOIN lost USING (account, key_id) WHERE later.at > first.at AND later.at <= last.at
) AS readings
""")


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the figure, by its id."""

    id: int


@dataclass(frozen=True, slots=True)
class Growth:
    """From before a lost call until after its charge would show. In the account's unit."""

    unexplained: Decimal
    """How much more the key used up than the calls whose cost its provider stated."""
    loose: int
    """Calls of ours that are under way or answered just now: they may be in the figure already."""
    fell: bool = False
    """Whether the figure fell in between: what was given back may hide a charge."""

    @property
    def is_none(self) -> bool:
        """Whether nothing was charged but what is known."""
        return abs(self.unexplained) < _ROUNDING and not self.fell


def now(connection: Connection) -> datetime:
    """Return the moment, on the clock that everything is compared on: take it before the provider is asked."""
    moment: datetime = connection.execute(_NOW).scalar_one()
    return moment


def record(connection: Connection, account: str, used: Decimal, *, key_id: str, asked_at: datetime) -> Reading:
    """Record what a provider that was asked at `asked_at` said that the key has used up."""
    values = {"account": account, "key_id": key_id, "asked_at": asked_at, "used": used}
    reading = connection.execute(_INSERT, values).scalar_one()
    connection.execute(_PRUNE, {"account": account, "days": _KEEP_DAYS})
    return Reading(reading)


def growth(connection: Connection, submission_id: UUID, reading: Reading, *, lag_seconds: float) -> Growth | None:
    """Return how the figure of its key grew around a lost call, up to `reading`.

    None where the key was not read before the call, or `reading` is too early for its charge to show. `lag_seconds`
    after an answer at most its cost shows in the figure.
    """
    span = {"id": submission_id, "reading": reading.id, "lag": lag_seconds}
    row = connection.execute(_AROUND, span).one_or_none()
    return None if row is None else Growth(row.risen - row.ours, row.loose, row.fell)
