"""A row of the inbox as a program sees it: a queued job that no worker has checked yet."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from shared.db.read.job import JobFacts, JobMark
from shared.metadata import complaint

MARK: Final = JobMark(-1, "queued", 0, 0, "")
"""What differs from the job that will be made of a row: its epoch is before the first one."""
_ROW: Final = text("""
SELECT id, batch, custom_id, arrived_at, request ->> 'provider' AS provider, request, note FROM inbox WHERE id = :id
""")


def inbox_row(connection: Connection, job_id: UUID) -> JobFacts | str | None:
    """Return the job that a waiting row will be, or in words why none was made of it; None if there is no such row."""
    row = connection.execute(_ROW, {"id": job_id}).mappings().one_or_none()
    if row is None:
        return None
    return row["note"] if row["request"] is None else JobFacts(_job(row), [], None)


def _job(row: RowMapping) -> dict[str, Any]:
    """Return the row as a job; nobody has checked its request, so that its parts may be anything.

    Of a request that Python cannot read, only its provider is shown.
    """
    request = row["request"]
    model, metadata = request.get("model"), request.get("metadata")
    return {
        "id": row["id"],
        "batch": row["batch"],
        "custom_id": row["custom_id"],
        "provider": row["provider"],
        "account": row["provider"],  # that of its jobs until one is chosen
        "model": model if isinstance(model, str) else None,
        "state": MARK.state,
        "error_code": None,
        "error": None,
        "images_asked": _whole(request.get("n"), 1),
        "priority": _whole(request.get("priority"), 0),
        "epoch": MARK.epoch,
        "cancelling": False,
        "created_at": row["arrived_at"],
        "finished_at": None,
        "metadata": metadata if isinstance(metadata, dict) and not complaint(metadata) else {},
    }


def _whole(given: Any, default: int) -> int:
    return given if type(given) is int else default
