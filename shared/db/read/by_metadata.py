"""Finds jobs by the caller's own facts about them: by keys of their metadata and the values there."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.pages import Row, parts

_JOBS: Final = """
SELECT job.id, batch.name AS batch, job.custom_id, job.provider, job.state, job.error_code, job.error, job.due_at,
  job.created_at, job.finished_at, kept.metadata
FROM job_metadata kept JOIN job ON job.id = kept.job_id JOIN batch ON batch.id = job.batch_id
WHERE {matching} AND (CAST(:batch AS text) IS NULL OR batch.name = :batch) AND job.id > :after
  AND (job.state, job.on_hold) IN (SELECT * FROM unnest(CAST(:states AS text[]), CAST(:holds AS boolean[])))
ORDER BY job.id LIMIT :limit
"""
_FIRST: Final = UUID(int=0)


def jobs(
    connection: Connection,
    where: Mapping[str, str],
    *,
    batch: str | None = None,
    state: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> Sequence[Row]:
    """Return up to `limit` jobs, oldest first, whose metadata has each key of `where` with that value.

    A value also means the number, or other JSON, that it spells. `where` has at least one key.
    """
    matching, parameters = condition(where)
    which = {"batch": batch, "after": after or _FIRST, "limit": limit}
    states = {"states": [each for each, _ in parts(state)], "holds": [held for _, held in parts(state)]}
    statement = text(_JOBS.format(matching=matching))
    return [row._asdict() for row in connection.execute(statement, {**parameters, **which, **states})]


def condition(where: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return SQL that is true for the metadata `kept` with each key of `where` and that value, and its parameters."""
    wanted = [[_containing(key, value) for value in _meanings(given)] for key, given in where.items()]
    parameters = {
        f"document_{group}_{number}": document
        for group, documents in enumerate(wanted)
        for number, document in enumerate(documents)
    }
    groups = (
        " OR ".join(f"kept.metadata @> CAST(:document_{group}_{number} AS jsonb)" for number in range(len(documents)))
        for group, documents in enumerate(wanted)
    )
    return " AND ".join(f"({group})" for group in groups), parameters


def _containing(key: str, value: Any) -> str:
    return json.dumps({key: value})


def _meanings(given: str) -> list[Any]:
    """Return the values that a word of a person may mean: the text, and the number or other JSON that it spells."""
    try:
        return [given, json.loads(given)]
    except ValueError:
        return [given]
