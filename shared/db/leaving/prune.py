"""Deletes rows of jobs that ended long ago, a few hundred at a time. Their money stays, to the last digit.

Results in the bucket belong to the user; this never deletes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs import bulk
from shared.db.leaving import doomed
from shared.db.leaving.staying import CALLS, FLOORS, WHY
from shared.db.lost_calls import candidates
from shared.retention import Retention

CHUNK: Final = 300
"""Jobs in one transaction: their accounts buy nothing for part of a second."""
_BATCHES: Final = 100
# Never longer than a sender waits for its account's row.
_PATIENCE = text("SET LOCAL lock_timeout = '1s'")
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('retention ' || current_schema(), 0))")
_OLD = text("""
SELECT id, finished_at FROM job
WHERE state = :state AND finished_at < now() - CAST(:age AS interval)
  AND (finished_at, id) > (CAST(:at AS timestamptz), CAST(:id AS uuid))
ORDER BY finished_at, id LIMIT :limit
""")
# In this order, the lock order of payments.
_FREE = text(f"""
WITH {FLOORS}
SELECT job.id FROM job {CALLS}
WHERE job.id = ANY(CAST(:ids AS uuid[])) AND job.state = :state AND job.finished_at < now() - CAST(:age AS interval)
  AND {WHY} IS NULL
""")
# A line counts by kind and day. An attempt counts once, at its first line, so no two parts count it.
_ROLL_UP = text("""
INSERT INTO ledger_day AS kept (account, day, kind, unit, provider, batch_id, lines, reserved, settled, held, elsewhere,
  submissions, accepted, unpriced, first_opened_at)
SELECT l.account, CAST(l.at AT TIME ZONE 'UTC' AS date), l.kind, l.unit, job.provider, job.batch_id, count(*),
  sum(l.reserved), sum(l.settled), sum(l.held), sum(l.elsewhere), count(*) FILTER (WHERE l.first),
  count(*) FILTER (WHERE l.first AND s.outcome = 'accepted'),
  count(*) FILTER (WHERE l.first AND s.outcome = 'accepted' AND s.settled IS NULL), min(s.opened_at)
FROM (
  SELECT *, id = min(id) OVER (PARTITION BY submission_id) AS first
  FROM ledger WHERE job_id = ANY(CAST(:ids AS uuid[]))
) AS l JOIN job ON job.id = l.job_id JOIN submission s ON s.id = l.submission_id
GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (account, day, kind, unit, provider, batch_id) DO UPDATE SET lines = kept.lines + excluded.lines,
  reserved = kept.reserved + excluded.reserved, settled = kept.settled + excluded.settled,
  held = kept.held + excluded.held, elsewhere = kept.elsewhere + excluded.elsewhere,
  submissions = kept.submissions + excluded.submissions, accepted = kept.accepted + excluded.accepted,
  unpriced = kept.unpriced + excluded.unpriced, first_opened_at = least(kept.first_opened_at, excluded.first_opened_at)
""")
_COUNT = text("""
INSERT INTO past_batch AS kept (batch_id, name, created_at, succeeded, failed, cancelled)
SELECT batch.id, batch.name, batch.created_at, count(*) FILTER (WHERE job.state = 'succeeded'),
  count(*) FILTER (WHERE job.state = 'failed'), count(*) FILTER (WHERE job.state = 'cancelled')
FROM job JOIN batch ON batch.id = job.batch_id WHERE job.id = ANY(CAST(:ids AS uuid[])) GROUP BY batch.id
ON CONFLICT (batch_id) DO UPDATE SET succeeded = kept.succeeded + excluded.succeeded,
  failed = kept.failed + excluded.failed, cancelled = kept.cancelled + excluded.cancelled
""")
# An adopted image would seem unowned again after its row has left, although it was ours.
_REPORTED = text("""
DELETE FROM unowned_image u USING image i
WHERE i.job_id = ANY(CAST(:ids AS uuid[])) AND u.account = i.account AND u.upstream_id = i.upstream_id
""")
_DELETE = tuple(
    text(f"DELETE FROM {table} WHERE {column} = ANY(CAST(:ids AS uuid[]))")
    for table, column in (
        ("ledger", "job_id"),
        ("job_event", "job_id"),
        ("image", "job_id"),
        ("submission", "job_id"),
        ("job", "id"),
    )
)
# An enqueue into a batch of that name holds the same lock.
_EMPTY = text("""
SELECT id FROM batch
WHERE created_at < now() - CAST(:age AS interval) AND NOT EXISTS (SELECT 1 FROM job WHERE job.batch_id = batch.id)
  AND pg_try_advisory_xact_lock(hashtextextended('enqueue ' || name, 0))
ORDER BY created_at LIMIT :limit
""")
_PART = text("""
WITH gone AS (
  DELETE FROM batch
  WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (SELECT 1 FROM job WHERE job.batch_id = batch.id)
  RETURNING id, name, created_at
)
INSERT INTO past_batch (batch_id, name, created_at, left_at) SELECT id, name, created_at, now() FROM gone
ON CONFLICT (batch_id) DO UPDATE SET left_at = excluded.left_at
""")
_OUTLOOK = text(f"""
WITH {FLOORS}, old AS (
  SELECT job.id, job.state, job.finished_at, batch.name || '/' || job.custom_id AS name, {WHY} AS why
  FROM job JOIN batch ON batch.id = job.batch_id {CALLS}
  WHERE job.state = :state AND job.finished_at < now() - CAST(:age AS interval)
)
SELECT why, count(*) AS jobs, min(finished_at) AS oldest,
  (array_agg(name ORDER BY finished_at))[1] AS first, now() AS now FROM old GROUP BY why ORDER BY why NULLS FIRST
""")
_YOUNG = text("""
SELECT count(*) AS jobs, min(finished_at) AS oldest, now() AS now FROM job
WHERE state = :state AND (CAST(:age AS interval) IS NULL OR finished_at >= now() - CAST(:age AS interval))
""")
_LONG = text("SET LOCAL statement_timeout = '10min'")
_START: Final = ("-infinity", UUID(int=0))


@dataclass(slots=True)
class PruneCursor:
    """The position of one walk over the jobs of a state; jobs that stay are skipped."""

    state: str
    at: datetime | str = _START[0]
    id: UUID = _START[1]
    done: bool = False


class Staying(NamedTuple):
    """Jobs of one state that leave (`why` None), or that stay and why; `first` is the oldest one's BATCH/custom_id."""

    state: str
    why: str | None
    jobs: int
    oldest_days: float
    first: str


class Young(NamedTuple):
    """Jobs of one state that are not old enough, or that are kept forever."""

    state: str
    jobs: int
    oldest_days: float
    keep_days: int | None


@dataclass(slots=True)
class PruneOutlook:
    """What pruning would do now."""

    old: list[Staying] = field(default_factory=list)
    young: list[Young] = field(default_factory=list)


def take_turn(connection: Connection) -> bool:
    """Tell whether nobody else prunes. If so, nobody else can prune until this transaction ends."""
    connection.execute(_PATIENCE)
    return bool(connection.execute(_TURN).scalar_one())


def prune_jobs(connection: Connection, cursor: PruneCursor, retention: Retention, *, limit: int = CHUNK) -> int:
    """Delete the next jobs of a state that may leave, move the cursor, and return their number.

    The caller has taken the turn.
    """
    terms = {"state": cursor.state, "age": retention[cursor.state]}
    old = connection.execute(_OLD, {**terms, "at": cursor.at, "id": cursor.id, "limit": limit}).all()
    cursor.done = len(old) < limit
    if not old:
        return 0
    ids = [row.id for row in old]
    bulk.lock(connection, ids)
    free = connection.execute(_FREE, {**terms, "ids": ids}).scalars().all()
    _part(connection, free)
    cursor.at, cursor.id = old[-1].finished_at, old[-1].id
    return len(free)


def _part(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete jobs with all their rows, after their money is rolled up. Only previews leave the bucket with them."""
    doomed.doom(connection, candidates.leave(connection, ids))
    for statement in (_ROLL_UP, _COUNT, _REPORTED, *_DELETE):
        connection.execute(statement, {"ids": list(ids)})


def prune_batches(connection: Connection, retention: Retention) -> int:
    """Delete batches that have no job and are older than every set age; return their number."""
    oldest = {"age": max(retention.values()), "limit": _BATCHES}
    empty = connection.execute(_EMPTY, oldest).scalars().all()
    return connection.execute(_PART, {"ids": list(empty)}).rowcount


def outlook(connection: Connection, retention: Retention, states: Sequence[str]) -> PruneOutlook:
    """Return the jobs that would leave, the old jobs that stay, and the jobs that are too young; changes nothing."""
    found = PruneOutlook()
    connection.execute(_LONG)
    for state in states:
        age = retention.get(state)
        terms: Mapping[str, Any] = {"state": state, "age": age}
        for row in connection.execute(_OUTLOOK, terms) if age else ():
            found.old.append(Staying(state, row.why, row.jobs, _days(row), row.first))
        row = connection.execute(_YOUNG, terms).one()
        if row.jobs:
            found.young.append(Young(state, row.jobs, _days(row), age.days if age else None))
    return found


def _days(row: Any) -> float:
    return float((row.now - row.oldest).total_seconds()) / 86_400
