"""The prompts of jobs, for whoever must keep them out of a text."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

_PROMPTS = text("""
SELECT request ->> 'prompt' FROM job
WHERE id = ANY(CAST(:ids AS uuid[])) AND request ->> 'prompt' IS NOT NULL ORDER BY id
""")


def prompts(connection: Connection, job_ids: Collection[UUID]) -> list[str]:
    """Return the prompts of these jobs."""
    return list(connection.execute(_PROMPTS, {"ids": list(job_ids)}).scalars())
