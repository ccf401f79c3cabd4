"""One job as a program sees it: its state, its images and its money."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from shared.db.read.counts import SHOWN
from shared.db.read.pages import Row

_SHOWN: Final = f"""
job.id, batch.name AS batch, job.custom_id, job.provider, job.account, job.request ->> 'model' AS model,
  {SHOWN} AS state, job.error_code, job.error, job.images AS images_asked, job.priority, job.epoch,
  job.cancel_requested_at IS NOT NULL AS cancelling, job.created_at, job.finished_at,
  coalesce(kept.metadata, '{{}}') AS metadata
"""
_WITH_BATCH: Final = "JOIN batch ON batch.id = job.batch_id LEFT JOIN job_metadata kept ON kept.job_id = job.id"
_JOB: Final = text(f"SELECT {_SHOWN} FROM job {_WITH_BATCH} WHERE job.id = :id")
_NAMED: Final = text(f"""
SELECT {_SHOWN}, job.batch_id, job.fingerprint
FROM unnest(CAST(:batches AS uuid[]), CAST(:custom_ids AS text[])) AS a (batch_id, custom_id)
JOIN job ON job.batch_id = a.batch_id AND job.custom_id = a.custom_id {_WITH_BATCH}
""")
_IMAGES: Final = text("""
SELECT job_id, index, state, bucket, key, encode(sha256, 'hex') AS sha256, bytes, content_type, width, height,
  error_code, error
FROM image WHERE job_id = ANY(CAST(:ids AS uuid[])) ORDER BY job_id, index
""")
_MONEY: Final = text("""
SELECT DISTINCT ON (job_id) job_id, unit, sum(reserved) AS reserved, sum(settled) AS settled, sum(held) AS held,
  sum(elsewhere) AS elsewhere
FROM ledger WHERE job_id = ANY(CAST(:ids AS uuid[])) GROUP BY job_id, unit ORDER BY job_id, unit
""")
_NOT_SHOWN: Final = ("batch_id", "fingerprint")

# All that a document shows and that can change; an epoch alone does not rise with a person's wish or an edited row.
_MARK: Final = text(f"""
SELECT job.epoch, {SHOWN} AS state, (SELECT count(*) FROM image WHERE job_id = job.id AND state = 'stored') AS stored,
  coalesce((SELECT max(id) FROM ledger WHERE job_id = job.id), 0) AS line,
  left(md5(CAST(ROW(job.cancel_requested_at IS NULL, job.priority, job.account, job.error_code, job.error,
    (SELECT metadata FROM job_metadata WHERE job_id = job.id),
    (SELECT array_agg(ROW(index, state, key, error_code, error) ORDER BY index) FROM image WHERE job_id = job.id))
    AS text)), 12) AS rest
FROM job WHERE id = :id
""")


class JobMark(NamedTuple):
    """What differs between two versions of a job; `rest` is a hash of what else its document shows."""

    epoch: int
    state: str
    stored: int
    line: int
    rest: str


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job's row, the rows of its images, and its money; `money` is None before the first paid call."""

    job: Row
    images: list[Row]
    money: Row | None


def job(connection: Connection, job_id: UUID) -> JobFacts | None:
    """Return a job; None if there is none of that id. `state` is the state as it is shown (`shared/db/read/counts`)."""
    row = connection.execute(_JOB, {"id": job_id}).mappings().one_or_none()
    return facts(connection, [dict(row)])[job_id] if row else None


def named(connection: Connection, names: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Row]:
    """Return the rows of jobs by batch id and custom_id, each with its `fingerprint`; some may be missing."""
    given = {"batches": [batch for batch, _ in names], "custom_ids": [custom_id for _, custom_id in names]}
    rows = connection.execute(_NAMED, given).mappings()
    return {(row["batch_id"], row["custom_id"]): dict(row) for row in rows}


def facts(connection: Connection, rows: Iterable[Row], *, new: AbstractSet[UUID] = frozenset()) -> dict[UUID, JobFacts]:
    """Return jobs by id with their images and money; those that are `new` have none, and are not asked for any."""
    jobs = {row["id"]: {name: value for name, value in row.items() if name not in _NOT_SHOWN} for row in rows}
    images: defaultdict[UUID, list[Row]] = defaultdict(list)
    money: dict[UUID, Row] = {}
    if old := [job_id for job_id in jobs if job_id not in new]:
        for image in connection.execute(_IMAGES, {"ids": old}).mappings():
            images[image["job_id"]].append(_without_job(image))
        money = {row["job_id"]: _without_job(row) for row in connection.execute(_MONEY, {"ids": old}).mappings()}
    return {job_id: JobFacts(row, images[job_id], money.get(job_id)) for job_id, row in jobs.items()}


def _without_job(row: RowMapping) -> Row:
    return {name: value for name, value in row.items() if name != "job_id"}


def mark(connection: Connection, job_id: UUID) -> JobMark | None:
    """Return what to compare with an earlier look at a job; None if there is no such job."""
    row = connection.execute(_MARK, {"id": job_id}).one_or_none()
    return JobMark(*row) if row else None
