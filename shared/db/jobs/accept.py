"""Accepts unverified images when a person asks: they then count as stored, under their present key."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments.placing import LEFT_OF_LINK
from shared.db.payments.submissions import MISSING
from shared.lifecycle import JobState
from shared.notes import NOTE_CHARS

_KEPT = text("""
SELECT job.id, batch.name AS batch, job.custom_id, image.index, image.bucket, image.key, image.bytes, image.error
FROM job JOIN batch ON batch.id = job.batch_id JOIN image ON image.job_id = job.id
WHERE job.state IN ('failed', 'cancelled') AND image.state = 'failed' AND image.key IS NOT NULL
  AND (CAST(:job AS uuid) IS NULL OR job.id = :job) AND (CAST(:batch AS text) IS NULL OR batch.name = :batch)
ORDER BY job.id, image.index
""")
_LOCK = text("""
SELECT id FROM job WHERE id = ANY(CAST(:jobs AS uuid[])) AND state IN ('failed', 'cancelled') ORDER BY id FOR UPDATE
""")
# Only the object that the person saw: a retry may have brought other bytes meanwhile.
_STORE = text(f"""
UPDATE image SET state = 'stored', link = {LEFT_OF_LINK}, error_code = NULL, error = NULL, stored_at = clock_timestamp()
FROM unnest(CAST(:jobs AS uuid[]), CAST(:indexes AS integer[]), CAST(:keys AS text[])) AS a (job_id, index, key)
WHERE image.job_id = a.job_id AND image.index = a.index AND image.key = a.key AND image.state = 'failed'
  AND image.job_id = ANY(CAST(:locked AS uuid[]))
RETURNING image.job_id, image.key
""")
_TOLD = text("""
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT job.id, job.epoch, job.state, job.state, :actor, 'result_accepted', a.key
FROM unnest(CAST(:jobs AS uuid[]), CAST(:keys AS text[])) AS a (job_id, key) JOIN job ON job.id = a.job_id
ORDER BY job.id, a.key
""")
_WHOLE = text(f"""
SELECT id, epoch FROM job WHERE id = ANY(CAST(:jobs AS uuid[])) AND state = 'failed' AND {MISSING} = '{{}}'
  AND NOT EXISTS (SELECT 1 FROM image
    WHERE image.job_id = job.id AND image.state NOT IN ('stored', 'upstream_only'))
""")
# The remaining reason of a job that still lacks other images.
_PARTIAL = text(f"""
UPDATE job SET error_code = 'partial_result', error = (
  SELECT left(count(*) FILTER (WHERE image.state IN ('stored', 'upstream_only')) || ' of ' || count(*)
    || ' images stored; '
    || min(concat_ws(': ', image.error_code, image.error)) FILTER (WHERE image.state = 'failed'), {NOTE_CHARS})
  FROM image WHERE image.job_id = job.id)
WHERE id = ANY(CAST(:jobs AS uuid[])) AND state = 'failed'
  AND EXISTS (SELECT 1 FROM image WHERE image.job_id = job.id AND image.state = 'failed')
""")


@dataclass(frozen=True, slots=True)
class UnverifiedImage:
    """One unverified image: its job, its place, its size in bytes, and why it was refused."""

    job_id: UUID
    batch: str
    custom_id: str
    index: int
    bucket: str
    key: str
    bytes: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """How many images were accepted, how many jobs thereby succeeded, and how many lack others or were cancelled."""

    images: int
    succeeded: int
    others: int


def kept(connection: Connection, *, job: UUID | None = None, batch: str | None = None) -> list[UnverifiedImage]:
    """Return the unverified images of the failed or cancelled jobs that match."""
    return [UnverifiedImage(*row) for row in connection.execute(_KEPT, {"job": job, "batch": batch})]


def accept(connection: Connection, wanted: Sequence[UnverifiedImage], *, actor: str) -> Taken:
    """Count these images as stored, and each job that then has all its images as succeeded.

    Images that have changed since the listing are left alone. A cancelled job keeps its state.
    """
    locked = list(connection.execute(_LOCK, {"jobs": sorted({picture.job_id for picture in wanted})}).scalars())
    taken = connection.execute(
        _STORE,
        {
            "jobs": [picture.job_id for picture in wanted],
            "indexes": [picture.index for picture in wanted],
            "keys": [picture.key for picture in wanted],
            "locked": locked,
        },
    ).all()
    jobs = {row.job_id for row in taken}
    told = {"jobs": [row.job_id for row in taken], "keys": [row.key for row in taken], "actor": actor}
    connection.execute(_TOLD, told)
    whole = connection.execute(_WHOLE, {"jobs": list(jobs)}).all()
    steps = [Move(Claim(row.id, row.epoch), JobState.FAILED, JobState.SUCCEEDED) for row in whole]
    succeeded = move(connection, steps, actor=actor)
    connection.execute(_PARTIAL, {"jobs": list(jobs - succeeded)})
    return Taken(len(taken), len(succeeded), len(jobs - succeeded))
