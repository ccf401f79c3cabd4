"""One job as a program sees it: its state, its images and its money."""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.counts import SHOWN
from shared.db.read.pages import Row

_COLUMNS: Final = f"""
SELECT job.id, batch.name AS batch, job.custom_id, job.provider, job.account, job.request ->> 'model' AS model,
  {SHOWN} AS state, job.error_code, job.error, job.images AS images_asked, job.priority, job.epoch,
  job.cancel_requested_at IS NOT NULL AS cancelling, job.created_at, job.finished_at,
  coalesce(kept.metadata, '{{}}') AS metadata
FROM job JOIN batch ON batch.id = job.batch_id LEFT JOIN job_metadata kept ON kept.job_id = job.id
"""
_JOB: Final = text(f"{_COLUMNS} WHERE job.id = :id")
_NAMED: Final = text(f"{_COLUMNS} WHERE job.batch_id = :batch AND job.custom_id = :custom_id")
_IMAGES: Final = text("""
SELECT index, state, bucket, key, encode(sha256, 'hex') AS sha256, bytes, content_type, width, height, error_code, error
FROM image WHERE job_id = :id ORDER BY index
""")
_MONEY: Final = text("""
SELECT unit, sum(reserved) AS reserved, sum(settled) AS settled, sum(held) AS held, sum(elsewhere) AS elsewhere
FROM ledger WHERE job_id = :id GROUP BY unit ORDER BY unit LIMIT 1
""")


_MARK: Final = text(f"""
SELECT job.epoch, {SHOWN} AS state, (SELECT count(*) FROM image WHERE job_id = job.id AND state = 'stored') AS stored,
  coalesce((SELECT max(id) FROM ledger WHERE job_id = job.id), 0) AS line
FROM job WHERE id = :id
""")


class JobMark(NamedTuple):
    """What differs between two versions of a job: its epoch, its state, images stored, and its last ledger line."""

    epoch: int
    state: str
    stored: int
    line: int


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job's row, the rows of its images, and its money; `money` is None before the first paid call."""

    job: Row
    images: list[Row]
    money: Row | None


def job(connection: Connection, job_id: UUID) -> JobFacts | None:
    """Return a job; None if there is none of that id. `state` is the state as it is shown (`shared/db/read/counts`)."""
    by_id = {"id": job_id}
    row = connection.execute(_JOB, by_id).mappings().one_or_none()
    if row is None:
        return None
    images = [dict(image) for image in connection.execute(_IMAGES, by_id).mappings()]
    money = connection.execute(_MONEY, by_id).mappings().one_or_none()
    return JobFacts(dict(row), images, dict(money) if money else None)


def new_job(connection: Connection, batch_id: UUID, custom_id: str) -> JobFacts:
    """Return a job that this transaction added: it has neither images nor money."""
    row = connection.execute(_NAMED, {"batch": batch_id, "custom_id": custom_id}).mappings().one()
    return JobFacts(dict(row), [], None)


def mark(connection: Connection, job_id: UUID) -> JobMark | None:
    """Return what to compare with an earlier look at a job; None if there is no such job."""
    row = connection.execute(_MARK, {"id": job_id}).one_or_none()
    return JobMark(*row) if row else None
