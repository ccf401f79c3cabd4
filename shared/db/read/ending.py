"""How a batch ended: its jobs by state and reason with an example of each, its images, and how long it took."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from shared.db.read.counts import OF_BATCH, SHOWN
from shared.db.read.waits import ROW, as_waiting
from shared.wait_facts import WaitingJob

LOOKED_AT: Final = 20_000
"""Jobs of a batch that are looked at for images and times, or for an example; a larger batch has no such sums."""
_REASONS = text(f"""
SELECT {SHOWN} AS state, error_code, CAST(sum(jobs) AS bigint) AS jobs
FROM ({OF_BATCH.format(batch="(SELECT id FROM batch WHERE name = :name)")}) AS part
GROUP BY 1, 2 HAVING sum(jobs) <> 0 ORDER BY 3 DESC, 1, 2
""")
_EXAMPLE = text(f"""
SELECT {ROW} FROM batch CROSS JOIN LATERAL (
  SELECT * FROM (
    SELECT * FROM job WHERE batch_id = batch.id AND state = :state AND on_hold = :on_hold ORDER BY id LIMIT :most
  ) AS first WHERE error_code IS NOT DISTINCT FROM :code LIMIT 1
) AS job WHERE batch.name = :name
""")
_SIZE = text("""
SELECT count(*) AS jobs, min(looked.created_at) AS began_at, max(looked.finished_at) AS ended_at,
  CAST(coalesce(sum(stored.images), 0) AS bigint) AS images
FROM (
  SELECT job.id, job.created_at, job.finished_at FROM batch JOIN job ON job.batch_id = batch.id
  WHERE batch.name = :name LIMIT :most
) AS looked CROSS JOIN LATERAL (
  SELECT count(*) AS images FROM image WHERE job_id = looked.id AND state = 'stored'
) AS stored
""")
_ENDS: Final = {
    "failed": ("failed", False),
    "cancelled": ("cancelled", False),
    "in_doubt": ("in_doubt", True),
    "on_hold": ("queued", True),
}
"""Shown states that need an example -> state and whether on hold."""


@dataclass(frozen=True, slots=True)
class EndReason:
    """Jobs of a batch in one shown state with one error code; `example` is the first of them, if one is near."""

    state: str
    code: str | None
    jobs: int
    example: WaitingJob | None


@dataclass(frozen=True, slots=True)
class BatchEnding:
    """How a batch ended so far. `images` (stored) and the times are None for a batch that is too large to look at."""

    reasons: tuple[EndReason, ...]
    images: int | None
    began_at: datetime | None
    ended_at: datetime | None


def of_batch(connection: Connection, name: str) -> BatchEnding:
    """Return how the jobs of a batch ended, the most frequent reason first."""
    reasons = tuple(_reason(connection, name, row) for row in connection.execute(_REASONS, {"name": name}).all())
    if sum(reason.jobs for reason in reasons) > LOOKED_AT:
        return BatchEnding(reasons, None, None, None)
    size = connection.execute(_SIZE, {"name": name, "most": LOOKED_AT}).one()
    return BatchEnding(reasons, size.images, size.began_at, size.ended_at)


def _reason(connection: Connection, name: str, row: Any) -> EndReason:
    if row.state not in _ENDS:
        return EndReason(row.state, row.error_code, row.jobs, None)
    state, on_hold = _ENDS[row.state]
    asked = {"name": name, "state": state, "on_hold": on_hold, "code": row.error_code, "most": LOOKED_AT}
    found = connection.execute(_EXAMPLE, asked).one_or_none()
    return EndReason(row.state, row.error_code, row.jobs, as_waiting(found) if found else None)
