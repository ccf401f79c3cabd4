"""What people ask: batches, jobs, one job's story, results, and the bill."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

Row = dict[str, Any]

_BATCHES = text("""
SELECT batch.name, batch.created_at, count(job.id) AS jobs,
  count(*) FILTER (WHERE job.state = 'queued' AND NOT job.parked) AS queued,
  count(*) FILTER (WHERE job.state = 'queued' AND job.parked) AS parked,
  count(*) FILTER (WHERE job.state IN ('submitting', 'pending', 'processing', 'transferring')
    OR (job.state = 'in_doubt' AND NOT job.parked)) AS running,
  count(*) FILTER (WHERE job.state = 'in_doubt' AND job.parked) AS in_doubt,
  count(*) FILTER (WHERE job.state = 'succeeded') AS succeeded,
  count(*) FILTER (WHERE job.state = 'failed') AS failed,
  count(*) FILTER (WHERE job.state = 'cancelled') AS cancelled
FROM batch LEFT JOIN job ON job.batch_id = batch.id
WHERE CAST(:name AS text) IS NULL OR batch.name = :name
GROUP BY batch.id ORDER BY batch.created_at
""")
# What waits for a person is told from what goes on by itself.
_SHOWN = """CASE WHEN job.state = 'queued' AND job.parked THEN 'parked'
  WHEN job.state = 'in_doubt' AND NOT job.parked THEN 'looking_up' ELSE job.state END"""
_COUNTS = text(f"""
SELECT job.provider, {_SHOWN} AS state, count(*) AS jobs FROM job JOIN batch ON batch.id = job.batch_id
WHERE batch.name = :name GROUP BY 1, 2
""")
_JOBS = text(f"""
SELECT job.id, job.custom_id, job.provider, job.state, job.error_code, job.error, job.due_at, job.created_at,
  job.finished_at
FROM job JOIN batch ON batch.id = job.batch_id
WHERE batch.name = :name AND (CAST(:state AS text) IS NULL OR job.state = :state OR {_SHOWN} = :state)
  AND (CAST(:after AS uuid) IS NULL OR job.id > :after)
ORDER BY job.id LIMIT :limit
""")
_FIND = text("""
SELECT job.id FROM job JOIN batch ON batch.id = job.batch_id
WHERE CAST(job.id AS text) LIKE :prefix OR job.custom_id = :name OR batch.name || '/' || job.custom_id = :name
LIMIT 20
""")
_JOB = text("""
SELECT job.*, batch.name AS batch, batch.on_unknown, batch.caps, now() AS now, account.paused_code,
  account.paused_reason, account.action_url, account.probe_at, account.not_before, account.unit, account.daily_cap,
  (SELECT sum(coalesce(s.settled, s.reserved)) FROM submission s WHERE account.daily_cap IS NOT NULL
    AND s.account = account.name AND s.opened_at >= date_trunc('day', now())
    AND coalesce(s.outcome, 'unknown') IN ('accepted', 'unknown')) AS spent_today
FROM job JOIN batch ON batch.id = job.batch_id JOIN account ON account.name = job.account WHERE job.id = :id
""")
_SUBMISSIONS = text("SELECT * FROM submission WHERE job_id = :id ORDER BY opened_at")
_IMAGES = text("SELECT * FROM image WHERE job_id = :id ORDER BY index")
_EVENTS = text("SELECT * FROM job_event WHERE job_id = :id ORDER BY id")
_LEDGER = text("SELECT * FROM ledger WHERE job_id = :id ORDER BY id")
_RESULTS = text("""
SELECT job.custom_id, job.id AS job_id, i.index, coalesce(image.state, job.state) AS state, job.state AS job_state,
  job.provider, job.request ->> 'model' AS model,
  CASE WHEN image.state = 'stored' THEN 's3://' || image.bucket || '/' || image.key END AS s3_uri,
  encode(image.sha256, 'hex') AS sha256, image.bytes, image.content_type, image.width, image.height,
  s.settled / greatest(count(image.index) OVER (PARTITION BY image.submission_id), 1) AS cost, s.unit AS currency,
  coalesce(image.error_code, job.error_code) AS error_code, coalesce(image.error, job.error) AS error,
  image.bucket, image.key
FROM job JOIN batch ON batch.id = job.batch_id
CROSS JOIN LATERAL generate_series(0, greatest(job.images,
  (SELECT max(image.index) + 1 FROM image WHERE image.job_id = job.id)) - 1) AS i (index)
LEFT JOIN image ON image.job_id = job.id AND image.index = i.index
LEFT JOIN submission s ON s.id = image.submission_id
WHERE batch.name = :name ORDER BY job.id, i.index
""")
_BILL = text("""
SELECT job.provider, ledger.account, ledger.unit, count(DISTINCT ledger.submission_id) AS submissions,
  sum(ledger.settled) AS settled, sum(ledger.reserved) AS reserved, sum(ledger.held) AS held,
  count(DISTINCT s.id) FILTER (WHERE s.outcome = 'accepted') AS accepted,
  count(DISTINCT s.id) FILTER (WHERE s.outcome = 'unknown' AND s.reserved IS NULL) AS held_unpriced
FROM ledger JOIN job ON job.id = ledger.job_id JOIN batch ON batch.id = job.batch_id
JOIN submission s ON s.id = ledger.submission_id
WHERE CAST(:name AS text) IS NULL OR batch.name = :name
GROUP BY job.provider, ledger.account, ledger.unit ORDER BY ledger.account
""")
_ID_CHARS = 4
_EXISTS = text("SELECT 1 FROM batch WHERE name = :name")


def batches(connection: Connection, name: str | None = None) -> list[Row]:
    """Return each batch with its jobs counted by what they are doing."""
    return [row._asdict() for row in connection.execute(_BATCHES, {"name": name})]


def batch_exists(connection: Connection, name: str) -> bool:
    """Tell whether there is a batch of that name."""
    return connection.execute(_EXISTS, {"name": name}).one_or_none() is not None


def counts(connection: Connection, name: str) -> dict[str, dict[str, int]]:
    """Return provider -> state -> number of jobs of one batch.

    Besides the states of the lifecycle: `parked` is queued, but out of the line until a person acts; `looking_up` is in
    doubt, while the provider will still be asked.
    """
    found: dict[str, dict[str, int]] = {}
    for provider, state, jobs in connection.execute(_COUNTS, {"name": name}):
        found.setdefault(provider, {})[state] = jobs
    return found


def jobs(
    connection: Connection,
    name: str,
    *,
    state: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Row]:
    """Return up to `limit` jobs of a batch in the order they were enqueued, beginning behind `after`."""
    parameters = {"name": name, "state": state, "after": after, "limit": limit}
    return [row._asdict() for row in connection.execute(_JOBS, parameters)]


def find_jobs(connection: Connection, name: str) -> list[UUID]:
    """Return the jobs that `name` may mean: an id or its beginning, a custom_id, or BATCH/custom_id; at most 20."""
    prefix = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return list(connection.execute(_FIND, {"prefix": prefix if len(name) >= _ID_CHARS else "", "name": name}).scalars())


def story(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Return everything known of one job: its row, attempts to pay, images, ledger lines and events, in order."""
    by_id = {"id": job_id}
    return {
        "job": connection.execute(_JOB, by_id).mappings().one(),
        "submissions": connection.execute(_SUBMISSIONS, by_id).mappings().all(),
        "images": connection.execute(_IMAGES, by_id).mappings().all(),
        "ledger": connection.execute(_LEDGER, by_id).mappings().all(),
        "events": connection.execute(_EVENTS, by_id).mappings().all(),
    }


def results(connection: Connection, name: str) -> Iterator[Row]:
    """Yield one row for each image asked for, stored or not, in the order the jobs were enqueued; streamed."""
    streaming = connection.execution_options(yield_per=1000)
    for row in streaming.execute(_RESULTS, {"name": name}):
        yield row._asdict()


def bill(connection: Connection, name: str | None = None) -> list[Row]:
    """Return settled, reserved and held money by account: of one batch, or of everything."""
    return [row._asdict() for row in connection.execute(_BILL, {"name": name})]
