"""Cancels jobs: free before the intent. After it, the purchase is followed to its end, stored and accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs import bulk, leftovers
from shared.db.jobs.bulk import BulkPlan, Which
from shared.db.jobs.transitions import Claim, Move, move
from shared.lifecycle import FINAL, JobState

# Skipping locked jobs keeps this from waiting for them in another lock order.
_OPEN = """job.due_at IS NOT NULL AND job.cancel_requested_at IS NULL"""
_LOCKED = text(f"""
SELECT id, epoch, state, on_hold, error_code FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND {_OPEN}
FOR NO KEY UPDATE SKIP LOCKED
""")
_LEFT = f"SELECT EXISTS (SELECT 1 FROM job WHERE {_OPEN} AND {{which}})"
_ALL = text(f"""
SELECT id, epoch, state, on_hold FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND {_OPEN} ORDER BY id
""")
_NOT_ENDED = tuple(state for state in JobState if state not in FINAL)
_REQUEST = text("""
WITH asked AS (
  UPDATE job SET cancel_requested_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id, epoch, state
)
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, state, state, :actor, 'cancel_requested', 'bought, or being bought: followed to its end' FROM asked
""")
CHUNK: Final = 500
CANCEL: Final = "cancel"
FOLLOW: Final = "follow"
HELD: Final = "held"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How many jobs ended free, how many are followed to their end, and whether some remain.

    Of the followed jobs, `held` wait for a person. `after` is the job after which the next call begins.
    """

    ended: int
    followed: int
    more: bool
    held: int = 0
    after: UUID = bulk.NIL


def plan(connection: Connection, which: Which) -> BulkPlan:
    """Return the matching jobs that have not ended, by the effect of cancelling; changes nothing."""
    acts = [
        (Claim(row.id, row.epoch), _act(JobState(row.state), on_hold=row.on_hold))
        for some in bulk.pages(connection, which, _NOT_ENDED)
        for row in connection.execute(_ALL, {"ids": some}).all()
    ]
    # A job that moves meanwhile must still be cancelled, so only its id marks a target.
    targets = tuple(replace(target, mark="") for target in bulk.describe(connection, acts))
    return BulkPlan("cancel", targets, bulk.now(connection), which=which)


def _act(state: JobState, *, on_hold: bool) -> str:
    if state is JobState.QUEUED:
        return CANCEL
    return HELD if state is JobState.IN_DOUBT and on_hold else FOLLOW


def cancel(
    connection: Connection,
    *,
    job: UUID | None = None,
    batch: str | None = None,
    ids: Sequence[UUID] | None = None,
    after: UUID = bulk.NIL,
    actor: str,
) -> Cancelled:
    """Cancel up to 500 matching jobs that have not ended; repeat after `after` while there are `more`.

    A sender that writes its intent at the same moment either finds the job cancelled, or wins, and the job is followed.
    """
    which = Which(job=job, batch=batch, ids=ids)
    some = bulk.page(connection, which, _NOT_ENDED, after=after, limit=CHUNK)
    found = connection.execute(_LOCKED, {"ids": some}).all()
    free = [row for row in found if _is_free(row)]
    bought = [row.id for row in found if not _is_free(row)]
    steps = [Move(Claim(row.id, row.epoch), JobState(row.state), JobState.CANCELLED) for row in free]
    ended = move(connection, steps, actor=actor)
    if bought:
        connection.execute(_REQUEST, {"ids": bought, "actor": actor})
    held = sum(row.on_hold and row.state == JobState.IN_DOUBT for row in found if not _is_free(row))
    if len(some) == CHUNK:
        return Cancelled(len(ended), len(bought), more=True, held=held, after=some[-1])
    # At the end, jobs that others held are tried once more, from the beginning.
    left = connection.execute(text(_LEFT.format(which=which.sql)), which.parameters()).scalar_one()
    return Cancelled(len(ended), len(bought), more=bool(left), held=held)


def _is_free(row: Any) -> bool:
    """Tell whether nothing real was bought for a job, so that there is nothing to follow."""
    return bool(row.state == JobState.QUEUED or (row.on_hold and row.error_code == leftovers.CODE))
