"""Usage: what a key has used up in all, as its provider says, beside what our own calls are known to have cost.

The figure only ever grows by what somebody is charged. Where it grew by no more than the costs that the provider itself
stated for calls of ours between two readings, nothing else was charged between them: no lost call was.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

_KEEP_DAYS: Final = 30
_ROUNDING: Final = Decimal("0.000001")  # in USD; providers add up binary fractions, and no image costs so little
_INSERT = text("""
INSERT INTO usage_reading (account, asked_at, used)
VALUES (:account, clock_timestamp() - :asked * interval '1 second', :used)
""")
_PRUNE = text("DELETE FROM usage_reading WHERE account = :account AND at < now() - :days * interval '1 day'")
# `ours` are the calls whose cost is certainly in the second figure and not in the first. `loose` may be in it.
_SINCE = text("""
WITH lost AS (
  SELECT account, opened_at, quiet_at FROM submission WHERE id = :id
), first AS (
  SELECT r.at, r.used FROM usage_reading r JOIN lost USING (account) WHERE r.at <= lost.opened_at
  ORDER BY r.at DESC LIMIT 1
), last AS (
  SELECT r.asked_at - :lag * interval '1 second' AS shown, r.used FROM usage_reading r JOIN lost USING (account)
  WHERE r.asked_at >= lost.quiet_at ORDER BY r.at DESC LIMIT 1
)
SELECT last.used - first.used AS risen, calls.ours, calls.loose
FROM first, last, LATERAL (
  SELECT coalesce(sum(settled) FILTER (WHERE outcome = 'accepted' AND stated AND answered_at < shown), 0) AS ours,
    count(*) FILTER (WHERE outcome IS NULL OR (outcome = 'accepted' AND answered_at >= shown)) AS loose
  FROM submission WHERE account = (SELECT account FROM lost) AND opened_at > first.at
) AS calls
""")


@dataclass(frozen=True, slots=True)
class Growth:
    """From before a lost call until after its charge would show. In the account's unit."""

    unexplained: Decimal
    """How much more the key used up than the calls whose cost its provider stated."""
    loose: int
    """Calls of ours that are under way or answered just now: they may be in the figure already."""

    @property
    def is_none(self) -> bool:
        """Whether nothing was charged but what is known."""
        return abs(self.unexplained) < _ROUNDING


def record(connection: Connection, account: str, used: Decimal, *, asked_seconds: float) -> None:
    """Record what a provider said that the key has used up, `asked_seconds` after it was asked."""
    connection.execute(_INSERT, {"account": account, "used": used, "asked": asked_seconds})
    connection.execute(_PRUNE, {"account": account, "days": _KEEP_DAYS})


def growth(connection: Connection, submission_id: UUID, *, lag_seconds: float) -> Growth | None:
    """Return how its account's figure grew around a lost call; None without a reading from before or after it.

    `lag_seconds` after an answer at most its cost shows in the figure.
    """
    row = connection.execute(_SINCE, {"id": submission_id, "lag": lag_seconds}).one_or_none()
    return None if row is None else Growth(row.risen - row.ours, row.loose)
