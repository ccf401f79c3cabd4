"""Stated costs: whether a provider charges what it states. Spans with known calls only show it in the usage figure.

If a provider states more than it charges, perhaps for one model alone, the charge of a lost call may hide in the
surplus. So a figure is believed only after it agreed exactly, for the models concerned, over spans in which
nothing but known calls can have been charged.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.lost_calls.usage import ROUNDING, Growth, UsageFigure

# A reading is clean if each call that began before the reading was answered so early that its cost shows there. Between
# two clean readings, the cost of each call is in both figures, or only in the second. A call of unknown cost spoils
# each span in which its charge may have come. A call that an earlier reading judged unbought spoils such spans too, and
# so does an error inside a success.
_SPANS = text(f"""
WITH lost AS (
  SELECT s.account, s.key_id, coalesce(job.request ->> 'model', '') AS model
  FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :id
), told AS (
  SELECT r.id, r.at, r.asked_at, r.used, coalesce(r.elsewhere, 0) AS elsewhere
  FROM usage_reading r JOIN lost USING (account, key_id), usage_reading last
  WHERE last.id = :reading AND (r.elsewhere IS NULL) = (last.elsewhere IS NULL) AND r.at <= last.at
  ORDER BY r.at DESC LIMIT 200
), clean AS (
  SELECT * FROM told WHERE NOT EXISTS (
    SELECT 1 FROM submission s JOIN lost USING (account, key_id)
    WHERE s.opened_at BETWEEN told.at - interval '2 hours' AND told.at AND (s.outcome IS NULL
      OR (s.outcome = 'accepted' AND s.answered_at >= told.asked_at - :lag * interval '1 second')))
), span AS (
  SELECT at, lag(at) OVER w AS since, lag(asked_at) OVER w AS since_asked,
    used - lag(used) OVER w AS risen, elsewhere - lag(elsewhere) OVER w AS risen_elsewhere
  FROM clean WINDOW w AS (ORDER BY at, id)
)
SELECT coalesce(bool_or(fits AND calls.here > 0), false) AS here,
  coalesce(bool_or(fits AND calls.elsewhere > 0), false) AS elsewhere,
  jsonb_agg(calls.models) FILTER (WHERE fits) AS models,
  min(calls.least) FILTER (WHERE fits) AS least, min(calls.least_elsewhere) FILTER (WHERE fits) AS least_elsewhere,
  coalesce(bool_or(risen < calls.here - {ROUNDING} OR risen_elsewhere < calls.elsewhere - {ROUNDING}), false) AS short
FROM span, LATERAL (
  SELECT coalesce(sum(s.settled) FILTER (WHERE s.opened_at > span.since), 0) AS here,
    coalesce(sum(s.elsewhere) FILTER (WHERE s.opened_at > span.since), 0) AS elsewhere,
    array_agg(DISTINCT coalesce(job.request ->> 'model', ''))
      FILTER (WHERE s.opened_at > span.since AND (s.settled > 0 OR s.elsewhere > 0)) AS models,
    min(s.settled) FILTER (WHERE own.is_later AND s.settled > 0) AS least,
    min(s.elsewhere) FILTER (WHERE own.is_later AND s.elsewhere > 0) AS least_elsewhere,
    coalesce(bool_and(coalesce(known.cost, false) OR coalesce(s.visible_by < span.since_asked, false)), true)
      AS all_known
  FROM submission s JOIN lost USING (account, key_id) JOIN job ON job.id = s.job_id, LATERAL (
    SELECT NOT s.inferred AND ((s.outcome = 'accepted' AND s.cost_stated)
      OR (s.outcome IN ('rejected', 'not_sent') AND coalesce(s.http_status NOT BETWEEN 200 AND 299, true))) AS cost
  ) AS known, LATERAL (
    SELECT s.opened_at > span.since AND coalesce(job.request ->> 'model', '') = lost.model AS is_later
  ) AS own WHERE s.opened_at BETWEEN span.since - interval '2 hours' AND span.at
) AS calls, LATERAL (
  SELECT abs(risen - calls.here) < {ROUNDING} AND abs(risen_elsewhere - calls.elsewhere) < {ROUNDING} AS fits
) AS agreement
WHERE span.since IS NOT NULL AND calls.all_known
""")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the figure of a key showed of calls whose costs are known, over the last two hundred readings.

    `here`, `elsewhere`: a figure rose by exactly the costs that were stated, for these `models`. `short`: by less.
    `least`, `least_elsewhere`: the least of those costs for the lost call's own model; None without any.
    """

    here: bool
    elsewhere: bool
    short: bool
    models: frozenset[str] = frozenset()
    least: Decimal | None = field(default=None, compare=False)
    least_elsewhere: Decimal | None = field(default=None, compare=False)

    def covers(self, growth: Growth) -> bool:
        """Tell whether the costs that explain a growth are of a kind that is known to be charged as it is stated."""
        here, elsewhere = self.here or not growth.stated, self.elsewhere or not growth.stated_elsewhere
        return here and elsewhere and growth.models <= self.models and self._would_show(growth)

    def _would_show(self, growth: Growth) -> bool:
        """Tell whether the figures are stated so finely that a charge of the lost call would show.

        What its model may cost, and in which figure, is known if it was charged before. Otherwise it is taken to cost
        more than `ROUNDING` in either figure; then both must be stated.
        """
        both = [(self.least, growth.step), (self.least_elsewhere, growth.step_elsewhere)]
        known = [least > step for least, step in both if least is not None]
        return all(known) if known else max(growth.step, growth.step_elsewhere) <= ROUNDING


def agreement(connection: Connection, submission_id: UUID, reading: UsageFigure, *, lag_seconds: float) -> Agreement:
    """Return how the figure of a lost call's key agreed with stated costs, up to `reading`.

    A cost shows in the figure at most `lag_seconds` after the answer.
    """
    row = connection.execute(_SPANS, {"id": submission_id, "reading": reading.id, "lag": lag_seconds}).one()
    models = frozenset(model for listed in row.models or () for model in listed or ())
    return Agreement(row.here, row.elsewhere, row.short, models, row.least, row.least_elsewhere)
