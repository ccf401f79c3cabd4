"""Batches, jobs and results a page at a time. Each page is read by index from the end of the previous one.

A page is one statement in one short transaction: nothing stays open while the reader handles the page.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.counts import OF_BATCH
from shared.lifecycle import JobState

Row = dict[str, Any]
OLD_WORDS: Final = {"parked": "on_hold", "looking_up": "checking"}
"""The names of two shown states before version 0.2; a query may still use them."""
SIZE: Final = 1000
"""Rows of a page, unless told otherwise; jobs of a page of results are fewer."""
RESULT_JOBS: Final = 250
_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)
_RUNNING: Final = "('submitting', 'pending', 'processing', 'transferring', 'in_doubt')"


def _count(which: str, name: str) -> str:
    return f"CAST(coalesce(sum(jobs) FILTER (WHERE {which}), 0) AS bigint) AS {name}"


_BATCHES_PAGE: Final = f"""
SELECT batch.id, batch.name, batch.created_at, batch.on_unknown, counted.* FROM (
  SELECT * FROM batch WHERE ({{which}}) AND {{cursor}} ORDER BY {{order}} LIMIT :limit
) AS batch CROSS JOIN LATERAL (
  SELECT {_count("true", "jobs")}, {_count("state = 'queued' AND NOT on_hold", "queued")},
    {_count("state <> 'in_doubt' AND on_hold", "on_hold")},
    {_count(f"state IN {_RUNNING} AND NOT on_hold", "running")},
    {_count("state = 'in_doubt' AND on_hold", "in_doubt")}, {_count("state = 'succeeded'", "succeeded")},
    {_count("state = 'failed'", "failed")}, {_count("state = 'cancelled'", "cancelled")}
  FROM ({OF_BATCH.format(batch="batch.id")}) AS part
) AS counted ORDER BY {{order}}
"""
_BATCHES = text(
    _BATCHES_PAGE.format(
        which="(CAST(:name AS text) IS NULL OR name = :name) AND starts_with(name, :prefix)",
        cursor="(created_at, id) > (coalesce(:at, CAST('-infinity' AS timestamptz)), CAST(:after AS uuid))",
        order="created_at, id",
    )
)
_NEWEST_BATCHES = text(
    _BATCHES_PAGE.format(
        which="CAST(:part AS text) IS NULL OR strpos(lower(name), lower(:part)) > 0",
        cursor="(created_at, id) < (coalesce(:at, CAST('infinity' AS timestamptz)), CAST(:after AS uuid))",
        order="created_at DESC, id DESC",
    )
)
# The index holds each part of a batch in the order of ids; the parts are merged.
_IDS: Final = """
SELECT part.id FROM unnest(CAST(:states AS text[]), CAST(:holds AS boolean[])) AS a (state, on_hold)
CROSS JOIN LATERAL (
  SELECT id FROM job WHERE batch_id = (SELECT id FROM batch WHERE name = :name) AND state = a.state
    AND on_hold = a.on_hold AND id > :after ORDER BY id LIMIT :limit
) AS part ORDER BY part.id LIMIT :limit
"""
_JOBS = text(f"""
WITH page AS MATERIALIZED ({_IDS})
SELECT job.id, job.custom_id, job.provider, job.state, job.error_code, job.error, job.due_at, job.created_at,
  job.finished_at
FROM page JOIN job ON job.id = page.id ORDER BY job.id
""")
_KEYS = text(f"""
WITH page AS MATERIALIZED ({_IDS})
SELECT (SELECT max(CAST(id AS text)) FROM page) AS last, (SELECT count(*) FROM page) AS jobs,
  ARRAY(SELECT DISTINCT jsonb_object_keys(kept.metadata) FROM page JOIN job_metadata kept ON kept.job_id = page.id)
    AS keys
""")
_FINISHED = text("""
SELECT job.id, batch.name AS batch, job.custom_id, job.provider, job.state, job.error_code, job.error, job.created_at,
  job.finished_at
FROM job JOIN batch ON batch.id = job.batch_id
WHERE job.finished_at IS NOT NULL AND (job.finished_at, job.id) > (:at, CAST(:after AS uuid))
ORDER BY job.finished_at, job.id LIMIT :limit
""")
_NEWEST_FAILURES = text("""
SELECT job.id, batch.name AS batch, job.custom_id, job.account, job.provider, job.error_code, job.error,
  job.finished_at, date_trunc('hour', job.finished_at, 'UTC') AS hour, now() AS now
FROM (
  SELECT * FROM job WHERE finished_at IS NOT NULL AND state = 'failed' ORDER BY finished_at DESC LIMIT :limit
) AS job JOIN batch ON batch.id = job.batch_id ORDER BY job.finished_at DESC, job.id DESC
""")
_RESULTS = text(f"""
WITH page AS MATERIALIZED ({_IDS})
SELECT job.custom_id, job.id AS job_id, i.index, coalesce(image.state, job.state) AS state, job.state AS job_state,
  job.provider, job.request ->> 'model' AS model,
  's3://' || stored.bucket || '/' || stored.key AS s3_uri,
  encode(stored.sha256, 'hex') AS sha256, stored.bytes, stored.content_type, stored.width, stored.height,
  s.settled / greatest(count(image.index) OVER (PARTITION BY image.submission_id), 1) AS cost, s.unit AS currency,
  s.elsewhere / greatest(count(image.index) OVER (PARTITION BY image.submission_id), 1) AS cost_elsewhere,
  coalesce(image.error_code, job.error_code) AS error_code, coalesce(image.error, job.error) AS error,
  stored.bucket, stored.key, coalesce(kept.metadata, '{{}}') AS metadata
FROM page JOIN job ON job.id = page.id
CROSS JOIN LATERAL generate_series(0, greatest(job.images,
  (SELECT max(image.index) + 1 FROM image WHERE image.job_id = job.id)) - 1) AS i (index)
LEFT JOIN image ON image.job_id = job.id AND image.index = i.index
LEFT JOIN image stored ON stored.job_id = image.job_id AND stored.index = image.index AND stored.state = 'stored'
  AND stored.bucket IS NOT NULL
LEFT JOIN submission s ON s.id = image.submission_id
LEFT JOIN job_metadata kept ON kept.job_id = job.id
ORDER BY job.id, i.index
""")
# A page is a few hundred rows of tables of any size, so each row must be looked up by its key, whatever the plan.
_BY_KEY = text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
_FIND = text("""
(SELECT id FROM job WHERE id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid) ORDER BY id LIMIT 20)
UNION (SELECT id FROM job WHERE custom_id = :name LIMIT 20)
UNION (
  SELECT job.id FROM unnest(CAST(:batches AS text[]), CAST(:custom_ids AS text[])) AS a (batch, custom_id)
  JOIN batch ON batch.name = a.batch JOIN job ON job.batch_id = batch.id AND job.custom_id = a.custom_id LIMIT 20
) LIMIT 20
""")
# While a large file makes a batch, the batch is there for other doors, and is nothing to look at before it has a job.
_EXISTS = text("""
SELECT 1 FROM batch WHERE name = :name AND CASE WHEN EXISTS (SELECT FROM job WHERE job.batch_id = batch.id) THEN true
  ELSE pg_try_advisory_xact_lock_shared(hashtextextended('enqueue ' || name, 0)) END
""")
_ID_CHARS: Final = 4
_ZEROS: Final = "00000000-0000-0000-0000-000000000000"


class BatchCursor(NamedTuple):
    """Where a page of batches ended."""

    created_at: datetime
    batch_id: UUID


class FinishedCursor(NamedTuple):
    """Where a page of finished jobs ended; any moment with a nil id begins there."""

    finished_at: datetime
    job_id: UUID


class ResultPage(NamedTuple):
    """Rows of some jobs, whole jobs only, and the job after which the next page begins; None on the last page."""

    rows: list[Row]
    after: UUID | None


class KeyPage(NamedTuple):
    """Keys of metadata, and the job after which the next page begins; None on the last page."""

    keys: list[str]
    after: UUID | None


def batch_exists(connection: Connection, name: str) -> bool:
    """Tell whether there is a batch of that name; not one whose first rows are on their way into it."""
    return connection.execute(_EXISTS, {"name": name}).one_or_none() is not None


def batches(
    connection: Connection,
    *,
    name: str | None = None,
    prefix: str = "",
    after: BatchCursor | None = None,
    limit: int = SIZE,
) -> list[Row]:
    """Return up to `limit` batches, oldest first, each with its jobs counted by state.

    `prefix` begins their names. The rows' `created_at` and `id` are the cursor of the next page.
    """
    at, behind = after or (None, _FIRST)
    parameters = {"name": name, "prefix": prefix, "at": at, "after": behind, "limit": limit}
    return [row._asdict() for row in connection.execute(_BATCHES, parameters)]


def newest_batches(
    connection: Connection, *, part: str | None = None, after: BatchCursor | None = None, limit: int = SIZE
) -> list[Row]:
    """Return up to `limit` batches, newest first, each with its jobs counted by state.

    `part` is a part of their names, in any case. The rows' `created_at` and `id` are the cursor of the next page.
    """
    at, behind = after or (None, _LAST)
    parameters = {"part": part, "at": at, "after": behind, "limit": limit}
    return [row._asdict() for row in connection.execute(_NEWEST_BATCHES, parameters)]


def jobs(
    connection: Connection,
    name: str,
    *,
    state: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Row]:
    """Return up to `limit` jobs of a batch in the order they were enqueued, beginning after `after`."""
    return [row._asdict() for row in connection.execute(_JOBS, _of_batch(name, state, after, limit))]


def metadata_keys(connection: Connection, name: str, *, after: UUID | None = None, limit: int = SIZE) -> KeyPage:
    """Return the keys of the metadata of up to `limit` jobs of a batch, in no order."""
    row = connection.execute(_KEYS, _of_batch(name, None, after, limit)).one()
    return KeyPage(row.keys, UUID(row.last) if row.jobs == limit else None)


def finished(connection: Connection, after: FinishedCursor, *, limit: int = SIZE) -> list[Row]:
    """Return up to `limit` jobs of all batches that ended after `after`, in the order they ended."""
    parameters = {"at": after.finished_at, "after": after.job_id, "limit": limit}
    return [row._asdict() for row in connection.execute(_FINISHED, parameters)]


def newest_failures(connection: Connection, *, limit: int) -> list[Row]:
    """Return up to `limit` jobs that failed, newest first; `hour` is the UTC hour in which a job ended."""
    return [row._asdict() for row in connection.execute(_NEWEST_FAILURES, {"limit": limit})]


def results(connection: Connection, name: str, *, after: UUID | None = None, limit: int = RESULT_JOBS) -> ResultPage:
    """Return one row for each image asked for, stored or not, of up to `limit` jobs in the order they were enqueued."""
    connection.execute(_BY_KEY)
    rows = [row._asdict() for row in connection.execute(_RESULTS, _of_batch(name, None, after, limit))]
    more = len({row["job_id"] for row in rows}) == limit
    return ResultPage(rows, rows[-1]["job_id"] if more else None)


def find_jobs(connection: Connection, name: str) -> list[UUID]:
    """Return the jobs that `name` may mean: an id or its beginning, a custom_id, or BATCH/custom_id; at most 20."""
    low, high = id_range(name) or (None, None)
    slashes = [at for at, char in enumerate(name) if char == "/"]
    parameters = {
        "low": low,
        "high": high,
        "name": name,
        "batches": [name[:at] for at in slashes],
        "custom_ids": [name[at + 1 :] for at in slashes],
    }
    return list(connection.execute(_FIND, parameters).scalars())


def id_range(beginning: str) -> tuple[UUID, UUID] | None:
    """Return the first and last id with this beginning; None if it begins no id or has less than four characters."""
    if not _ID_CHARS <= len(beginning) <= len(_ZEROS):
        return None
    rest = _ZEROS[len(beginning) :]
    if any((char == "-") != (zero == "-") for char, zero in zip(beginning, _ZEROS, strict=False)):
        return None
    try:
        return UUID(beginning + rest), UUID(beginning + rest.replace("0", "f"))
    except ValueError:
        return None


def parts(state: str | None) -> Sequence[tuple[str, bool]]:
    """Return the parts of a batch, by state and whether on hold, for a shown state; for None, all parts.

    A state of the lifecycle means all its jobs, including those on hold.
    """
    every = [(each.value, held) for each in JobState for held in (False, True)]
    wanted = OLD_WORDS.get(state, state) if state else None
    if wanted == "on_hold":
        return [(each, held) for each, held in every if held and each != JobState.IN_DOUBT]
    if wanted == "checking":
        return [(JobState.IN_DOUBT.value, False)]
    return [(each, held) for each, held in every if wanted in {None, each}]


def _of_batch(name: str, state: str | None, after: UUID | None, limit: int) -> Row:
    wanted = parts(state)
    return {
        "name": name,
        "states": [each for each, _ in wanted],
        "holds": [held for _, held in wanted],
        "after": after or _FIRST,
        "limit": limit,
    }
