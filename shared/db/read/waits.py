"""Why jobs wait: the facts of `shared.waiting`, read in a few short statements."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared import catalog
from shared.db import rate_windows, troubles
from shared.db.payments.spending import TODAY_BY_ACCOUNT
from shared.db.workers import ALIVE_SECONDS
from shared.lifecycle import FINAL, JobState
from shared.wait_facts import AccountState, Around, Wait, WaitingJob, WaitReason
from shared.waiting import why

LOOKED_AT: Final = 20
"""Jobs of a batch that are looked at for each of its states: the oldest ones."""
_ACCOUNTS = text(f"""
SELECT name, provider, unit, coalesce(slow_start_limit, concurrency) AS concurrency,
  slow_start_limit IS NOT NULL AS slow_start, seen_at,
  coalesce(seen_at > now() - interval '10 minutes', false) AS served, paused_at, paused_code, paused_reason,
  action_url, probe_at, not_before, balance, daily_cap, coalesce(today.spent, 0) AS spent_today,
  coalesce(today.unpriced, 0) AS unpriced_today,
  (SELECT count(*) FROM job WHERE account = name AND claimed_by IS NOT NULL AND state IN ('queued', 'submitting')
    AND due_at > now()) AS paying
FROM account LEFT JOIN ({TODAY_BY_ACCOUNT}) AS today ON today.account = name ORDER BY name
""")
_TICKS = text("SELECT name, extract(epoch FROM now() - last_tick_at) AS age FROM worker")
_NOW = text("SELECT now()")
ROW: Final = """job.id, batch.name AS batch, job.custom_id, job.account, job.provider, job.state, job.on_hold,
  job.due_at, job.claimed_by, job.begun_together IS NOT NULL AS begun, job.error_code, job.error, job.created_at"""
"""SQL: the columns of a `WaitingJob`, of `job` joined with its `batch`."""
_JOB = text(f"SELECT {ROW} FROM job JOIN batch ON batch.id = job.batch_id WHERE job.id = :id")
_JOBS = text(f"""
SELECT {ROW} FROM job JOIN batch ON batch.id = job.batch_id WHERE job.id = ANY(CAST(:ids AS uuid[]))
""")
_OF_BATCH = text(f"""
SELECT {ROW} FROM batch CROSS JOIN unnest(CAST(:states AS text[]), CAST(:holds AS boolean[])) AS a (state, on_hold)
CROSS JOIN LATERAL (
  SELECT * FROM job WHERE batch_id = batch.id AND state = a.state AND on_hold = a.on_hold ORDER BY id LIMIT :limit
) AS job WHERE batch.name = :name
""")
_POLLED: Final = [name for name in catalog.names() if catalog.get(name).is_polled]
_WAITING: Final = [(state, held) for state in JobState if state not in FINAL for held in (False, True)]


@dataclass(frozen=True, slots=True)
class BatchWait:
    """Why some jobs of a batch wait: their shown state, the reason, how many of those looked at, and one of them."""

    state: str
    wait: Wait
    jobs: int
    example: WaitingJob


def around(connection: Connection) -> Around:
    """Return what surrounds all jobs now: accounts with their windows and calls in hand, and workers."""
    windows = rate_windows.usage(connection, polled=_POLLED)
    found = {
        row["name"]: AccountState(**row, windows=windows.get(row["name"], ()))
        for row in connection.execute(_ACCOUNTS).mappings()
    }
    ticks = {row.name: float(row.age) for row in connection.execute(_TICKS)}
    return Around(connection.execute(_NOW).scalar_one(), found, ticks, ALIVE_SECONDS, troubles.listing(connection))


def of_job(connection: Connection, job_id: UUID) -> Wait | None:
    """Return why a job waits; None if it has ended or does not exist."""
    row = connection.execute(_JOB, {"id": job_id}).one_or_none()
    return why(as_waiting(row), around(connection)) if row else None


def of_jobs(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Wait]:
    """Return why each of some jobs waits; those that have ended are left out."""
    rows = connection.execute(_JOBS, {"ids": list(ids)}).all() if ids else []
    surroundings = around(connection) if rows else None
    found = {row.id: why(as_waiting(row), surroundings) for row in rows} if surroundings else {}
    return {job: wait for job, wait in found.items() if wait}


def of_batch(connection: Connection, name: str) -> list[BatchWait]:
    """Return why the jobs of a batch wait, judged by the oldest of each state; in the order of the road."""
    parameters = {
        "name": name,
        "limit": LOOKED_AT,
        "states": [state.value for state, _ in _WAITING],
        "holds": [held for _, held in _WAITING],
    }
    rows = connection.execute(_OF_BATCH, parameters).all()
    surroundings = around(connection) if rows else None
    found: dict[tuple[str, WaitReason, str], BatchWait] = {}
    for job in map(as_waiting, rows):
        wait = why(job, surroundings) if surroundings else None
        if wait is not None:
            key = (job.shown, wait.reason, wait.words)
            before = found.get(key)
            found[key] = BatchWait(job.shown, before.wait if before else wait, 1 + (before.jobs if before else 0), job)
    return list(found.values())


def as_waiting(row: Any) -> WaitingJob:
    """Return a row that begins with `ROW` as its type."""
    values = {**row._asdict(), "state": JobState(row.state)}
    return WaitingJob(**{field.name: values[field.name] for field in fields(WaitingJob)})
