"""What a page about one batch shows: its head with its counts, and its jobs with their images, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read import by_metadata
from shared.db.read.counts import OF_BATCH, SHOWN
from shared.db.read.pages import Row, parts

PAGE_JOBS: Final = 24
"""Jobs of a page, unless told otherwise."""
LOOKED_AT: Final = 5_000
"""Jobs that one page of a search looks at; the next page goes on behind them."""
_NIL: Final = UUID(int=0)
_HEAD = text(f"""
SELECT batch.id, batch.name, batch.created_at, batch.on_unknown, batch.caps, batch.held_at, now() AS now, part.*
FROM batch LEFT JOIN LATERAL (
  SELECT provider, {SHOWN} AS state, error_code, CAST(sum(jobs) AS bigint) AS jobs
  FROM ({OF_BATCH.format(batch="batch.id")}) AS counted GROUP BY 1, 2, 3 HAVING sum(jobs) <> 0
) AS part ON true WHERE batch.name = :name
""")
# LATERAL with a limit, so that each job is looked up by its key, whatever the planner believes of the table.
# Each part of the batch lies in the index in the order of ids. A search looks at a bounded number of jobs, however few
# of them match; one whose custom_id is exactly the text is found wherever it lies.
_LOOKED: Final = """
  SELECT part.id FROM unnest(CAST(:states AS text[]), CAST(:holds AS boolean[])) AS a (state, on_hold)
  CROSS JOIN LATERAL (
    SELECT id FROM job WHERE batch_id = :batch AND state = a.state AND on_hold = a.on_hold AND id > :after
    ORDER BY id LIMIT :look
  ) AS part ORDER BY part.id LIMIT :look
"""
# Those with some metadata are found by its index.
_LOOKED_BY_METADATA: Final = """
  SELECT job.id FROM job_metadata kept JOIN job ON job.id = kept.job_id
  WHERE {matching} AND job.batch_id = :batch AND job.id > :after
    AND (job.state, job.on_hold) IN (SELECT * FROM unnest(CAST(:states AS text[]), CAST(:holds AS boolean[])))
  ORDER BY job.id LIMIT :look
"""
_JOBS: Final = f"""
WITH looked AS MATERIALIZED ({{looked}}), matching AS MATERIALIZED (
  SELECT looked.id FROM looked CROSS JOIN LATERAL (
    SELECT custom_id, error_code, request FROM job WHERE job.id = looked.id LIMIT 1
  ) AS job
  WHERE (CAST(:code AS text) IS NULL OR job.error_code = :code) AND (CAST(:word AS text) IS NULL
    OR strpos(lower(job.custom_id), :word) > 0 OR (:in_prompts AND strpos(lower(job.request ->> 'prompt'), :word) > 0))
  ORDER BY looked.id LIMIT :limit
), page AS (
  SELECT id FROM matching UNION (SELECT id FROM job WHERE :exact AND batch_id = :batch AND custom_id = :name)
), shown AS (
  SELECT job.*, {SHOWN} AS shown FROM page JOIN job USING (id)
)
SELECT job.id, job.custom_id, job.provider, job.account, job.images AS wanted, job.error_code, job.error,
  job.request ->> 'prompt' AS prompt, job.request ->> 'model' AS model, job.created_at, job.finished_at,
  job.shown AS state,
  paid.settled, paid.unit, image.index, image.state AS image_state, image.error_code AS image_error, image.key,
  image.bytes, image.content_type, image.width, image.height,
  (SELECT count(*) FROM looked) AS looked, (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS looked_to
FROM (SELECT 1) AS always LEFT JOIN shown AS job ON true
LEFT JOIN LATERAL (
  SELECT sum(settled) AS settled, max(unit) AS unit FROM submission WHERE job_id = job.id
) AS paid ON true
LEFT JOIN image ON image.job_id = job.id
ORDER BY job.id, image.index
"""
_LISTED = text(_JOBS.format(looked=_LOOKED))


@dataclass(frozen=True, slots=True)
class BatchHead:
    """One batch with its counts; `now` is the database's clock, a cap is in the unit of its provider."""

    id: UUID
    name: str
    created_at: datetime
    now: datetime
    on_unknown: str
    held_at: datetime | None
    """When a person held it; None if it goes on."""
    caps: dict[str, Decimal]
    states: dict[str, int]
    """State, as it is shown -> number of jobs."""
    by_provider: dict[str, dict[str, int]]
    """Provider -> state -> number of jobs."""
    errors: dict[tuple[str, str, str], int]
    """(provider, state, error code) -> number of jobs."""


class Filter(NamedTuple):
    """Which jobs of a batch are wanted. `word` is looked for in custom_ids, and with `in_prompts` in prompts."""

    state: str | None = None
    code: str | None = None
    word: str | None = None
    in_prompts: bool = True
    metadata: tuple[str, str] | None = None
    """A key of the metadata and its value; then nothing is searched for `word`."""


class BatchJobs(NamedTuple):
    """Jobs with their images, and where the next page begins; `looked` counts the jobs that were looked at."""

    jobs: list[Row]
    after: UUID | None
    looked: int


def head(connection: Connection, name: str) -> BatchHead | None:
    """Return a batch with its counts in one statement; None if there is no batch of that name."""
    rows = connection.execute(_HEAD, {"name": name}).all()
    if not rows:
        return None
    first = rows[0]
    caps = {provider: Decimal(cap) for provider, cap in first.caps.items()}
    found = BatchHead(
        first.id, first.name, first.created_at, first.now, first.on_unknown, first.held_at, caps, {}, {}, {}
    )
    for row in rows:
        if row.jobs:
            _count(found, row)
    return found


def _count(found: BatchHead, row: Any) -> None:
    states = found.by_provider.setdefault(row.provider, {})
    for counts in (found.states, states):
        counts[row.state] = counts.get(row.state, 0) + row.jobs
    if row.error_code:
        key = (row.provider, row.state, row.error_code)
        found.errors[key] = found.errors.get(key, 0) + row.jobs


def jobs(
    connection: Connection, batch: UUID, which: Filter, *, after: UUID | None = None, limit: int = PAGE_JOBS
) -> BatchJobs:
    """Return up to `limit` jobs that match, in the order they were enqueued, each with its images, in one statement."""
    wanted = parts(which.state)
    searches = bool(which.word or which.code or which.metadata)
    matching, documents = by_metadata.condition(dict([which.metadata])) if which.metadata else ("", {})
    word = which.word if not which.metadata else None
    look = LOOKED_AT if searches else limit
    parameters = {
        "batch": batch,
        "states": [state for state, _ in wanted],
        "holds": [held for _, held in wanted],
        "after": after or _NIL,
        "look": look,
        "limit": limit,
        "code": which.code,
        "word": word.lower() if word else None,
        "name": word,
        "exact": bool(word) and after is None,
        "in_prompts": which.in_prompts,
        **documents,
    }
    found_by = _LOOKED_BY_METADATA.format(matching=matching)
    statement = text(_JOBS.format(looked=found_by)) if which.metadata else _LISTED
    rows = connection.execute(statement, parameters).all()
    found = _grouped(rows)
    looked, looked_to = rows[0].looked, rows[0].looked_to
    if len(found) >= limit:
        return BatchJobs(found, found[limit - 1]["id"] if searches else looked_to, looked)
    return BatchJobs(found, looked_to if looked == look else None, looked)


_OF_IMAGE: Final = ("index", "image_state", "image_error", "key", "bytes", "content_type", "width", "height")


def _grouped(rows: Sequence[Any]) -> list[Row]:
    """Return the jobs, each with a list of its images."""
    found: dict[UUID, Row] = {}
    for row in rows:
        if row.id is None:
            continue
        values = row._asdict()
        image = {name: values.pop(name) for name in _OF_IMAGE}
        job = found.setdefault(row.id, {**values, "pictures": []})
        if image["index"] is not None:
            job["pictures"].append(image)
    return list(found.values())
