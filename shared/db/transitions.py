"""The one way a job changes state: a guarded UPDATE that says whether it won, with its event, in one statement."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import FINAL, JobState, check_transition

# A job cancelled after its purchase is followed to its end; what would pay again, or end otherwise, ends it so.
_STOPS = "(job.cancel_requested_at IS NOT NULL AND asked.after IN ('queued', 'succeeded', 'failed'))"
_MOVE = text(f"""
WITH asked AS (
  SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:epochs AS integer[]), CAST(:befores AS text[]), CAST(:afters AS text[]),
    CAST(:dues AS double precision[]), CAST(:codes AS text[]), CAST(:notes AS text[]), CAST(:tries AS integer[]),
    CAST(:claimants AS text[]), CAST(:links AS timestamptz[]), CAST(:parked AS boolean[]),
    CAST(:held AS boolean[])
  ) AS a (id, epoch, before, after, due, code, note, tries, claimant, link, parked, held)
), moved AS (
  UPDATE job SET
    state = CASE WHEN {_STOPS} THEN 'cancelled' ELSE asked.after END,
    due_at = CASE WHEN NOT {_STOPS} THEN now() + asked.due * interval '1 second' END,
    finished_at = CASE WHEN asked.due IS NULL OR {_STOPS} THEN now() END,
    claimed_by = asked.claimant,
    company = CASE WHEN asked.claimant IS NOT NULL THEN job.company END,
    crashes = 0,
    parked = asked.parked,
    tries = asked.tries,
    link_expires_at = coalesce(asked.link, job.link_expires_at),
    error_code = asked.code,
    error = asked.note
  FROM asked
  WHERE job.id = asked.id AND job.epoch = asked.epoch AND job.state = asked.before
    AND (job.claimed_by IS NOT NULL OR NOT asked.held)
  RETURNING job.id, job.epoch, asked.before, job.state AS after, asked.code, asked.note
), told AS (
  INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
  SELECT id, epoch, before, after, :actor, code, note FROM moved WHERE before <> after OR code IS NOT NULL
)
SELECT id FROM moved
""")

_RELEASE = text("""
UPDATE job SET due_at = now() + :due * interval '1 second', claimed_by = NULL, company = NULL,
  crashes = CASE WHEN :done THEN 0 ELSE job.crashes END
FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
WHERE job.id = a.id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL AND job.due_at IS NOT NULL
  AND job.state = ANY(CAST(:states AS text[]))
""")

_RENEW = text("""
UPDATE job SET due_at = now() + :lease * interval '1 second'
WHERE id = :id AND epoch = :epoch AND claimed_by IS NOT NULL AND due_at IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A job as a message names it: whoever holds another epoch moves nothing."""

    job_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Move:
    """One transition asked for.

    `due_seconds` from now is when someone must look again; None exactly when `after` is final.
    `tries` counts the looks or failures in a row that the next backoff is computed from. `keep_claim` makes the actor
    the claimant: the job is in its hands for as long as the lease runs, and free at once when that worker is gone.
    `parked` leaves the job to a person: out of the line if it is queued, held if it is in doubt. `needs_claim` moves it
    only while somebody holds it: two polls of one claim must not both act on what they learned.
    """

    claim: Claim
    before: JobState
    after: JobState
    due_seconds: float | None = None
    code: str | None = None
    note: str | None = None
    tries: int = 0
    keep_claim: bool = False
    link_expires_at: datetime | None = None
    parked: bool = False
    needs_claim: bool = False

    def __post_init__(self) -> None:
        check_transition(self.before, self.after)
        if (self.due_seconds is None) != (self.after in FINAL):
            raise ValueError(f"{self.after} {'has no' if self.after in FINAL else 'needs a'} due time")


def move(connection: Connection, moves: Iterable[Move], *, actor: str) -> set[UUID]:
    """Try each transition and return the ids of the jobs that moved; the others had moved on before.

    A job whose cancelling was asked for ends as `cancelled` where it would end otherwise, or be paid for again.
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
            # Of one type: an array of whole and broken numbers cannot be sent.
            "dues": [None if m.due_seconds is None else float(m.due_seconds) for m in moves],
            "codes": [m.code for m in moves],
            "notes": [m.note for m in moves],
            "tries": [m.tries for m in moves],
            "claimants": [actor if m.keep_claim else None for m in moves],
            "links": [m.link_expires_at for m in moves],
            "parked": [m.parked for m in moves],
            "held": [m.needs_claim for m in moves],
        },
    )
    return set(rows.scalars())


def release(
    connection: Connection,
    claims: Iterable[Claim],
    *,
    states: Collection[JobState],
    due_seconds: float = 0,
    done: bool = False,
) -> None:
    """Give claims back untouched: the jobs are due again after `due_seconds`, nothing counted against them.

    Only jobs that still stand in `states`: a message delivered twice must not end the lease of a call being paid.
    `done` says that all was done that they were claimed for, so that they are not what ended workers before.
    """
    claims = list(claims)
    connection.execute(
        _RELEASE,
        {
            "due": due_seconds,
            "done": done,
            "ids": [c.job_id for c in claims],
            "epochs": [c.epoch for c in claims],
            "states": [state.value for state in states],
        },
    )


def renew(connection: Connection, claim: Claim, *, lease_seconds: float) -> None:
    """Prolong a lease whose work goes on; nothing happens where somebody else holds the job by now."""
    connection.execute(_RENEW, {"id": claim.job_id, "epoch": claim.epoch, "lease": lease_seconds})
