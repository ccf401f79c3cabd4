"""New revisions of changed rows: an edited row gets the next free custom_id behind its own, such as `hero@2`."""

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
    while chunk := list(islice(left, _CHUNK)):
        names = revision_names(connection, batch, chunk)
        yield from (replace(row, custom_id=names[index]) for index, row in enumerate(chunk))


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


def revision_names(connection: Connection, batch: str, chunk: Sequence[Named]) -> Mapping[int, str]:
    """Return, by index in `chunk`, the custom_id of the revision that asks for the same image, or the next free one."""
    names = {index: row.custom_id for index, row in enumerate(chunk)}
    open_still, revision = set(names), 1
    while open_still:
        asked = {"batch": batch, "custom_ids": [names[index] for index in open_still]}
        there = {row.custom_id: (row.fingerprint, row.provider) for row in connection.execute(_THERE, asked)}
        open_still = {
            index
            for index in open_still
            if there.get(names[index]) not in {None, (chunk[index].fingerprint, chunk[index].provider)}
        }
        revision += 1
        names.update({index: f"{chunk[index].custom_id}@{revision}" for index in open_still})
    return names
