"""Enqueueing: all rows of a batch in one transaction, or none; the same rows again add nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import randrange
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.accounts import AccountRow, ensure
from shared.db.jobs.arriving import Arrivals, NewJob, in_chunks
from shared.db.jobs.dealing import Dealing, dealing
from shared.db.payments import caps
from shared.ids import new_id
from shared.policies import OnUnknown

__all__ = [
    "WAKE_CHANNEL",
    "BatchTerms",
    "EnqueueConflictError",
    "Enqueued",
    "NewJob",
    "enqueue",
    "wake",
]

WAKE_CHANNEL = "genqueue_due"
"""Dispatchers LISTEN here; a lost notice costs one tick."""

_TURN_TO_ENQUEUE = text("SELECT pg_advisory_xact_lock(hashtextextended('enqueue ' || :name, 0))")
_BATCH = text("""
WITH added AS (INSERT INTO batch (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING RETURNING id)
SELECT id FROM added UNION ALL SELECT id FROM batch WHERE name = :name
""")
_POLICY = text("UPDATE batch SET on_unknown = :on_unknown WHERE id = :batch AND on_unknown <> :on_unknown")
_NAMED = 5
_TURNS = 720_720  # divisible by every number of accounts up to 16, so that each is as likely as another
_NOTIFY = text(f"NOTIFY {WAKE_CHANNEL}")


class EnqueueConflictError(Exception):
    """Some custom_ids are already in the batch with another request; nothing was enqueued."""

    def __init__(self, batch: str, custom_ids: list[str]) -> None:
        self.custom_ids = custom_ids
        names = ", ".join(custom_ids[:_NAMED]) + (", ..." if len(custom_ids) > _NAMED else "")
        super().__init__(
            f"batch {batch!r} already holds {names} with a different request: "
            "--changed buys changed rows as new revisions, another batch name buys all rows again"
        )


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """How a batch is handled: times in seconds, caps by provider in its unit.

    `on_unknown`: what happens to a lost call once its provider shows that nothing was bought: "hold" leaves it to a
    person, "resend" sends it again. None keeps the batch's policy. Caps of other providers stay.
    """

    deadline_seconds: float
    collect_seconds: float
    on_unknown: OnUnknown | None = None
    caps: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What an enqueue did: rows given, how many of them were new, and whether it gave the batch another policy."""

    batch_id: UUID
    given: int
    added: int
    policy_changed: bool = False


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
    # If the same batch is enqueued twice at once, the second waits here for the first, however many rows that has.
    connection.execute(text("SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = '15min'"))
    ensure(connection, accounts)
    connection.execute(_TURN_TO_ENQUEUE, {"name": batch})
    batch_id: UUID = connection.execute(_BATCH, {"id": new_id(), "name": batch}).scalar_one()
    arrivals = Arrivals(batch_id, policy.deadline_seconds, policy.collect_seconds)
    for chunk in in_chunks(_dealt(jobs, dealing(connection))):
        arrivals.add(connection, chunk)
        if arrivals.conflicts:
            raise EnqueueConflictError(batch, arrivals.conflicts)
    # Last, because payments for this batch wait for its row from here on.
    changed = 0
    if policy.on_unknown is not None:
        changed = connection.execute(_POLICY, {"batch": batch_id, "on_unknown": policy.on_unknown}).rowcount
    if policy.caps is not None:
        caps.set_for(connection, batch, policy.caps)
    wake(connection)
    return Enqueued(batch_id, arrivals.given, arrivals.added, changed > 0)


def wake(connection: Connection) -> None:
    """Tell the dispatchers, once this transaction commits, that something is due."""
    connection.execute(_NOTIFY)


def _dealt(jobs: Iterable[NewJob], dealt: Dealing) -> Iterator[tuple[NewJob, str]]:
    """Yield each row with the account that takes it.

    The first row's turn is drawn: many who enqueue one row each would otherwise give them all to one account.
    """
    first = randrange(_TURNS)  # noqa: S311 - any turn is as good
    return ((job, dealt.account(job.provider, position)) for position, job in enumerate(jobs, first))
