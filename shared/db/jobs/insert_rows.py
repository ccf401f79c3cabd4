"""Writes arriving rows in chunks: one statement adds the new ones of a chunk, a second names its conflicts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.waking import WAKE_CHANNEL
from shared.ids import new_id

CHUNK_ROWS: Final = 2_000
CHUNK_CHARS: Final = 4_000_000
"""A chunk ends at either bound, so that memory stays flat, however many or large the rows are."""
_COLUMNS: Final = (
    "ids",
    "batches",
    "custom_ids",
    "accounts",
    "providers",
    "fingerprints",
    "priorities",
    "steps",
    "starts",
)
# A batch joins the line at the position that jobs of its priority have reached, so that no batch waits for all of
# another. Jobs that wait for their own due time do not count, because they would hold the line back. Later chunks go on
# from the start that the first one found: they would take its rows for others.
_ADD = text("""
WITH arriving AS MATERIALIZED (
  SELECT * FROM ROWS FROM (
    unnest(CAST(:ids AS uuid[]), CAST(:batches AS uuid[]), CAST(:custom_ids AS text[]), CAST(:accounts AS text[]),
      CAST(:providers AS text[]), CAST(:fingerprints AS bytea[]), CAST(:priorities AS smallint[]),
      CAST(:steps AS bigint[]), CAST(:starts AS bigint[])),
    jsonb_array_elements(CAST(:requests AS jsonb))
  ) WITH ORDINALITY
    AS a (id, batch, custom_id, account, provider, fingerprint, priority, step, start, request, position)
), line AS MATERIALIZED (
  SELECT a.account, a.priority, coalesce((
    SELECT job.fair_position - 1 FROM job WHERE job.account = a.account AND job.state = 'queued' AND NOT job.on_hold
      AND job.priority = a.priority AND job.due_at <= now()
    ORDER BY job.priority DESC, job.fair_position LIMIT 1), account.fair_position) AS start
  FROM (SELECT DISTINCT account, priority FROM arriving WHERE start IS NULL) a JOIN account ON account.name = a.account
), added AS (
  INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, priority, fair_position,
    state, due_at, deadline_at, collect_until)
  SELECT a.id, a.batch, a.custom_id, a.account, a.provider, a.request, a.fingerprint,
    coalesce(CAST(a.request ->> 'n' AS integer), 1), a.priority, coalesce(a.start, line.start) + a.step,
    'queued', now(), now() + :deadline * interval '1 second', now() + :collect * interval '1 second'
  FROM arriving a LEFT JOIN line ON line.account = a.account AND line.priority = a.priority
  ORDER BY a.position
  ON CONFLICT (batch_id, custom_id) DO NOTHING
  RETURNING id
)
SELECT (SELECT count(*) FROM added) AS added,
  coalesce((SELECT jsonb_agg(jsonb_build_array(account, priority, start)) FROM line), '[]') AS starts,
  pg_notify(:channel, '')
""")
# Asked after the rows were added, so that it also sees what others committed while an addition waited for them.
_CONFLICTS = text("""
SELECT a.custom_id
FROM unnest(CAST(:custom_ids AS text[]), CAST(:providers AS text[]), CAST(:fingerprints AS bytea[])) WITH ORDINALITY
  AS a (custom_id, provider, fingerprint, position)
JOIN job ON job.batch_id = :batch AND job.custom_id = a.custom_id
WHERE job.fingerprint <> a.fingerprint OR job.provider <> a.provider ORDER BY a.position LIMIT 20
""")
# A row that was there already has another id, and keeps its metadata.
_ADD_METADATA = text("""
INSERT INTO job_metadata (job_id, metadata)
SELECT a.id, a.metadata FROM ROWS FROM (
  unnest(CAST(:ids AS uuid[])), jsonb_array_elements(CAST(:metadata AS jsonb))
) AS a (id, metadata) JOIN job ON job.id = a.id
""")


@dataclass(frozen=True, slots=True)
class NewJob:
    """One validated row on its way into the database; `request` is canonical JSON, `fingerprint` its SHA-256.

    `metadata` is a JSON object as text, or "" for none (`shared.metadata`).
    """

    custom_id: str
    provider: str
    request: str
    fingerprint: bytes
    priority: int
    metadata: str = ""
    id: UUID = field(default_factory=new_id)


class Placed(NamedTuple):
    """A row with the batch and the account that it goes to."""

    batch_id: UUID
    job: NewJob
    account: str


class JobTimes(NamedTuple):
    """How long new jobs have, in seconds: until they must be bought, and until what they bought must be stored."""

    deadline_seconds: float
    collect_seconds: float


Place = tuple[str, int]
"""An account and a priority: where a row stands in line."""


@dataclass(slots=True)
class LineEnd:
    """The end of the line, to which one transaction adds its rows."""

    times: JobTimes
    starts: dict[Place, int] = field(default_factory=dict)
    """Where the line begins for new rows, as far as that is known."""
    _steps: Counter[Place] = field(default_factory=Counter)
    """How far behind that start the last row of this transaction stands."""

    def add(self, connection: Connection, rows: Sequence[Placed]) -> int:
        """Add the new ones of these rows, in their order and behind those added before; return how many are new."""
        values = [self._values(row) for row in rows]
        result = connection.execute(
            _ADD,
            {
                "channel": WAKE_CHANNEL,
                "deadline": self.times.deadline_seconds,
                "collect": self.times.collect_seconds,
                "requests": f"[{','.join(row.job.request for row in rows)}]",
                **dict(zip(_COLUMNS, map(list, zip(*values, strict=True)), strict=True)),
            },
        ).one()
        _add_metadata(connection, {row.job.id: row.job.metadata for row in rows})
        self.starts |= {(account, priority): start for account, priority, start in result.starts}
        return int(result.added)

    def _values(self, row: Placed) -> tuple[Any, ...]:
        """Return the row in the order of `_COLUMNS`."""
        batch_id, job, account = row
        place = (account, job.priority)
        self._steps[place] += 1
        return (
            *(job.id, batch_id, job.custom_id, account, job.provider),
            *(job.fingerprint, job.priority, self._steps[place], self.starts.get(place)),
        )


@dataclass(slots=True)
class RowInsertion:
    """What is known of one enqueue's rows so far."""

    batch_id: UUID
    line: LineEnd
    given: int = 0
    added: int = 0
    conflicts: list[str] = field(default_factory=list)
    """Custom ids that stand for another request; after some, the caller rolls back."""

    def add(self, connection: Connection, rows: list[tuple[NewJob, str]]) -> None:
        """Add a chunk of rows, each with its account, behind those of earlier chunks."""
        added = self.line.add(connection, [Placed(self.batch_id, job, account) for job, account in rows])
        self.given += len(rows)
        self.added += added
        if added < len(rows):
            self.conflicts = self._conflicts(connection, [job for job, _ in rows])

    def _conflicts(self, connection: Connection, jobs: Sequence[NewJob]) -> list[str]:
        given = {
            "batch": self.batch_id,
            "custom_ids": [job.custom_id for job in jobs],
            "providers": [job.provider for job in jobs],
            "fingerprints": [job.fingerprint for job in jobs],
        }
        return list(connection.execute(_CONFLICTS, given).scalars())


def _add_metadata(connection: Connection, by_job: dict[UUID, str]) -> None:
    """Write the metadata of those jobs that were added; most batches have none, and cost nothing here."""
    given = {job_id: metadata for job_id, metadata in by_job.items() if metadata}
    if given:
        connection.execute(_ADD_METADATA, {"ids": list(given), "metadata": f"[{','.join(given.values())}]"})


def in_chunks(rows: Iterable[tuple[NewJob, str]]) -> Iterator[list[tuple[NewJob, str]]]:
    """Yield rows in chunks of at most `CHUNK_ROWS` rows and about `CHUNK_CHARS` characters of requests."""
    chunk: list[tuple[NewJob, str]] = []
    chars = 0
    for row in rows:
        chunk.append(row)
        chars += len(row[0].request) + len(row[0].metadata)
        if len(chunk) == CHUNK_ROWS or chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk
