"""Changes a job's state: one statement with a guarded UPDATE, its event, and the ids of the jobs that moved.

Only `leftovers` changes states elsewhere. Each move also sets, or clears, what belongs to the state:

- the claim is dropped, unless the move keeps it for its `actor`; the count of crashes becomes zero;
- the hold, the code and note of the error, and the number of tries become those of the move;
- the job is due no later than its deadline, or its collection deadline once it is bought;
- a cancelled job ends as `cancelled` where the move would end it otherwise, or pay again.

Triggers keep the counts and the news for webhooks. One call has at most one move of each job.
"""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.late_log import LateLogger
from shared.lifecycle import JobState
from shared.moves import Claim, Move

__all__ = ["Claim", "Move", "give_back", "move", "renew"]

_log = LateLogger(__name__)
PERSON: Final = "person"
"""The actor of what people command; their own program tells them."""
_NAMED: Final = 5

# A job cancelled after its purchase is followed to its end. A move that would pay again or end it ends it as cancelled.
_STOPS = "(job.cancel_requested_at IS NOT NULL AND asked.after IN ('queued', 'succeeded', 'failed'))"
# A purchase may be asked for every few minutes for a week, so the reason of a wait is an event only when it changes.
_TOLD_ONCE = "('pending', 'processing', 'transferring')"
_MOST_SECONDS = 10 * 365 * 86_400  # beyond it a wait would leave the range of times


def _due(seconds: str, state: str) -> str:
    """Return SQL for when a job is due again: never after the deadline of its `state`, whatever a server asked for.

    After that deadline the wait is at most a minute: a worker must end the job soon, but not at every tick.
    """
    wait = f"least(greatest({seconds}, 0), {_MOST_SECONDS})"
    return f"""CASE WHEN {state} IN ('queued', 'pending', 'processing', 'transferring')
      THEN least(now() + {wait} * interval '1 second', greatest(
        CASE {state} WHEN 'queued' THEN job.deadline_at ELSE job.collect_until END,
        now() + least({wait}, 60) * interval '1 second'))
      ELSE now() + {wait} * interval '1 second' END"""


_MOVE = text(f"""
WITH asked AS (
  SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:epochs AS integer[]), CAST(:befores AS text[]), CAST(:afters AS text[]),
    CAST(:dues AS double precision[]), CAST(:codes AS text[]), CAST(:notes AS text[]), CAST(:tries AS integer[]),
    CAST(:claimants AS text[]), CAST(:links AS timestamptz[]), CAST(:on_hold AS boolean[]),
    CAST(:needs_claim AS boolean[])
  ) AS a (id, epoch, before, after, due, code, note, tries, claimant, link, on_hold, needs_claim)
), moved AS (
  UPDATE job SET
    state = CASE WHEN {_STOPS} THEN 'cancelled' ELSE asked.after END,
    due_at = CASE WHEN asked.due IS NULL OR {_STOPS} THEN NULL
      WHEN asked.claimant IS NOT NULL THEN now() + asked.due * interval '1 second'
      ELSE {_due("asked.due", "asked.after")} END,
    finished_at = CASE WHEN asked.due IS NULL OR {_STOPS} THEN now() END,
    claimed_by = asked.claimant,
    begun_together = CASE WHEN asked.claimant IS NOT NULL THEN job.begun_together END,
    crashes = 0,
    on_hold = asked.on_hold,
    tries = asked.tries,
    link_expires_at = coalesce(asked.link, job.link_expires_at),
    error_code = asked.code,
    error = asked.note
  FROM asked JOIN job AS old ON old.id = asked.id
  WHERE job.id = asked.id AND job.epoch = asked.epoch AND job.state = asked.before
    AND (job.claimed_by IS NOT NULL OR NOT asked.needs_claim)
  RETURNING job.id, job.epoch, asked.before, job.state AS after, asked.code, asked.note, old.error_code AS was
), told AS (
  INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
  SELECT id, epoch, before, after, :actor, code, note FROM moved
  WHERE before <> after OR (code IS NOT NULL AND (code IS DISTINCT FROM was OR after NOT IN {_TOLD_ONCE}))
)
SELECT id FROM moved
""")

_RELEASE = text(f"""
UPDATE job SET due_at = {_due("CAST(:due AS double precision)", "job.state")}, claimed_by = NULL, begun_together = NULL,
  crashes = CASE WHEN :done THEN 0 ELSE job.crashes END
FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
WHERE job.id = a.id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL AND job.due_at IS NOT NULL
  AND job.state = ANY(CAST(:states AS text[])) AND job.account = coalesce(CAST(:account AS text), job.account)
""")

_RENEW = text("""
UPDATE job SET due_at = now() + :lease * interval '1 second'
WHERE id = :id AND epoch = :epoch AND claimed_by IS NOT NULL AND due_at IS NOT NULL
  AND account = coalesce(CAST(:account AS text), account)
""")


def move(connection: Connection, moves: Iterable[Move], *, actor: str) -> set[UUID]:
    """Try each transition and return the ids of the jobs that moved; the others had already moved.

    A cancelled job ends as `cancelled` if the transition would end it otherwise or pay for it again.
    """
    moves = list(moves)
    if not moves:
        return set()
    rows = connection.execute(
        _MOVE,
        {
            "actor": actor,
            "ids": [m.claim.job_id for m in moves],
            "epochs": [m.claim.epoch for m in moves],
            "befores": [m.before.value for m in moves],
            "afters": [m.after.value for m in moves],
            # All of one type, because an array of integers and fractions cannot be sent.
            "dues": [None if m.due_seconds is None else float(m.due_seconds) for m in moves],
            "codes": [m.code for m in moves],
            "notes": [m.note for m in moves],
            "tries": [m.tries for m in moves],
            "claimants": [actor if m.keep_claim else None for m in moves],
            "links": [m.link_expires_at for m in moves],
            "on_hold": [m.on_hold for m in moves],
            "needs_claim": [m.needs_claim for m in moves],
        },
    )
    moved = set(rows.scalars())
    if actor != PERSON:
        _tell(moved, moves)
    return moved


def _tell(moved: Collection[UUID], moves: Iterable[Move]) -> None:
    """Log the jobs that come in doubt or are held, one line for each reason."""
    found: dict[tuple[bool, str | None, str | None], list[str]] = {}
    for step in moves:
        doubted = step.after is JobState.IN_DOUBT and step.before is not JobState.IN_DOUBT
        if step.claim.job_id in moved and (step.on_hold or doubted):
            found.setdefault((step.on_hold, step.code, step.note), []).append(str(step.claim.job_id))
    for (held, code, note), jobs in found.items():
        about = {"code": code, "said": note, "jobs": len(jobs), "first": jobs[:_NAMED]}
        if held:
            _log.warning("jobs_held", **about)
        else:
            _log.warning("jobs_in_doubt", **about)


def give_back(
    connection: Connection,
    claims: Iterable[Claim],
    *,
    states: Collection[JobState],
    account: str | None = None,
    due_seconds: float = 0,
    done: bool = False,
) -> None:
    """Give claims back untouched: the jobs are due again after `due_seconds`, and nothing counts against them.

    Only jobs that are still in `states`: a repeated message must not end the lease of a paid call.
    With `account`, only its jobs, because the claims of a message may name any job.
    `done` says that the work they were claimed for is done, so that they did not kill their worker.
    """
    claims = list(claims)
    if not claims:
        return
    connection.execute(
        _RELEASE,
        {
            "due": due_seconds,
            "done": done,
            "account": account,
            "ids": [c.job_id for c in claims],
            "epochs": [c.epoch for c in claims],
            "states": [state.value for state in states],
        },
    )


def renew(connection: Connection, claim: Claim, *, lease_seconds: float, account: str | None = None) -> bool:
    """Extend a lease whose work goes on; False if another worker or another account has the job."""
    parameters = {"id": claim.job_id, "epoch": claim.epoch, "lease": lease_seconds, "account": account}
    return connection.execute(_RENEW, parameters).rowcount == 1
