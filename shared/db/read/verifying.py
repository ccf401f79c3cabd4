"""Compares each figure of a provider with the ledger for the same span, from the database alone.

A balance is compared over its current span, a key's usage between its oldest and newest readings, a day's cost by the
UTC day. Calls near an end of the span may belong on either side of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, TextClause, text

from shared.db.payments import drift
from shared.db.payments.drift import ROUNDING, BalanceSpan, FigureVerdict

_EDGE_SECONDS: Final = 900.0
"""A clock may be wrong, and a charge may show late: a call this near to an end of a span may be on either side."""
_SUMS = """
  coalesce(sum({amount}) FILTER (WHERE inside), 0) AS booked,
  coalesce(sum({amount}) FILTER (WHERE inside AND near), 0) AS less,
  coalesce(sum({amount}) FILTER (WHERE s.outcome = 'accepted' AND NOT inside), 0) AS more,
  coalesce(sum(s.reserved) FILTER (WHERE s.outcome = 'unknown'), 0) AS held,
  coalesce(sum(s.reserved) FILTER (WHERE s.outcome IS NULL), 0) AS in_air,
  count(*) FILTER (WHERE (s.outcome = 'accepted' AND s.settled IS NULL)
    OR (coalesce(s.outcome, 'unknown') = 'unknown' AND s.reserved IS NULL)) AS unpriced,
  count(s.id) FILTER (WHERE s.key_id IS DISTINCT FROM spans.key_id) AS other_keys
"""
_PLACE = """
LATERAL (SELECT s.outcome = 'accepted' AND s.opened_at >= {start} AND s.answered_at < {end} AS inside,
  s.opened_at < {start} + edge.width OR s.answered_at >= {end} - edge.width AS near) AS place
"""
_TOUCHES = """
  s.opened_at < {end} + edge.width AND coalesce(s.answered_at, 'infinity') >= {start} - edge.width
  AND coalesce(s.outcome, 'unknown') IN ('accepted', 'unknown')
"""
_EDGE = "(SELECT :edge * interval '1 second' AS width) AS edge"
# The first purchases may have left by now.
_FIRST: Final = """least((SELECT min(opened_at) FROM submission WHERE submission.account = {account}),
  (SELECT min(first_opened_at) FROM ledger_day WHERE ledger_day.account = {account}))"""
_DAYS = text(f"""
WITH newest AS (
  SELECT DISTINCT ON (account, day) account, day, key_id, asked_at, cost FROM cost_reading
  WHERE day > (now() AT TIME ZONE 'UTC')::date - :days ORDER BY account, day, at DESC
), spans AS (
  SELECT newest.*, day::timestamp AT TIME ZONE 'UTC' AS begins,
    least((day + 1)::timestamp AT TIME ZONE 'UTC', asked_at) AS ends,
    -- What a day had cost before the first call of ours is not ours.
    coalesce((SELECT r.cost FROM cost_reading r WHERE r.account = newest.account AND r.day = newest.day
      AND r.at < {_FIRST.format(account="newest.account")}
      ORDER BY r.at DESC LIMIT 1), 0) AS before
  FROM newest
)
SELECT spans.account, account.unit, spans.day, spans.asked_at AS at, spans.cost - spans.before AS stated, sums.*
FROM spans JOIN account ON account.name = spans.account, LATERAL (
  SELECT {_SUMS.format(amount="s.settled")}
  FROM {_EDGE} LEFT JOIN submission s ON s.account = spans.account
    AND {_TOUCHES.format(start="spans.begins", end="spans.ends")},
  {_PLACE.format(start="spans.begins", end="spans.ends")}
) AS sums
WHERE spans.day >= ({_FIRST.format(account="spans.account")} AT TIME ZONE 'UTC')::date
ORDER BY spans.account, spans.day
""")
_USAGE = """
WITH newest AS (
  SELECT DISTINCT ON (account) account, key_id, asked_at, at, {figure} AS figure, elsewhere IS NULL AS here_alone
  FROM usage_reading ORDER BY account, at DESC
), spans AS (
  SELECT newest.*, first.at AS begins, newest.asked_at AS ends, newest.figure - first.figure AS stated
  FROM newest, LATERAL (
    SELECT r.at, r.{figure} AS figure FROM usage_reading r WHERE r.account = newest.account
      AND r.key_id = newest.key_id AND (r.elsewhere IS NULL) = newest.here_alone ORDER BY r.at LIMIT 1
  ) AS first
)
SELECT spans.account, account.unit, NULL AS day, spans.ends AS at, spans.stated, sums.*
FROM spans JOIN account ON account.name = spans.account, LATERAL (
  SELECT {sums} FROM {edge} LEFT JOIN submission s ON s.account = spans.account AND s.key_id = spans.key_id
    AND {touches}, {place}
) AS sums WHERE spans.stated IS NOT NULL ORDER BY spans.account
"""


def _usage(figure: str, amount: str) -> TextClause:
    spans = {"start": "spans.begins", "end": "spans.ends"}
    parts = {"sums": _SUMS.format(amount=amount), "touches": _TOUCHES.format(**spans), "place": _PLACE.format(**spans)}
    return text(_USAGE.format(figure=figure, edge=_EDGE, **parts))


_USED = _usage("used", "s.settled")
_USED_ELSEWHERE = _usage("elsewhere", "s.elsewhere")
_PRUNE = text("DELETE FROM cost_reading WHERE account = :account AND at < now() - :days * interval '1 day'")
_RECORD = text("""
INSERT INTO cost_reading (account, key_id, day, asked_at, cost) VALUES (:account, :key_id, :day, :asked_at, :cost)
""")
_KEEP_DAYS: Final = 30
_SHOWN_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a provider and the ledger's side of it; amounts in the account's unit.

    `stated` and `booked` are the spending in the span. Near an end of it, the figure may omit `less` of the booked
    amount, and may include `more` that is booked outside.
    """

    account: str
    figure: str
    unit: str
    at: datetime
    stated: Decimal
    booked: Decimal
    less: Decimal
    more: Decimal
    held: Decimal
    in_air: Decimal
    unpriced: int
    verdict: FigureVerdict

    @property
    def difference(self) -> Decimal:
        """How much more the provider states than the ledger holds."""
        return self.stated - self.booked

    @property
    def adds_up(self) -> bool:
        """Whether nothing needs a closer look."""
        return self.verdict not in {FigureVerdict.MORE, FigureVerdict.LESS}


def record_costs(
    connection: Connection, account: str, costs: Mapping[date, Decimal], *, key_id: str, asked_at: datetime
) -> None:
    """Record what a provider that was asked at `asked_at` said that days cost."""
    for day, cost in costs.items():
        values = {"account": account, "key_id": key_id, "day": day, "asked_at": asked_at, "cost": cost}
        connection.execute(_RECORD, values)
    connection.execute(_PRUNE, {"account": account, "days": _KEEP_DAYS})


def figures(connection: Connection) -> list[Figure]:
    """Return every figure that was read, by account; the days of a week, and of balances the current span."""
    found = [_of_balance(span) for span in drift.spans(connection) if span.current]
    edge = {"edge": _EDGE_SECONDS}
    found += _rows(connection, _USED, edge, "usage of the key")
    found += [row for row in _rows(connection, _USED_ELSEWHERE, edge, "usage elsewhere") if row.stated or row.booked]
    found += _rows(connection, _DAYS, {**edge, "days": _SHOWN_DAYS}, "cost of")
    return sorted(found, key=lambda figure: (figure.account, figure.figure))


def judge(difference: Decimal, *, less: Decimal, more: Decimal, is_open: bool) -> FigureVerdict:
    """Judge whether a figure adds up: it may be from `less` below to `more` above the booked amount."""
    if is_open:
        return FigureVerdict.OPEN
    if abs(difference) < ROUNDING:
        return FigureVerdict.EXACT
    if -less - ROUNDING < difference < more + ROUNDING:
        return FigureVerdict.EXPLAINED
    return FigureVerdict.MORE if difference > 0 else FigureVerdict.LESS


def _rows(connection: Connection, statement: TextClause, parameters: Mapping[str, Any], name: str) -> Iterator[Figure]:
    for row in connection.execute(statement, parameters):
        yield Figure(
            row.account,
            f"{name} {row.day}" if row.day else name,
            row.unit,
            row.at,
            row.stated,
            row.booked,
            row.less,
            row.more,
            row.held,
            row.in_air,
            row.unpriced,
            judge(
                row.stated - row.booked,
                less=row.less,
                more=row.more + row.held + row.in_air,
                is_open=bool(row.unpriced or row.other_keys),
            ),
        )


def _of_balance(span: BalanceSpan) -> Figure:
    last, base = span.last, span.base
    return Figure(
        span.account,
        "balance",
        span.unit,
        last.at,
        base.balance - last.balance,
        span.spent,
        last.just_settled,
        base.just_settled,
        last.held,
        last.in_air,
        last.unpriced_held + last.unpriced_in_air + last.unpriced_settled - base.unpriced_settled,
        span.verdict,
    )
