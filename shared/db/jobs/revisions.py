"""New revisions of changed rows: an edited row gets the next free custom_id behind its own, such as `hero@2`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from sqlalchemy import Connection, text

from shared.db.jobs.arriving import NewJob

_CHUNK: Final = 1000
_THERE: Final = text("""
SELECT a.custom_id, job.fingerprint, job.provider
FROM unnest(CAST(:custom_ids AS text[])) AS a (custom_id) CROSS JOIN LATERAL (
  SELECT job.fingerprint, job.provider FROM job JOIN batch ON batch.id = job.batch_id
  WHERE batch.name = :batch AND job.custom_id = a.custom_id LIMIT 1
) AS job
""")


def revised(connection: Connection, batch: str, rows: Iterable[NewJob]) -> Iterator[NewJob]:
    """Yield each row under the custom_id of the revision that asks for the same, else under the next free one.

    A row that is not in the batch, or has not changed, keeps its custom_id. So the same file again adds nothing.
    """
    left = iter(rows)
    while chunk := list(islice(left, _CHUNK)):
        names = _names(connection, batch, chunk)
        yield from (replace(row, custom_id=names[index]) for index, row in enumerate(chunk))


def _names(connection: Connection, batch: str, chunk: list[NewJob]) -> Mapping[int, str]:
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
