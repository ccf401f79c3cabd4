"""Usage: compares what a key has used up, as its provider says, with the known costs of our own calls.

The figure grows only by charges. If it grew by no more than the costs that the provider stated for our calls between
two readings, nothing else was charged between them, so no lost call was.

Costs at model providers, under the owner's own keys, are a separate figure and are judged separately. The sum of both
could stay the same while one rose and the other fell, and the first figure alone never changes for such a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

_KEEP_DAYS: Final = 30
ROUNDING: Final = Decimal("0.000001")
"""In USD: providers add up binary fractions, and no image costs this little."""
_COARSEST: Final = Decimal(1)
_NOW = text("SELECT clock_timestamp()")
_INSERT = text("""
INSERT INTO usage_reading (account, key_id, asked_at, used, elsewhere)
VALUES (:account, :key_id, :asked_at, :used, :elsewhere) RETURNING id
""")
_PRUNE = text("DELETE FROM usage_reading WHERE account = :account AND at < now() - :days * interval '1 day'")
#     lost      the lost call, and the model that it asked for
#     last      the reading to judge; the cost of a call that was answered before `shown` is in its figure
#     first     the reading to compare with: from before the lost call, if possible with no call under way
#     calls     our calls since `first`: the costs that `last` shows, `loose` calls that it may show, and `later` ones
#     readings  whether a figure fell between two readings in a row
#     figures   the newest readings up to `last`: their digits show how finely the figures are stated
_AROUND = text("""
WITH lost AS (
  SELECT s.account, s.key_id, s.opened_at, s.visible_by, coalesce(job.request ->> 'model', '') AS model
  FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :id
), last AS (
  SELECT r.at, r.asked_at - :lag * interval '1 second' AS shown, r.used, r.elsewhere
  FROM usage_reading r JOIN lost USING (account, key_id) WHERE r.id = :reading AND r.asked_at >= lost.visible_by
), told AS NOT MATERIALIZED (
  -- A figure that a reading does not state is unknown: only readings that state the same figures can be compared.
  SELECT r.* FROM usage_reading r, last WHERE (r.elsewhere IS NULL) = (last.elsewhere IS NULL)
), first AS (
  SELECT near.at, near.used, near.elsewhere FROM (
    SELECT r.at, r.asked_at, r.used, r.elsewhere FROM told r JOIN lost USING (account, key_id)
    WHERE r.at <= lost.opened_at ORDER BY r.at DESC LIMIT 2000
  ) AS near, lost ORDER BY EXISTS (
    -- A call that was under way at a reading is in neither sum: a reading without calls under way explains more.
    SELECT 1 FROM submission s WHERE s.account = lost.account AND s.key_id = lost.key_id
      AND s.opened_at BETWEEN near.at - interval '2 hours' AND near.at
      AND (s.outcome IS NULL OR (s.outcome = 'accepted'
        AND s.answered_at > near.asked_at - :lag * interval '1 second'))
  ), near.at DESC LIMIT 1
)
SELECT last.used - first.used AS risen, calls.ours,
  coalesce(last.elsewhere - first.elsewhere, 0) AS risen_elsewhere,
  calls.elsewhere, calls.models, calls.loose, calls.later, coalesce(readings.fell, false) AS fell,
  figures.used, figures.elsewhere_used, lost.model
FROM first, last, lost, LATERAL (
  SELECT coalesce(sum(s.settled) FILTER (WHERE known.shows), 0) AS ours,
    coalesce(sum(s.elsewhere) FILTER (WHERE known.shows), 0) AS elsewhere,
    array_agg(DISTINCT coalesce(job.request ->> 'model', ''))
      FILTER (WHERE known.shows AND (s.settled > 0 OR s.elsewhere > 0)) AS models,
    count(*) FILTER (WHERE s.outcome IS NULL OR (s.outcome = 'accepted' AND s.answered_at >= last.shown)) AS loose,
    count(*) FILTER (WHERE known.shows AND (s.settled > 0 OR s.elsewhere > 0) AND s.opened_at >= :over) AS later
  FROM submission s JOIN lost USING (account, key_id) JOIN job ON job.id = s.job_id, LATERAL (
    SELECT s.outcome = 'accepted' AND s.cost_stated AND s.answered_at < last.shown AS shows
  ) AS known WHERE s.opened_at > first.at
) AS calls, LATERAL (
  -- Two readings that were asked for at the same time may be recorded in either order.
  SELECT bool_or(EXISTS (
    SELECT 1 FROM (
      SELECT earlier.used, earlier.elsewhere FROM usage_reading earlier
      WHERE earlier.account = later.account AND earlier.key_id = later.key_id AND earlier.id <> later.id
        AND earlier.at <= later.asked_at ORDER BY earlier.at DESC LIMIT 1
    ) AS before WHERE later.used < before.used OR later.elsewhere < before.elsewhere
  )) AS fell
  FROM usage_reading later JOIN lost USING (account, key_id) WHERE later.at > first.at AND later.at <= last.at
) AS readings, LATERAL (
  SELECT array_agg(used) AS used, array_agg(elsewhere) AS elsewhere_used FROM (
    SELECT r.used, r.elsewhere FROM told r JOIN lost USING (account, key_id)
    WHERE r.at <= last.at ORDER BY r.at DESC LIMIT 200
  ) AS newest
) AS figures
""")


@dataclass(frozen=True, slots=True)
class UsageFigure:
    """One reading of the figure, by its id."""

    id: int


@dataclass(frozen=True, slots=True)
class Growth:
    """From before a lost call until after its charge would show. In the account's unit."""

    unexplained: Decimal
    """By how much the key's usage grew beyond the costs that its provider stated for our calls."""
    loose: int
    """Calls of ours that are under way or answered just now: they may be in the figure already."""
    later: int = 0
    """Calls of ours that began after the lost one was over and whose cost the figure shows: it is not frozen."""
    fell: bool = False
    """Whether a figure fell in between: a refund may hide a charge."""
    elsewhere: Decimal = Decimal(0)
    """Like `unexplained`, for costs under the owner's own keys at model providers."""
    stated: Decimal = field(default=Decimal(0), compare=False)
    """The stated costs of our calls that the figure shows: if too high, they may hide a charge."""
    stated_elsewhere: Decimal = field(default=Decimal(0), compare=False)
    models: frozenset[str] = field(default=frozenset(), compare=False)
    """The models of the calls whose costs are in `stated` and `stated_elsewhere`."""
    model: str = field(default="", compare=False)
    """The model that the lost call asked for."""
    step: Decimal = field(default=Decimal(0), compare=False)
    """How finely the figure is stated: a charge that is not above it may not show."""
    step_elsewhere: Decimal = field(default=Decimal(0), compare=False)

    @property
    def is_none(self) -> bool:
        """Whether only known costs were charged."""
        explained = abs(self.unexplained) < ROUNDING and abs(self.elsewhere) < ROUNDING
        return explained and not self.fell

    @property
    def is_short(self) -> bool:
        """Whether a figure rose by less than the calls of ours that it should hold."""
        return self.unexplained < 0 or self.elsewhere < 0


def now(connection: Connection) -> datetime:
    """Return the time of the database, with which all times are compared; call it before asking the provider."""
    moment: datetime = connection.execute(_NOW).scalar_one()
    return moment


def record(
    connection: Connection,
    account: str,
    used: Decimal,
    *,
    key_id: str,
    asked_at: datetime,
    elsewhere: Decimal | None = Decimal(0),
) -> UsageFigure:
    """Record the usage of a key, here and elsewhere, as its provider stated it when asked at `asked_at`.

    `elsewhere` is None where it did not say.
    """
    values = {"account": account, "key_id": key_id, "asked_at": asked_at, "used": used, "elsewhere": elsewhere}
    reading = connection.execute(_INSERT, values).scalar_one()
    connection.execute(_PRUNE, {"account": account, "days": _KEEP_DAYS})
    return UsageFigure(reading)


def growth(
    connection: Connection, submission_id: UUID, reading: UsageFigure, *, over_at: datetime, lag_seconds: float
) -> Growth | None:
    """Return how the figure of its key grew around a lost call, up to `reading`.

    None if the key was not read before the call, or if `reading` is too early for its charge to show. `over_at` is when
    the call was over. A cost shows in the figure at most `lag_seconds` after the answer.
    """
    span = {"id": submission_id, "reading": reading.id, "lag": lag_seconds, "over": over_at}
    row = connection.execute(_AROUND, span).one_or_none()
    if row is None:
        return None
    return Growth(
        unexplained=row.risen - row.ours,
        loose=row.loose,
        later=row.later,
        fell=row.fell,
        elsewhere=row.risen_elsewhere - row.elsewhere,
        stated=row.ours,
        stated_elsewhere=row.elsewhere,
        models=frozenset(row.models or ()),
        model=row.model,
        step=step_of(row.used),
        step_elsewhere=step_of(row.elsewhere_used),
    )


def step_of(figures: Sequence[Decimal | None]) -> Decimal:
    """Return the step in which a figure is stated: the last digit of that reading of it which shows the most.

    One reading may end in zeros by chance, and 0 shows nothing. If none shows a digit, any charge may be hidden.
    """
    return min((_last_digit(figure) for figure in figures if figure), default=_COARSEST)


def _last_digit(figure: Decimal) -> Decimal:
    """Return the value of one in the last digit that is not 0; `ROUNDING` at least."""
    exact = figure.quantize(ROUNDING).normalize()
    return Decimal(1).scaleb(min(int(exact.as_tuple().exponent), 0)) if exact else ROUNDING
