"""What the dispatcher asks: which due rows of an account may be worked on now."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Connection, Row, text

from shared.db.jobs.leftovers import NOT_A_LEFTOVER
from shared.db.jobs.transitions import Claim
from shared.lifecycle import JobState, Stage

_IN_HAND = text("""
SELECT state, count(*) AS jobs FROM job
WHERE account = :account AND claimed_by IS NOT NULL AND due_at > now() GROUP BY state
""")

_PAYING = text("""
SELECT account, count(*) AS jobs FROM job
WHERE claimed_by IS NOT NULL AND state IN ('queued', 'submitting') AND due_at > now() GROUP BY account
""")

# If a job was begun and neither finished nor given back, its worker died. Another job beside it may have caused its
# first two crashes. After one crash it gets its own message; after two, such jobs run one at a time. The job itself
# causes each further crash.
CRASHES_SQL: Final = "job.crashes + CASE WHEN job.begun_together IS NULL THEN 0 ELSE 1 END"
"""SQL: the number of crashes of a job that is taken from its worker: one more if the worker had begun it."""
NOT_YET_ITS_OWN: Final = 2
"""The number of first crashes of a job that another job beside it may have caused."""

# Without statistics, just after a bulk load, the planner would fetch and sort the whole backlog for each claim: 90 ms
# at 100,000 rows. The partial indexes hold each stage's order, and reading from their start costs 0.5 ms.
BY_INDEX = text("SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)")
_CLAIM = """
WITH picked AS MATERIALIZED (
  SELECT id FROM job WHERE account = :account AND {where} AND due_at <= now()
  ORDER BY {order} LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE job SET epoch = epoch + 1, claimed_by = :worker, begun_together = NULL,
  due_at = now() + :lease * interval '1 second',
  crashes = {crashes}
FROM picked WHERE job.id = picked.id
RETURNING job.id, job.epoch, job.fair_position, job.state, job.crashes
"""
_USUAL: Final = {"crashes": CRASHES_SQL, "limit": ":count"}
_CLAIMS = {
    # IS TRUE keeps the planner from using the deadline's index, which has another order.
    Stage.SUBMIT: text(
        _CLAIM.format(
            where="state = 'queued' AND NOT on_hold AND (deadline_at > now()) IS TRUE",
            order="priority DESC, fair_position",
            **_USUAL,
        )
    ),
    Stage.POLL: text(
        _CLAIM.format(where=f"state IN ('pending', 'processing') AND {NOT_A_LEFTOVER}", order="due_at", **_USUAL)
    ),
    Stage.TRANSFER: text(
        _CLAIM.format(
            where=f"state = 'transferring' AND {NOT_A_LEFTOVER}",
            order="link_expires_at, due_at",
            **_USUAL,
        )
    ),
    Stage.RECONCILE: text(
        _CLAIM.format(where=f"state IN ('submitting', 'in_doubt') AND {NOT_A_LEFTOVER}", order="due_at", **_USUAL)
    ),
}
# Otherwise high priorities or new batches without end would keep a job back for good. A claim of one job cannot be
# split: it takes the oldest job with a probability of `part`.
_OLDEST = text(
    _CLAIM.format(
        where="state = 'queued' AND NOT on_hold AND (deadline_at > now()) IS TRUE "
        "AND created_at < now() - :long * interval '1 second'",
        order="created_at",
        limit="CAST(floor(:count * :part + random()) AS bigint)",
        crashes=CRASHES_SQL,
    )
)
_LONG_SECONDS: Final = 3600.0
_OLDEST_PART: Final = 0.25
_FAIR_POSITION = text("UPDATE account SET fair_position = greatest(fair_position, :position) WHERE name = :account")

# A repeated or late message finds its jobs begun or gone.
_BEGIN = text("""
UPDATE job SET claimed_by = :worker, begun_together = :begun_together,
  due_at = greatest(job.due_at, now() + :lease * interval '1 second')
FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
WHERE job.id = a.id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL AND job.begun_together IS NULL
  AND job.state = ANY(CAST(:states AS text[])) AND job.due_at > clock_timestamp() AND job.account = :account
RETURNING job.id, job.epoch, job.state, job.crashes
""")

# Anyone with access to the broker can send a message. Its account must be the row's, or one would pay for another.
_FOREIGN = text("SELECT count(*) FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND account <> :account")

OVERDUE_SQL: Final = f"""
FROM job WHERE state = 'queued' AND deadline_at <= now() AND {NOT_A_LEFTOVER}
  AND (claimed_by IS NULL OR due_at <= now()) ORDER BY deadline_at
"""
"""SQL: queued jobs past their deadline that no worker holds, earliest deadline first."""
_OVERDUE = text(f"SELECT id, epoch {OVERDUE_SQL} LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED")
_ABANDONED = text(f"""
SELECT id, epoch, state FROM job WHERE state IN ('pending', 'processing', 'transferring') AND {NOT_A_LEFTOVER}
  AND collect_until <= now() - :grace * interval '1 second' AND due_at <= now() ORDER BY collect_until
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
    """A job whose worker died, and the number of such deaths since it last moved."""

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
    connection: Connection, stage: Stage, account: str, *, count: int, worker: str, lease_seconds: float
) -> Claimed:
    """Claim up to `count` due jobs of `account` for `stage`: their epoch rises and their lease begins."""
    if count <= 0:
        return Claimed()
    parameters = {"account": account, "count": count, "worker": worker, "lease": lease_seconds}
    connection.execute(BY_INDEX)
    oldest = _claim_oldest(connection, parameters) if stage is Stage.SUBMIT else ()
    rows = connection.execute(_CLAIMS[stage], {**parameters, "count": count - len(oldest)}).all()
    if stage is Stage.SUBMIT and rows:
        connection.execute(_FAIR_POSITION, {"account": account, "position": max(row.fair_position for row in rows)})
    return Claimed.of((*oldest, *rows))


def _claim_oldest(connection: Connection, parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Claim a quarter by age, of jobs that have waited for an hour, whatever their priority and their batch.

    The account's fair position stays: such a job's place says nothing about the others.
    """
    return connection.execute(_OLDEST, {**parameters, "long": _LONG_SECONDS, "part": _OLDEST_PART}).all()


def begin(
    connection: Connection,
    account: str,
    claims: Sequence[Claim],
    *,
    states: Collection[JobState],
    worker: str,
    lease_seconds: float = 0.0,
) -> Claimed:
    """Begin claimed jobs of `account`: `worker` runs them from now on, all of them together.

    The lease runs for at least `lease_seconds` from now on: the wait in the broker does not count.

    Returns the jobs that nobody has begun yet and that are still in `states`. For the others the message came too late
    or named another account.
    """
    parameters = {
        "account": account,
        "worker": worker,
        "begun_together": len(claims),
        "lease": lease_seconds,
        "ids": [c.job_id for c in claims],
        "epochs": [c.epoch for c in claims],
        "states": [state.value for state in states],
    }
    return Claimed.of(connection.execute(_BEGIN, parameters))


def foreign(connection: Connection, account: str, claims: Sequence[Claim]) -> int:
    """Count the claims whose job belongs to another account than their message named."""
    parameters = {"account": account, "ids": [c.job_id for c in claims]}
    return int(connection.execute(_FOREIGN, parameters).scalar_one())


def past_deadline(connection: Connection) -> list[Claim]:
    """Lock and return queued jobs past their deadline, at most 500, of every account, served or not."""
    return [Claim(row.id, row.epoch) for row in connection.execute(_OVERDUE)]


def abandoned(connection: Connection, *, grace_seconds: float) -> list[tuple[Claim, JobState]]:
    """Lock and return at most 500 bought jobs that nobody works on, `grace_seconds` past their collection deadline."""
    rows = connection.execute(_ABANDONED, {"grace": grace_seconds})
    return [(Claim(row.id, row.epoch), JobState(row.state)) for row in rows]
