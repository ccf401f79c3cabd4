"""What the dispatcher asks: which due rows of an account may be worked on now."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Connection, text

from shared.db.transitions import Claim
from shared.lifecycle import JobState

_IN_HAND = text("""
SELECT state, count(*) AS jobs FROM job
WHERE account = :account AND claimed_by IS NOT NULL AND due_at > now() GROUP BY state
""")

_PAYING = text("""
SELECT account, count(*) AS jobs FROM job
WHERE claimed_by IS NOT NULL AND state IN ('queued', 'submitting') AND due_at > now() GROUP BY account
""")

# Work that was begun, and neither finished nor given back, ended with its worker. The first two crashes may be another
# job's: after one a job is a batch of its own, after two it runs one at a time, and only what follows is its own doing.
CRASHES: Final = "job.crashes + CASE WHEN job.company IS NULL THEN 0 ELSE 1 END"
"""SQL: the crashes of a job that is taken from whoever had it in hand."""
IN_COMPANY: Final = 2
"""So many crashes count for nobody."""

# Without statistics, just after a bulk load, the planner would fetch and sort the whole backlog for each claim: 90 ms
# at 100,000 rows. The partial indexes hold each stage's order, and reading from their start costs 0.5 ms.
_BY_INDEX = text("SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)")
_CLAIM = """
WITH picked AS MATERIALIZED (
  SELECT id FROM job WHERE account = :account AND {where} AND due_at <= now()
  ORDER BY {order} LIMIT :count FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE job SET epoch = epoch + 1, claimed_by = :worker, company = NULL, due_at = now() + :lease * interval '1 second',
  crashes = {crashes}
FROM picked WHERE job.id = picked.id
RETURNING job.id, job.epoch, job.turn, job.state, job.crashes
"""
_CLAIMS = {
    # IS TRUE keeps the planner from reading by way of the deadline's index, which has another order.
    "submit": text(
        _CLAIM.format(
            where="state = 'queued' AND NOT parked AND (deadline_at > now()) IS TRUE",
            order="priority DESC, turn",
            crashes=CRASHES,
        )
    ),
    "poll": text(_CLAIM.format(where="state IN ('pending', 'processing')", order="due_at", crashes=CRASHES)),
    "transfer": text(_CLAIM.format(where="state = 'transferring'", order="link_expires_at, due_at", crashes=CRASHES)),
    "reconcile": text(_CLAIM.format(where="state IN ('submitting', 'in_doubt')", order="due_at", crashes=CRASHES)),
}
_TURN = text("UPDATE account SET turn = greatest(turn, :turn) WHERE name = :account")

# A message that comes twice, or late, finds its jobs begun or gone.
_BEGIN = text("""
UPDATE job SET claimed_by = :worker, company = :company
FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
WHERE job.id = a.id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL AND job.company IS NULL
  AND job.state = ANY(CAST(:states AS text[])) AND job.due_at > clock_timestamp()
RETURNING job.id, job.epoch, job.state, job.crashes
""")

_EXPIRED = text("""
SELECT id, epoch FROM job WHERE state = 'queued' AND deadline_at <= now()
  AND (claimed_by IS NULL OR due_at <= now()) ORDER BY deadline_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
""")
_ABANDONED = text("""
SELECT id, epoch, state FROM job WHERE state IN ('pending', 'processing', 'transferring')
  AND collect_until <= now() - :grace * interval '1 second' AND due_at <= now()
LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
""")


@dataclass(frozen=True, slots=True)
class InHand:
    """How many jobs of an account workers hold right now, by stage."""

    queued: int
    submitting: int
    polling: int
    transferring: int

    @property
    def paying(self) -> int:
        """Jobs that are about to be paid for or are being paid for."""
        return self.queued + self.submitting


def in_hand(connection: Connection, account: str) -> InHand:
    """Count the claims of `account` whose lease still runs; exact under the account's lock."""
    counts = {row.state: int(row.jobs) for row in connection.execute(_IN_HAND, {"account": account})}
    return InHand(
        queued=counts.get("queued", 0),
        submitting=counts.get("submitting", 0),
        polling=counts.get("pending", 0) + counts.get("processing", 0),
        transferring=counts.get("transferring", 0),
    )


def paying(connection: Connection) -> dict[str, int]:
    """Return by account how many jobs are about to be paid for or are being paid for."""
    return {row.account: int(row.jobs) for row in connection.execute(_PAYING)}


@dataclass(frozen=True, slots=True)
class Suspect:
    """A job over which a worker died, and how many have since it last moved."""

    claim: Claim
    state: JobState
    crashes: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Claims that one task may take together, and `suspects`, which run alone."""

    together: tuple[Claim, ...] = ()
    suspects: tuple[Suspect, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Self:
        """Sort rows of (id, epoch, state, crashes)."""
        rows = list(rows)
        suspects = [Suspect(Claim(row.id, row.epoch), JobState(row.state), row.crashes) for row in rows if row.crashes]
        return cls(tuple(Claim(row.id, row.epoch) for row in rows if not row.crashes), tuple(suspects))


def claim(
    connection: Connection, stage: str, account: str, *, count: int, worker: str, lease_seconds: float
) -> Claimed:
    """Claim up to `count` due jobs of `account` for `stage`: their epoch rises and their lease begins."""
    if count <= 0:
        return Claimed()
    parameters = {"account": account, "count": count, "worker": worker, "lease": lease_seconds}
    connection.execute(_BY_INDEX)
    rows = connection.execute(_CLAIMS[stage], parameters).all()
    if stage == "submit" and rows:
        connection.execute(_TURN, {"account": account, "turn": max(row.turn for row in rows)})
    return Claimed.of(rows)


def begin(connection: Connection, claims: Sequence[Claim], *, states: Collection[JobState], worker: str) -> Claimed:
    """Take claimed jobs in hand: `worker` runs them from now on, so many beside each other.

    Returns those that nobody has begun yet and that still stand in `states`; for the others the message came too late.
    """
    parameters = {
        "worker": worker,
        "company": len(claims),
        "ids": [c.job_id for c in claims],
        "epochs": [c.epoch for c in claims],
        "states": [state.value for state in states],
    }
    return Claimed.of(connection.execute(_BEGIN, parameters))


def past_deadline(connection: Connection) -> list[Claim]:
    """Lock and return queued jobs that may buy nothing any more, at most 500; of every account, worker or not."""
    return [Claim(row.id, row.epoch) for row in connection.execute(_EXPIRED)]


def abandoned(connection: Connection, *, grace_seconds: float) -> list[tuple[Claim, JobState]]:
    """Lock and return bought jobs that nobody looked at since their last bound, `grace_seconds` ago; at most 500."""
    rows = connection.execute(_ABANDONED, {"grace": grace_seconds})
    return [(Claim(row.id, row.epoch), JobState(row.state)) for row in rows]
