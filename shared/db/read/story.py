"""What people ask of one job: its whole story."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.payments.spending import SPENT_TODAY

_JOB = text(f"""
SELECT job.*, batch.name AS batch, batch.on_unknown, batch.caps, now() AS now, account.paused_code,
  account.paused_reason, account.action_url, account.probe_at, account.not_before, account.unit, account.daily_cap,
  {SPENT_TODAY} AS spent_today, coalesce(kept.metadata, '{{}}') AS metadata
FROM job JOIN batch ON batch.id = job.batch_id JOIN account ON account.name = job.account
  LEFT JOIN job_metadata kept ON kept.job_id = job.id WHERE job.id = :id
""")
_SUBMISSIONS: Final = text("SELECT * FROM submission WHERE job_id = :id ORDER BY opened_at")
_IMAGES: Final = text("SELECT * FROM image WHERE job_id = :id ORDER BY index")
_LEDGER: Final = text("SELECT * FROM ledger WHERE job_id = :id ORDER BY id")
_EVENTS: Final = text("SELECT * FROM job_event WHERE job_id = :id ORDER BY id")


def story(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Return everything known of one job: its row, attempts to pay, images, ledger lines and events, in order.

    Raises `LookupError` if there is no such job.
    """
    by_id = {"id": job_id}
    job = connection.execute(_JOB, by_id).mappings().one_or_none()
    if job is None:
        raise LookupError(f"there is no job {job_id}")
    images = connection.execute(_IMAGES, by_id).mappings().all()  # before their attempts, so that each image has one
    return {
        "job": job,
        "submissions": connection.execute(_SUBMISSIONS, by_id).mappings().all(),
        "images": images,
        "ledger": connection.execute(_LEDGER, by_id).mappings().all(),
        "events": connection.execute(_EVENTS, by_id).mappings().all(),
    }
