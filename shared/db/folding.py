"""Adds deltas to running sums. Triggers append the changes of each statement as deltas; a worker's tick adds them up.

A reader adds sums and deltas in one statement, so its answer is exact whenever this last ran. This only keeps the
number of deltas small.
"""

from typing import Final

from sqlalchemy import Connection, text

_ADDED: Final = (
    "calls",
    "open",
    "accepted",
    "open_unpriced",
    "settled_unpriced",
    "held_unpriced",
    "held",
    "reserved_amount",
    "settled_amount",
    "held_amount",
    "held_ever_amount",
    "elsewhere_amount",
)
# One process adds up at a time, because two would wait for each other's rows. The lock ends with the transaction.
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('genqueue folding ' || current_schema(), 0))")
_TAKE = """
WITH taken AS (
  DELETE FROM {table} WHERE id = ANY(ARRAY(
    SELECT id FROM {table} ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)) RETURNING *
)
"""
_JOBS = text(f"""
{_TAKE.format(table="job_count_delta")}, folded AS (
  INSERT INTO job_count AS kept (batch_id, provider, state, on_hold, error_code, jobs)
  SELECT batch_id, provider, state, on_hold, error_code, sum(jobs) FROM taken
  GROUP BY GROUPING SETS ((provider, state, on_hold, error_code), (batch_id, provider, state, on_hold, error_code))
  HAVING sum(jobs) <> 0
  ON CONFLICT ON CONSTRAINT job_count_of DO UPDATE SET jobs = kept.jobs + excluded.jobs
  RETURNING id, jobs
)
SELECT (SELECT count(*) FROM taken) AS deltas, array(SELECT id FROM folded WHERE jobs = 0) AS empty
""")
_EMPTY = text("DELETE FROM job_count WHERE id = ANY(:ids) AND jobs = 0")
_SPENDING = text(f"""
{_TAKE.format(table="spending_delta")}, folded AS (
  INSERT INTO spending AS kept (batch_id, day, account, unit, {", ".join(_ADDED)}, gave_back_at)
  SELECT batch_id, day, account, unit, {", ".join(f"sum({name})" for name in _ADDED)}, max(gave_back_at) FROM taken
  GROUP BY GROUPING SETS ((account, unit), (batch_id, account, unit), (day, account, unit))
  ON CONFLICT ON CONSTRAINT spending_of DO UPDATE SET
    {", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _ADDED)},
    gave_back_at = greatest(kept.gave_back_at, excluded.gave_back_at)
)
SELECT count(*) AS deltas FROM taken
""")
MOST: Final = 5000
"""Deltas of each kind in one transaction."""


def fold(connection: Connection) -> bool:
    """Add up to 5,000 deltas of each kind to the sums; True if there may be more."""
    if not connection.execute(_TURN).scalar_one():
        return False
    jobs = connection.execute(_JOBS, {"most": MOST}).one()
    if jobs.empty:
        connection.execute(_EMPTY, {"ids": jobs.empty})
    calls = connection.execute(_SPENDING, {"most": MOST}).one()
    return bool(MOST in (jobs.deltas, calls.deltas))
