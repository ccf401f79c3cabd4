"""Enqueueing: all rows of a batch in one transaction, or none; the same rows again add nothing."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import randrange
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.accounts import AccountRow, ensure
from shared.db.jobs.dealing import Dealing, dealing
from shared.db.jobs.insert_rows import JobTimes, LineEnd, NewJob, RowInsertion, in_chunks
from shared.db.payments import caps
from shared.db.waking import wake
from shared.ids import new_id
from shared.policies import OnUnknown
from shared.prompt_rows.ids import name_complaint
from shared.prompt_rows.ways import PROGRAM, Ways

__all__ = [
    "BatchTerms",
    "EnqueueConflictError",
    "Enqueued",
    "EnqueuedRow",
    "NewJob",
    "enqueue",
    "enqueued_rows",
]

# If the same batch is enqueued twice at once, the second waits for the first, however many rows that has.
_LONG_WAITS = text("SELECT set_config('statement_timeout', '15min', true), set_config('lock_timeout', '15min', true)")
_TURN_AND_BATCH = text("""
WITH turn AS MATERIALIZED (
  SELECT pg_advisory_xact_lock(hashtextextended('enqueue ' || :name, 0))
), added AS (
  INSERT INTO batch (id, name) SELECT :id, :name FROM turn ON CONFLICT (name) DO NOTHING RETURNING id
)
SELECT id FROM added UNION ALL SELECT id FROM batch WHERE name = :name
""")
_NEW_BATCH = text("INSERT INTO batch (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING")
_BATCH = text("SELECT id FROM batch WHERE name = :name")
_POLICY = text("UPDATE batch SET on_unknown = :on_unknown WHERE name = :batch AND on_unknown <> :on_unknown")
# LATERAL, so that each id is looked up by the unique index. A row's xmin is the transaction that wrote it.
_ENQUEUED: Final = text("""
SELECT a.custom_id, job.account, job.xmin = CAST(pg_current_xact_id() AS xid) AS is_new
FROM unnest(CAST(:custom_ids AS text[])) AS a (custom_id)
CROSS JOIN LATERAL (
  SELECT account, xmin FROM job WHERE batch_id = :batch AND custom_id = a.custom_id LIMIT 1
) AS job
""")
ROW_INVALID: Final = "row_invalid"
"""The code of a job whose row was wrong."""
# Rows by SQL that were refused for the name of their batch are failed jobs of a batch of that name. It does not count.
_HAS_JOBS: Final = text(f"""
SELECT EXISTS (SELECT FROM job JOIN batch ON batch.id = job.batch_id
  WHERE batch.name = :name AND job.error_code IS DISTINCT FROM '{ROW_INVALID}')
""")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NAMED = 5
_ROTATION = 720_720  # divisible by every number of accounts up to 16, so that each is as likely as another


class EnqueueConflictError(Exception):
    """Some custom_ids are already in the batch with another request; nothing was enqueued."""

    def __init__(self, batch: str, custom_ids: list[str]) -> None:
        self.batch = batch
        self.custom_ids = custom_ids
        super().__init__(self.told(PROGRAM))

    def told(self, ways: Ways) -> str:
        """Return the message in the words of a door."""
        names = ", ".join(self.custom_ids[:_NAMED]) + (", ..." if len(self.custom_ids) > _NAMED else "")
        return f"batch {self.batch!r} already holds {names} with a different request: {ways.changed}"


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """How a batch is handled: times in seconds, caps by provider in its unit.

    `on_unknown`: what happens to a lost call once its provider shows that nothing was bought: "hold" leaves it to a
    person, "resend" sends it again. None keeps the batch's policy. Caps of other providers stay.

    `bounded`: they come from a caller, and not from who operates the queue. They apply in full to a batch that the call
    makes. In an existing batch they only lower caps or set "hold", and only if the call adds a row: an old message that
    is repeated changes nothing.
    """

    deadline_seconds: float
    collect_seconds: float
    on_unknown: OnUnknown | None = None
    caps: Mapping[str, Decimal] | None = None
    bounded: bool = False

    @property
    def are_usual(self) -> bool:
        """Whether the batch keeps the policy and the caps that it has."""
        return self.on_unknown is None and self.caps is None

    @property
    def times(self) -> JobTimes:
        """How long the jobs have."""
        return JobTimes(self.deadline_seconds, self.collect_seconds)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What an enqueue did: rows given, how many of them were new, and whether it gave the batch another policy.

    `renewed`: how many jobs that were there got the metadata of their edited row.
    """

    batch_id: UUID
    given: int
    added: int
    policy_changed: bool = False
    renewed: int = 0


class EnqueuedRow(NamedTuple):
    """The job that a row stands for; `is_new`: this transaction added it."""

    custom_id: str
    account: str
    is_new: bool


def enqueue(
    connection: Connection,
    batch: str,
    jobs: Iterable[NewJob],
    accounts: Iterable[AccountRow],
    policy: BatchTerms,
) -> Enqueued:
    """Add the new ones of `jobs` to `batch`, streaming. The caller's transaction makes it one step.

    Raises `EnqueueConflictError` if a custom_id already stands for another request.
    """
    connection.execute(_LONG_WAITS)
    batch_id, is_new = _turn(connection, batch)
    dealt = dealing(connection)
    ensure(connection, (row for row in accounts if row.name not in dealt.known))
    insertion = RowInsertion(batch_id, LineEnd(policy.times))
    for chunk in in_chunks(_dealt(jobs, dealt)):
        insertion.add(connection, chunk)
        if insertion.conflicts:
            raise EnqueueConflictError(batch, insertion.conflicts)
    # Last, because payments for this batch wait for its row from here on.
    if is_new or not policy.bounded:
        changed = _set_terms(connection, batch, policy)
    else:
        changed = insertion.added > 0 and _tighten(connection, batch, policy)
    if not insertion.given:  # rows wake the dispatchers themselves
        wake(connection)
    return Enqueued(batch_id, insertion.given, insertion.added, changed)


def enqueued_rows(connection: Connection, batch_id: UUID, custom_ids: Sequence[str]) -> list[EnqueuedRow]:
    """Return what these rows stand for; call it in the transaction that enqueued them."""
    rows = connection.execute(_ENQUEUED, {"batch": batch_id, "custom_ids": list(custom_ids)})
    return [EnqueuedRow(*row) for row in rows]


def _set_terms(connection: Connection, batch: str, policy: BatchTerms) -> bool:
    """Give a batch its policy and its caps; tell whether the policy is another one."""
    changed = 0
    if policy.on_unknown is not None:
        changed = connection.execute(_POLICY, {"batch": batch, "on_unknown": policy.on_unknown}).rowcount
    if policy.caps is not None:
        caps.set_for(connection, batch, policy.caps)
    return changed > 0


def _tighten(connection: Connection, batch: str, policy: BatchTerms) -> bool:
    """Apply what a caller may ask of a batch that was there; tell whether the policy is another one."""
    changed = 0
    if policy.on_unknown == "hold":
        changed = connection.execute(_POLICY, {"batch": batch, "on_unknown": "hold"}).rowcount
    if policy.caps:
        caps.lower_for(connection, batch, policy.caps)
    return changed > 0


def _turn(connection: Connection, batch: str) -> tuple[UUID, bool]:
    """Wait for this batch's turn to be enqueued into; the turn ends with the transaction.

    Returns the batch's id, and whether this call made it.
    """
    named = {"id": new_id(), "name": batch}
    found = connection.execute(_TURN_AND_BATCH, named).scalar()
    # Somebody else made the batch while the statement waited: only a new statement sees it.
    found = found if found is not None else connection.execute(_TURN_AND_BATCH, named).scalar_one()
    return found, found == named["id"]


def new_name_complaint(connection: Connection, batch: str) -> str | None:
    """Say what is wrong with a batch's name; None if nothing is, or if the batch has jobs already."""
    complaint = name_complaint(batch)
    if complaint is None or _UNSTORABLE.search(batch):
        return complaint
    return None if connection.execute(_HAS_JOBS, {"name": batch}).scalar_one() else complaint


def open_batch(connection: Connection, name: str) -> UUID:
    """Return the id of a batch, which is made if nobody else makes it."""
    connection.execute(_NEW_BATCH, {"id": new_id(), "name": name})
    found: UUID = connection.execute(_BATCH, {"name": name}).scalar_one()
    return found


def rotation_start() -> int:
    """Return the position in the rotation of accounts at which an enqueue begins: any."""
    return randrange(_ROTATION)  # noqa: S311 - any start is as good


def _dealt(jobs: Iterable[NewJob], dealt: Dealing) -> Iterator[tuple[NewJob, str]]:
    """Yield each row with the account that takes it.

    Where the rotation starts is drawn: many who enqueue one row each would otherwise give them all to one account.
    """
    return ((job, dealt.account(job.provider, position)) for position, job in enumerate(jobs, rotation_start()))
