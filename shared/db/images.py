"""The pictures of a job: what is polled, what is to be fetched, and what became of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from shared.db.transitions import Claim
from shared.lifecycle import ImageState

_OF = text("""
SELECT job.id AS job_id, job.epoch, job.state AS job_state, job.tries AS job_tries, job.batch_id, job.custom_id,
  job.provider, job.created_at, extract(epoch FROM now() - job.created_at) AS age_seconds,
  job.collect_until <= now() AS given_up,
  image.index, image.upstream_id, image.state, image.link, image.link_expires_at, image.tries,
  image.link_expires_at <= now() AS link_expired, image.error_code, image.error
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
JOIN image ON image.job_id = job.id
WHERE job.claimed_by IS NOT NULL AND job.state = ANY(CAST(:states AS text[]))
ORDER BY image.link_expires_at, job.id, image.index
""")
_CHANGE = text("""
UPDATE image SET state = a.state, link = coalesce(a.link, image.link), tries = a.tries,
  link_expires_at = CASE WHEN a.link IS NULL THEN image.link_expires_at ELSE a.expires END,
  error_code = a.code, error = a.note
FROM unnest(
  CAST(:jobs AS uuid[]), CAST(:epochs AS integer[]), CAST(:indexes AS integer[]), CAST(:states AS text[]),
  CAST(:links AS text[]), CAST(:expires AS timestamptz[]), CAST(:tries AS integer[]), CAST(:codes AS text[]),
  CAST(:notes AS text[])
) AS a (job_id, epoch, index, state, link, expires, tries, code, note), job
WHERE image.job_id = a.job_id AND image.index = a.index AND image.state NOT IN ('stored', 'upstream_only', 'failed')
  AND job.id = a.job_id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL
""")
_STORE = text("""
UPDATE image SET state = 'stored', link = NULL, error_code = NULL, error = NULL, bucket = :bucket, key = :key,
  sha256 = :sha256, bytes = :bytes, content_type = :content_type, width = :width, height = :height,
  stored_at = clock_timestamp()
WHERE job_id = :job_id AND index = :index AND state <> 'stored'
""")
_GIVE_UP = text("""
UPDATE image SET state = 'failed', error_code = 'never_finished', error = :note
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND state NOT IN ('stored', 'upstream_only', 'failed')
""")
_BOUND = text("SELECT collect_until <= now() FROM job WHERE id = :job")
_STATES = text("SELECT index, state, error_code, error FROM image WHERE job_id = :job ORDER BY index")


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What a poll or a failed fetch learned of one picture; `stored` has its own function.

    It says that a picture will not come, or where to look for it: only the job's claimant may. Without a new `link`
    the known one stays.
    """

    claim: Claim
    index: int
    state: ImageState
    link: str | None = None
    link_expires_at: datetime | None = None
    tries: int = 0
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where a verified picture lies and what it is; sizes in bytes and pixels."""

    bucket: str
    key: str
    sha256: bytes
    bytes: int
    content_type: str
    width: int
    height: int


def of_claims(connection: Connection, claims: Sequence[Claim], states: Iterable[str]) -> Sequence[RowMapping]:
    """Return the pictures of the claimed jobs that still stand in `states`, earliest link expiry first."""
    parameters = {
        "ids": [c.job_id for c in claims],
        "epochs": [c.epoch for c in claims],
        "states": list(states),
    }
    return connection.execute(_OF, parameters).mappings().all()


def change(connection: Connection, changes: Sequence[ImageChange]) -> None:
    """Write what was learned of pictures that are not final yet, as far as their claims still hold."""
    if not changes:
        return
    connection.execute(
        _CHANGE,
        {
            "jobs": [c.claim.job_id for c in changes],
            "epochs": [c.claim.epoch for c in changes],
            "indexes": [c.index for c in changes],
            "states": [c.state.value for c in changes],
            "links": [c.link for c in changes],
            "expires": [c.link_expires_at for c in changes],
            "tries": [c.tries for c in changes],
            "codes": [c.error_code for c in changes],
            "notes": [c.error for c in changes],
        },
    )


def store(connection: Connection, job_id: UUID, index: int, found: StoredObject) -> None:
    """Record that a picture is verified in the bucket; evidence, so no epoch guards it."""
    connection.execute(
        _STORE,
        {
            "job_id": job_id,
            "index": index,
            "bucket": found.bucket,
            "key": found.key,
            "sha256": found.sha256,
            "bytes": found.bytes,
            "content_type": found.content_type,
            "width": found.width,
            "height": found.height,
        },
    )


def give_up(connection: Connection, jobs: Iterable[UUID], note: str) -> None:
    """End the pictures that never came, of jobs that this transaction has just ended; their links stay known."""
    connection.execute(_GIVE_UP, {"jobs": list(jobs), "note": note})


def past_bound(connection: Connection, job_id: UUID) -> bool:
    """Tell whether the last bound for collecting a job's pictures has passed."""
    return bool(connection.execute(_BOUND, {"job": job_id}).scalar_one())


def states(connection: Connection, job_id: UUID) -> Sequence[Any]:
    """Return (index, state, error_code, error) of each picture of a job."""
    return connection.execute(_STATES, {"job": job_id}).all()
