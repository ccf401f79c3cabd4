"""What an enqueue did with each row: the job under its custom_id, and whether this transaction added it."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

# LATERAL, so that each id is looked up by the unique index. A row's xmin is the transaction that wrote it.
_RESULT: Final = text("""
SELECT job.id, a.custom_id, job.account, job.xmin = CAST(pg_current_xact_id() AS xid) AS is_new
FROM unnest(CAST(:custom_ids AS text[])) AS a (custom_id)
CROSS JOIN LATERAL (
  SELECT id, account, xmin FROM job WHERE batch_id = :batch AND custom_id = a.custom_id LIMIT 1
) AS job
""")


class EnqueuedRow(NamedTuple):
    """The job that a row stands for; `is_new`: the row was added in this transaction."""

    job_id: UUID
    custom_id: str
    account: str
    is_new: bool


def enqueue_result(connection: Connection, batch_id: UUID, custom_ids: Sequence[str]) -> list[EnqueuedRow]:
    """Return the jobs of these ids in a batch; call it in the transaction that enqueued them."""
    rows = connection.execute(_RESULT, {"batch": batch_id, "custom_ids": list(custom_ids)})
    return [EnqueuedRow(*row) for row in rows]
