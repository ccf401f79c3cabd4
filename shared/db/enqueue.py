"""Enqueueing: all rows of a batch in one transaction, or none; the same rows again add nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text

from shared.db import caps
from shared.db.accounts import AccountRow, ensure
from shared.ids import new_id

WAKE_CHANNEL = "genqueue_due"
"""Dispatchers LISTEN here; a lost notice costs one tick."""

_TURN_TO_ENQUEUE = text("SELECT pg_advisory_xact_lock(hashtextextended('enqueue ' || :name, 0))")
_BATCH = text("INSERT INTO batch (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING")
_BATCH_ID = text("SELECT id FROM batch WHERE name = :name")
_POLICY = text("UPDATE batch SET on_unknown = :on_unknown WHERE id = :batch")
_STAGE = text("""
CREATE TEMPORARY TABLE arriving (
  position bigint, id uuid, custom_id text, account text, provider text, request jsonb, fingerprint bytea,
  priority smallint
) ON COMMIT DROP
""")
_COPY = """
COPY arriving (position, id, custom_id, account, provider, request, fingerprint, priority) FROM STDIN
"""
_CONFLICTS = text("""
SELECT a.custom_id FROM arriving a JOIN job ON job.batch_id = :batch AND job.custom_id = a.custom_id
WHERE job.fingerprint <> a.fingerprint OR job.provider <> a.provider ORDER BY a.position LIMIT 20
""")
# Where workers have several accounts of a provider, its jobs are dealt out over those that are not paused, if any.
_SPREAD = text("""
UPDATE arriving SET account = dealt.names[1 + arriving.position % cardinality(dealt.names)]
FROM (
  SELECT provider, coalesce(array_agg(name ORDER BY name) FILTER (WHERE paused_at IS NULL),
    array_agg(name ORDER BY name)) AS names FROM account
  WHERE seen_at > now() - interval '1 day' GROUP BY provider
) AS dealt
WHERE dealt.provider = arriving.provider AND dealt.names <> ARRAY[arriving.account]
""")
# A batch joins where those of its own priority stand now, so that neither waits for the whole of the other. Jobs that
# wait for a time of their own do not count: they would hold the line back.
_INSERT = text("""
WITH line AS MATERIALIZED (
  SELECT a.account, a.priority, coalesce((
    SELECT job.turn - 1 FROM job WHERE job.account = a.account AND job.state = 'queued' AND NOT job.parked
      AND job.priority = a.priority AND job.due_at <= now()
    ORDER BY job.priority DESC, job.turn LIMIT 1), account.turn) AS turn
  FROM (SELECT DISTINCT account, priority FROM arriving) a JOIN account ON account.name = a.account
)
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, priority, turn,
  state, due_at, deadline_at, collect_until)
SELECT a.id, :batch, a.custom_id, a.account, a.provider, a.request, a.fingerprint,
  coalesce(CAST(a.request ->> 'n' AS integer), 1), a.priority,
  line.turn + row_number() OVER (PARTITION BY a.account, a.priority ORDER BY a.position),
  'queued', now(), now() + :deadline * interval '1 second', now() + :collect * interval '1 second'
FROM arriving a JOIN line ON line.account = a.account AND line.priority = a.priority
ON CONFLICT (batch_id, custom_id) DO NOTHING
""")
_NAMED = 5
_NOTIFY = text(f"NOTIFY {WAKE_CHANNEL}")


class EnqueueConflictError(Exception):
    """Some custom_ids are in the batch already, with another request; nothing was enqueued."""

    def __init__(self, batch: str, custom_ids: list[str]) -> None:
        self.custom_ids = custom_ids
        names = ", ".join(custom_ids[:_NAMED]) + (", ..." if len(custom_ids) > _NAMED else "")
        super().__init__(
            f"batch {batch!r} already holds {names} with a different request: "
            "use another batch name, or another custom_id for a changed row"
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """One validated row on its way into the database; `request` is canonical JSON, `fingerprint` its SHA-256."""

    custom_id: str
    account: str
    provider: str
    request: str
    fingerprint: bytes
    priority: int


@dataclass(frozen=True, slots=True)
class Policy:
    """How a batch is handled: times in seconds, caps by provider in its unit.

    `on_unknown`: what becomes of a paid call whose answer is lost once its provider shows that nothing was bought:
    "hold" leaves it to a person, "resend" sends it again. None keeps what the batch has. Caps of other
    providers stay.
    """

    deadline_seconds: float
    collect_seconds: float
    on_unknown: Literal["hold", "resend"] | None = None
    caps: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What an enqueue did: rows given, and how many of them were new."""

    batch_id: UUID
    given: int
    added: int


def enqueue(
    connection: Connection,
    batch: str,
    jobs: Iterable[NewJob],
    accounts: Iterable[AccountRow],
    policy: Policy,
) -> Enqueued:
    """Add to `batch` whatever of `jobs` is not in it yet, streaming; the caller's transaction makes it one step.

    Raises `EnqueueConflictError` where a custom_id stands for another request already.
    """
    # The same batch enqueued twice at once waits here for its twin, however many rows that has.
    connection.execute(text("SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = '15min'"))
    ensure(connection, accounts)
    connection.execute(_TURN_TO_ENQUEUE, {"name": batch})
    connection.execute(_BATCH, {"id": new_id(), "name": batch})
    batch_id: UUID = connection.execute(_BATCH_ID, {"name": batch}).scalar_one()
    connection.execute(_STAGE)
    given = _copy(connection, jobs)
    conflicts = list(connection.execute(_CONFLICTS, {"batch": batch_id}).scalars())
    if conflicts:
        raise EnqueueConflictError(batch, conflicts)
    connection.execute(_SPREAD)
    times = {"deadline": policy.deadline_seconds, "collect": policy.collect_seconds}
    added = connection.execute(_INSERT, {"batch": batch_id, **times}).rowcount
    # Last, for whoever pays for this batch waits for its row from here on.
    if policy.on_unknown is not None:
        connection.execute(_POLICY, {"batch": batch_id, "on_unknown": policy.on_unknown})
    if policy.caps is not None:
        caps.set_for(connection, batch, policy.caps)
    wake(connection)
    return Enqueued(batch_id, given, added)


def wake(connection: Connection) -> None:
    """Tell the dispatchers, once this transaction commits, that something is due."""
    connection.execute(_NOTIFY)


def _copy(connection: Connection, jobs: Iterable[NewJob]) -> int:
    """COPY the rows into the staging table: 2 microseconds a row where an ORM needs 80."""
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    count = 0
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for count, job in enumerate(jobs, 1):
            copy.write_row(
                (
                    count,
                    new_id(),
                    job.custom_id,
                    job.account,
                    job.provider,
                    job.request,
                    job.fingerprint,
                    job.priority,
                )
            )
    return count
