"""New revisions of changed rows: an edited row gets the next free custom_id behind its own, such as `hero@2`.

What has left frees its custom_id. So a free one is taken only if no revision behind it asks for the same image.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, Protocol

from sqlalchemy import Connection, text

from shared.db.jobs.insert_rows import NewJob

_CHUNK: Final = 1000
_THERE: Final = text("""
SELECT a.custom_id, job.fingerprint, job.provider
FROM unnest(CAST(:custom_ids AS text[])) AS a (custom_id) CROSS JOIN LATERAL (
  SELECT job.fingerprint, job.provider FROM job JOIN batch ON batch.id = job.batch_id
  WHERE batch.name = :batch AND job.custom_id = a.custom_id LIMIT 1
) AS job
""")
# The first revision behind each custom_id of ours that is free.
_BEHIND: Final = text("""
WITH here AS (SELECT id FROM batch WHERE name = :batch), named AS MATERIALIZED (
  SELECT regexp_match(custom_id, '^(.+)@([2-9]|[1-9][0-9]{1,8})$') AS parts
  FROM job WHERE batch_id = (SELECT id FROM here)
)
SELECT parts[1] AS custom_id, CAST(parts[2] AS integer) AS revision FROM named
WHERE parts IS NOT NULL AND NOT EXISTS (
  SELECT FROM job WHERE batch_id = (SELECT id FROM here)
    AND custom_id = CASE parts[2] WHEN '2' THEN parts[1] ELSE parts[1] || '@' || (CAST(parts[2] AS integer) - 1) END)
ORDER BY revision
""")
_RENEW: Final = text("""
INSERT INTO job_metadata AS kept (job_id, metadata)
SELECT job.id, CAST(a.metadata AS jsonb)
FROM unnest(CAST(:custom_ids AS text[]), CAST(:metadata AS text[])) AS a (custom_id, metadata)
  CROSS JOIN LATERAL (
    SELECT job.id FROM job JOIN batch ON batch.id = job.batch_id
    WHERE batch.name = :batch AND job.custom_id = a.custom_id LIMIT 1
  ) AS job
ON CONFLICT (job_id) DO UPDATE SET metadata = excluded.metadata WHERE kept.metadata <> excluded.metadata
""")


class Named(Protocol):
    """A row by its custom_id, and what makes it the same request."""

    @property
    def custom_id(self) -> str:
        """The row's id in its batch."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """32 bytes of its request."""
        ...

    @property
    def provider(self) -> str:
        """Whom it asks."""
        ...


def revised(connection: Connection, batch: str, rows: Iterable[NewJob]) -> Iterator[NewJob]:
    """Yield each row under the custom_id of the revision that asks for the same image, or under the next free one.

    A row that is not in the batch, or has not changed, keeps its custom_id. So the same file again adds nothing.
    """
    left = iter(rows)
    if not (chunk := list(islice(left, _CHUNK))):
        return
    revisions = Revisions(connection, batch)
    while chunk:
        names = revisions.names(chunk)
        yield from (replace(row, custom_id=names[index]) for index, row in enumerate(chunk))
        chunk = list(islice(left, _CHUNK))


def renew_metadata(connection: Connection, batch: str, rows: Iterable[NewJob]) -> int:
    """Give jobs of the batch the metadata of their rows, where it differs; return how many.

    `rows` have the custom_ids of their jobs. A row without metadata changes nothing.
    """
    left, renewed = (row for row in rows if row.metadata), 0
    while chunk := list(islice(left, _CHUNK)):
        asked = {
            "batch": batch,
            "custom_ids": [row.custom_id for row in chunk],
            "metadata": [row.metadata for row in chunk],
        }
        renewed += connection.execute(_RENEW, asked).rowcount
    return renewed


class Revisions:
    """The revisions of a batch's rows."""

    def __init__(self, connection: Connection, batch: str) -> None:
        self._connection = connection
        self._batch = batch
        self._behind: dict[str, list[int]] = {}
        for row in connection.execute(_BEHIND, {"batch": batch}):
            self._behind.setdefault(row.custom_id, []).append(row.revision)

    def names(self, chunk: Sequence[Named]) -> Mapping[int, str]:
        """Return, by index, the custom_id of the revision that asks for the same image, or the next free one."""
        same: dict[int, str] = {}
        free: dict[int, str] = {}
        asked = dict.fromkeys(range(len(chunk)), 1)
        while asked:
            names = {index: _name(chunk[index].custom_id, revision) for index, revision in asked.items()}
            there = self._there(names.values())
            for index, name in names.items():
                row, found = chunk[index], there.get(name)
                if found is None:
                    free.setdefault(index, name)
                    asked[index] = self._next(row.custom_id, asked[index])
                elif found == (row.fingerprint, row.provider):
                    same[index], asked[index] = name, 0
                else:
                    asked[index] += 1
            asked = {index: revision for index, revision in asked.items() if revision}
        return free | same

    def _there(self, names: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        rows = self._connection.execute(_THERE, {"batch": self._batch, "custom_ids": list(names)})
        return {row.custom_id: (row.fingerprint, row.provider) for row in rows}

    def _next(self, custom_id: str, free: int) -> int:
        """Return the first revision behind one that is free; 0 if there is none."""
        return next((revision for revision in self._behind.get(custom_id, ()) if revision > free), 0)


def _name(custom_id: str, revision: int) -> str:
    return custom_id if revision == 1 else f"{custom_id}@{revision}"
