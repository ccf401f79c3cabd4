"""Changes a batch's policy for lost calls, when a person asks. Workers then look again at its held jobs.

The new look decides: no reading from before the change sends anything.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.transitions import Claim
from shared.policies import OnUnknown

_OF = text("SELECT on_unknown FROM batch WHERE name = :name")
_SET = text("UPDATE batch SET on_unknown = :policy WHERE name = :name")
_IN_DOUBT = text("""
SELECT job.id, job.epoch FROM job JOIN batch ON batch.id = job.batch_id
WHERE batch.name = :name AND job.state = 'in_doubt' AND (job.on_hold OR job.claimed_by IS NOT NULL)
  AND job.due_at > now() ORDER BY job.id
""")
# If a worker is looking at a job now, the job keeps its lease, because ending it would count as that worker's death. It
# stays on hold until the look is over, so that people still see it as held. A higher epoch shows that a later look
# began.
_DUE = text("""
WITH held AS (
  SELECT job.id FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
    ON job.id = a.id AND job.epoch = a.epoch
  WHERE job.state = 'in_doubt' AND job.on_hold AND job.claimed_by IS NULL
  ORDER BY job.id FOR NO KEY UPDATE OF job
), due AS (
  UPDATE job SET due_at = now() FROM held WHERE job.id = held.id RETURNING job.id, job.epoch
)
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, 'in_doubt', 'in_doubt', :actor, :code, :note FROM due
""")
_BUSY = text("""
SELECT job.id, job.epoch FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
WHERE job.state = 'in_doubt' AND (job.on_hold OR job.claimed_by IS NOT NULL) AND job.due_at > now() ORDER BY job.id
""")
_HELD_BY_POLICY = text("""
SELECT batch.name, count(*) AS jobs FROM job JOIN batch ON batch.id = job.batch_id
WHERE job.on_hold AND job.state = 'in_doubt' AND job.cancel_requested_at IS NULL AND batch.on_unknown = 'hold'
  AND job.provider = ANY(CAST(:providers AS text[])) AND (CAST(:name AS text) IS NULL OR batch.name = :name)
GROUP BY batch.name ORDER BY count(*) DESC, batch.name
""")
CHANGED: Final = "policy_changed"


class HeldByPolicy(NamedTuple):
    """A batch with the policy `hold`, and the number of its held jobs that `resend` might release."""

    batch: str
    jobs: int


def of_batch(connection: Connection, batch: str) -> OnUnknown:
    """Return a batch's policy; the batch must be there."""
    found: OnUnknown = connection.execute(_OF, {"name": batch}).scalar_one()
    return found


def change(connection: Connection, batch: str, policy: OnUnknown) -> None:
    """Set a batch's policy: every decision after the commit uses it."""
    connection.execute(_SET, {"name": batch, "policy": policy})


def in_doubt(connection: Connection, batch: str) -> list[Claim]:
    """Return the jobs of a batch that are held and not due, or that a worker is looking at."""
    return [Claim(row.id, row.epoch) for row in connection.execute(_IN_DOUBT, {"name": batch})]


def look_anew(connection: Connection, claims: Sequence[Claim], policy: OnUnknown, *, actor: str) -> int:
    """Make the held ones due for a new look at once; return their number."""
    note = f"the batch's policy is now {policy}: workers look again"
    return connection.execute(_DUE, {**_named(claims), "actor": actor, "code": CHANGED, "note": note}).rowcount


def busy(connection: Connection, claims: Sequence[Claim]) -> list[Claim]:
    """Return the jobs whose look began before the change, and runs or has just ended.

    Such a look may have used the old policy.
    """
    return [Claim(row.id, row.epoch) for row in connection.execute(_BUSY, _named(claims))]


def held_by_policy(
    connection: Connection, providers: Collection[str], *, batch: str | None = None
) -> list[HeldByPolicy]:
    """Return the batches whose policy `hold` keeps jobs of these providers held, most jobs first."""
    rows = connection.execute(_HELD_BY_POLICY, {"providers": list(providers), "name": batch})
    return [HeldByPolicy(row.name, row.jobs) for row in rows]


def _named(claims: Sequence[Claim]) -> dict[str, list[UUID] | list[int]]:
    return {"ids": [claim.job_id for claim in claims], "epochs": [claim.epoch for claim in claims]}
