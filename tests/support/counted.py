"""Running counts and sums, compared with a real count of the rows."""

from sqlalchemy import Connection, text

from shared.db import folding

_KEY = "provider, state, on_hold, error_code"
_JOBS = text(f"""
SELECT * FROM (SELECT batch_id, {_KEY}, count(*) AS jobs FROM job
  GROUP BY GROUPING SETS (({_KEY}), (batch_id, {_KEY}))) AS counted
""")  # noqa: S608 - constants of this file
_JOB_SUMS = text(f"""
SELECT batch_id, {_KEY}, sum(jobs) AS jobs FROM (
  SELECT batch_id, {_KEY}, jobs FROM job_count
  UNION ALL SELECT batch_id, {_KEY}, sum(jobs) FROM job_count_delta
  GROUP BY GROUPING SETS (({_KEY}), (batch_id, {_KEY}))
) AS part GROUP BY batch_id, {_KEY} HAVING sum(jobs) <> 0
""")  # noqa: S608 - constants of this file
_GRAINS = "GROUPING SETS ((account, unit), (batch_id, account, unit), (day, account, unit))"
_CALLS = text(f"""
SELECT batch_id, day, account, unit, count(*) AS calls, count(*) FILTER (WHERE s.outcome IS NULL) AS open,
  count(*) FILTER (WHERE s.outcome = 'accepted') AS accepted,
  count(*) FILTER (WHERE s.outcome IS NULL AND s.reserved IS NULL) AS open_unpriced,
  count(*) FILTER (WHERE s.outcome = 'accepted' AND s.settled IS NULL) AS settled_unpriced,
  count(*) FILTER (WHERE s.outcome = 'unknown' AND s.reserved IS NULL) AS held_unpriced,
  count(*) FILTER (WHERE s.outcome = 'unknown') AS held,
  sum(l.reserved) AS reserved_amount, sum(l.settled) AS settled_amount, sum(l.held) AS held_amount,
  sum(l.ever) AS held_ever_amount, sum(l.elsewhere) AS elsewhere_amount
FROM (SELECT *, (opened_at AT TIME ZONE 'UTC')::date AS day FROM submission) AS s CROSS JOIN LATERAL (
  SELECT sum(reserved) AS reserved, sum(settled) AS settled, sum(held) AS held, sum(greatest(held, 0)) AS ever,
    sum(elsewhere) AS elsewhere FROM ledger WHERE ledger.submission_id = s.id
) AS l GROUP BY {_GRAINS}
""")  # noqa: S608 - constants of this file
_NAMES = (
    "calls, open, accepted, open_unpriced, settled_unpriced, held_unpriced, held, reserved_amount, settled_amount, "
    "held_amount, held_ever_amount, elsewhere_amount"
)
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _NAMES.split(", "))
_CALL_SUMS = text(f"""
SELECT batch_id, day, account, unit, {_SUMS} FROM (
  SELECT batch_id, day, account, unit, {_NAMES} FROM spending
  UNION ALL SELECT batch_id, day, account, unit, {_SUMS} FROM spending_delta GROUP BY {_GRAINS}
) AS part GROUP BY batch_id, day, account, unit HAVING sum(calls) <> 0
""")  # noqa: S608 - constants of this file
_DELTAS = text("SELECT (SELECT count(*) FROM job_count_delta) + (SELECT count(*) FROM spending_delta)")
_MANY = 12


def check_counts(connection: Connection) -> None:
    """What the counts say is what there is, by batch, by day and in all; now and then the deltas are added up."""
    for sums, counted in ((_JOB_SUMS, _JOBS), (_CALL_SUMS, _CALLS)):
        assert set(connection.execute(sums)) == set(connection.execute(counted))
    if connection.execute(_DELTAS).scalar_one() > _MANY:
        add_up(connection)


def add_up(connection: Connection) -> None:
    """Add every delta to the sums."""
    while folding.fold(connection):
        pass
