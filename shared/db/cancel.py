"""Cancelling what has not been paid for: free, and refused for everything else."""

from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.transitions import Claim, Move, move
from shared.lifecycle import JobState

_QUEUED = text("""
SELECT job.id, job.epoch FROM job JOIN batch ON batch.id = job.batch_id
WHERE job.state = 'queued' AND (CAST(:job AS uuid) IS NULL OR job.id = :job)
  AND (CAST(:batch AS text) IS NULL OR batch.name = :batch)
FOR NO KEY UPDATE OF job
""")


def cancel_queued(connection: Connection, *, job: UUID | None = None, batch: str | None = None, actor: str) -> int:
    """Cancel the queued jobs that match and return how many; what is bought or being bought goes on to its end.

    A sender that writes its intent at the same moment either finds the job cancelled or wins, and then it goes on.
    """
    found = connection.execute(_QUEUED, {"job": job, "batch": batch}).all()
    steps = [Move(Claim(row.id, row.epoch), JobState.QUEUED, JobState.CANCELLED) for row in found]
    return len(move(connection, steps, actor=actor))
