"""Counts of jobs by state, read from running counts, never by counting jobs.

Each query adds the counts and the remaining deltas in one statement, so it is exact.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, text

SHOWN: Final = """CASE WHEN state <> 'in_doubt' AND on_hold THEN 'on_hold'
  WHEN state = 'in_doubt' AND NOT on_hold THEN 'checking' ELSE state END"""
"""SQL: the state as it is shown. It distinguishes jobs that wait for a person from jobs that go on."""
UNDECIDED: Final = ("queued", "submitting", "pending", "processing", "transferring", "checking")
"""The shown states in which workers still act. A batch without such jobs is settled."""
OF_BATCH: Final = """
SELECT provider, state, on_hold, error_code, jobs FROM job_count WHERE batch_id = {batch}
UNION ALL SELECT provider, state, on_hold, error_code, jobs FROM job_count_delta WHERE batch_id = {batch}
"""
"""SQL: counts of one batch, to be added up; `batch` is an expression for its id."""
OF_ALL: Final = """
SELECT provider, state, on_hold, error_code, jobs FROM job_count WHERE batch_id IS NULL
UNION ALL SELECT provider, state, on_hold, error_code, jobs FROM job_count_delta
"""
"""SQL: counts of all jobs, to be added up."""
_BY_NAME: Final = OF_BATCH.format(batch="(SELECT id FROM batch WHERE name = :name)")
_STATES: Final = f"""
SELECT provider, {SHOWN} AS state, CAST(sum(jobs) AS bigint) AS jobs FROM ({{parts}}) AS part
GROUP BY 1, 2 HAVING sum(jobs) <> 0
"""
_ERRORS: Final = """
SELECT provider, error_code, CAST(sum(jobs) AS bigint) AS jobs FROM ({parts}) AS part WHERE error_code IS NOT NULL
GROUP BY 1, 2 HAVING sum(jobs) <> 0 ORDER BY 3 DESC, 2
"""
_STATES_OF_BATCH = text(_STATES.format(parts=_BY_NAME))
_STATES_OF_ALL = text(_STATES.format(parts=OF_ALL))
_ERRORS_OF_BATCH = text(_ERRORS.format(parts=_BY_NAME))
_ERRORS_OF_ALL = text(_ERRORS.format(parts=OF_ALL))

Counts = dict[str, dict[str, int]]
"""provider -> state or error code -> number of jobs"""


def by_state(connection: Connection, batch: str | None = None) -> Counts:
    """Return provider -> state -> number of jobs, of one batch or of all.

    Besides the states of the lifecycle there are two more. `on_hold`: queued or left over from a trial, and out of the
    line until a person acts. `checking`: in doubt, while a worker will still ask the provider.
    """
    if batch is None:
        return _nested(connection.execute(_STATES_OF_ALL))
    return _nested(connection.execute(_STATES_OF_BATCH, {"name": batch}))


def by_error(connection: Connection, batch: str | None = None) -> Counts:
    """Return provider -> error code -> number of jobs with that code, of one batch or of all."""
    if batch is None:
        return _nested(connection.execute(_ERRORS_OF_ALL))
    return _nested(connection.execute(_ERRORS_OF_BATCH, {"name": batch}))


def _nested(rows: Iterable[Any]) -> Counts:
    found: Counts = {}
    for provider, key, jobs in rows:
        found.setdefault(provider, {})[key] = jobs
    return found
