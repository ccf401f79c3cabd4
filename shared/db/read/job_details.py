"""What a list shows of jobs besides their state: the beginning of the prompt, the model, and what each cost."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.pages import Row

PROMPT_CHARS: Final = 200
"""Characters of a prompt that a list gets."""
_DETAILS = text(f"""
SELECT job.id, job.account, job.on_hold, job.images, job.request ->> 'model' AS model,
  left(job.request ->> 'prompt', {PROMPT_CHARS}) AS prompt, paid.cost, paid.unit
FROM job CROSS JOIN LATERAL (
  SELECT sum(settled + elsewhere) AS cost, min(unit) AS unit FROM submission WHERE job_id = job.id
) AS paid WHERE job.id = ANY(CAST(:ids AS uuid[]))
""")

_REQUESTS = text("SELECT id, account, provider, request FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")


def requests(connection: Connection, ids: Sequence[UUID]) -> Sequence[Any]:
    """Return id, account, provider and request of some jobs."""
    return connection.execute(_REQUESTS, {"ids": list(ids)}).all()


def of_jobs(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Return what is known of each job; `prompt` is its beginning, `cost` what was paid for it."""
    rows = connection.execute(_DETAILS, {"ids": list(ids)})
    return {row.id: row._asdict() for row in rows}
