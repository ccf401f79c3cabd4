"""Single rows of many callers, added in one transaction: they share its cost. `lone_row` serves one caller.

A batch has a lock, its *turn*. Who enqueues a file takes the turn alone, for seconds. A transaction of several single
rows takes it as a shared lock, beside others of its kind, and never waits for it. If a file has the turn, each row of
that batch is added in a transaction of its own, without the turn. Such a row may wait for the file's row of the same
name, and holds nothing that the file could wait for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.accounts import ensure
from shared.db.jobs.dealing import Dealing, dealing, waiting_account
from shared.db.jobs.enqueue import open_batch, rotation_start
from shared.db.jobs.insert_rows import JobTimes, LineEnd, NewJob, Placed
from shared.db.read import job as read_job
from shared.db.read.job import JobFacts

_DESTINATIONS: Final = text("""
SELECT a.name, batch.id, CASE WHEN :together
  THEN pg_try_advisory_xact_lock_shared(hashtextextended('enqueue ' || a.name, 0)) ELSE true END AS is_free
FROM unnest(CAST(:batches AS text[])) AS a (name) LEFT JOIN batch ON batch.name = a.name
""")


@dataclass(frozen=True, slots=True)
class Destinations:
    """What rows are added to: the ids of batches by name, those whose turn somebody has, and the accounts' deal."""

    batches: Mapping[str, UUID]
    busy: frozenset[str]
    dealing: Dealing


@dataclass(frozen=True, slots=True)
class StandingJob:
    """The job that stands under a row's name; `is_same`: it was enqueued for the same request as the row."""

    facts: JobFacts
    is_new: bool
    is_same: bool


def destinations(
    connection: Connection, batches: Sequence[str], providers: Sequence[str], *, together: bool
) -> Destinations:
    """Return what rows of these batches and providers are added to; what is missing is made.

    `together`: several rows will be added in this transaction, so that it needs a share of each batch's turn.
    """
    names = sorted(set(batches))  # in the same order for all, or two would wait for each other
    found = connection.execute(_DESTINATIONS, {"batches": names, "together": together}).all()
    dealt = dealing(connection)
    ensure(connection, [waiting_account(name) for name in sorted(set(providers) - set(dealt.known))])
    busy = frozenset(row.name for row in found if not row.is_free)
    known = {row.name: row.id for row in found}
    ids = {name: known[name] or open_batch(connection, name) for name in names if name not in busy}
    return Destinations(ids, busy, dealt)


def add(
    connection: Connection, on: Destinations, rows: Sequence[tuple[str, NewJob]], times: JobTimes
) -> list[StandingJob | None]:
    """Add rows, each with the name of its batch, and return what stands under each name.

    None: the job that was there has left the database meanwhile; adding the row again adds it.
    """
    placed = [Placed(on.batches[batch], job, _account(on, job)) for batch, job in rows]
    # Two transactions that add the same names take them in the same order, so that neither waits for the other.
    in_order = sorted(placed, key=lambda one: (one.batch_id, one.job.custom_id))
    LineEnd(times).add(connection, in_order)
    found = read_job.named(connection, [(one.batch_id, one.job.custom_id) for one in placed])
    known = read_job.facts(connection, found.values(), new={one.job.id for one in placed})
    return [_standing(found.get((one.batch_id, one.job.custom_id)), one.job, known) for one in placed]


def _account(on: Destinations, job: NewJob) -> str:
    return on.dealing.account(job.provider, rotation_start())


def _standing(row: Mapping[str, Any] | None, job: NewJob, known: Mapping[UUID, JobFacts]) -> StandingJob | None:
    if row is None:
        return None
    is_same = row["provider"] == job.provider and bytes(row["fingerprint"]) == job.fingerprint
    return StandingJob(known[row["id"]], row["id"] == job.id, is_same)
