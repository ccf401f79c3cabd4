"""Cancelling: free before the intent; after it, what is bought is followed to its end, stored and accounted for."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.transitions import Claim, Move, move
from shared.lifecycle import JobState

# Skipping what others hold just now keeps this from waiting for them in another order than theirs.
_OPEN = text("""
SELECT job.id, job.epoch, job.state, job.parked FROM job JOIN batch ON batch.id = job.batch_id
WHERE job.due_at IS NOT NULL AND job.cancel_requested_at IS NULL
  AND (CAST(:job AS uuid) IS NULL OR job.id = :job) AND (CAST(:batch AS text) IS NULL OR batch.name = :batch)
LIMIT :limit FOR NO KEY UPDATE OF job SKIP LOCKED
""")
_LEFT = text("""
SELECT EXISTS (SELECT 1 FROM job JOIN batch ON batch.id = job.batch_id
  WHERE job.due_at IS NOT NULL AND job.cancel_requested_at IS NULL
    AND (CAST(:job AS uuid) IS NULL OR job.id = :job) AND (CAST(:batch AS text) IS NULL OR batch.name = :batch))
""")
_REQUEST = text("""
WITH asked AS (
  UPDATE job SET cancel_requested_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id, epoch, state
)
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, state, state, :actor, 'cancel_requested', 'bought, or being bought: followed to its end' FROM asked
""")
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How many jobs ended free of charge, how many are followed to their end, and whether some are still to do.

    Of those followed, `held` wait for a person's word all the same.
    """

    ended: int
    followed: int
    more: bool
    held: int = 0


def cancel(connection: Connection, *, job: UUID | None = None, batch: str | None = None, actor: str) -> Cancelled:
    """Cancel up to 500 of the jobs that match and have not ended; repeat while there are `more`.

    A sender that writes its intent at the same moment either finds the job cancelled, or wins: then it is followed.
    """
    which = {"job": job, "batch": batch}
    found = connection.execute(_OPEN, {**which, "limit": _CHUNK}).all()
    free = [row for row in found if row.state == JobState.QUEUED]
    bought = [row.id for row in found if row.state != JobState.QUEUED]
    steps = [Move(Claim(row.id, row.epoch), JobState.QUEUED, JobState.CANCELLED) for row in free]
    ended = move(connection, steps, actor=actor)
    if bought:
        connection.execute(_REQUEST, {"ids": bought, "actor": actor})
    held = sum(row.parked and row.state == JobState.IN_DOUBT for row in found)
    return Cancelled(len(ended), len(bought), bool(connection.execute(_LEFT, which).scalar_one()), held)
