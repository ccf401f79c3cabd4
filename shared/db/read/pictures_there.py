"""Which pictures are there still: an erasure takes the bucket from a picture's row before its object is deleted."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

_THERE: Final = text("""
SELECT a.key FROM unnest(CAST(:jobs AS uuid[]), CAST(:keys AS text[])) AS a (job_id, key)
CROSS JOIN LATERAL (
  SELECT FROM image WHERE job_id = a.job_id AND key = a.key AND bucket IS NOT NULL LIMIT 1
) AS image
""")


def pictures_there(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of some keys, such as `images/JOB/0-SHA256.png`, under which a picture is stored."""
    named = [(job, key) for key in keys if (job := _job(key)) is not None]
    asked = {"jobs": [job for job, _ in named], "keys": [key for _, key in named]}
    return set(connection.execute(_THERE, asked).scalars()) if named else set()


def _job(key: str) -> UUID | None:
    try:
        return UUID(key.split("/")[1])
    except (IndexError, ValueError):
        return None
