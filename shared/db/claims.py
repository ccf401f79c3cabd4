"""What the dispatcher asks: which due rows of an account may be worked on now."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from shared.db.transitions import Claim

_IN_HAND = text("""
SELECT state, count(*) AS jobs FROM job
WHERE account = :account AND claimed_by IS NOT NULL AND due_at > now() GROUP BY state
""")

_CLAIM = """
WITH picked AS MATERIALIZED (
  SELECT id FROM job WHERE account = :account AND {where} AND due_at <= now()
  ORDER BY {order} LIMIT :count FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE job SET epoch = epoch + 1, claimed_by = :worker, due_at = now() + :lease * interval '1 second'
FROM picked WHERE job.id = picked.id
RETURNING job.id, job.epoch, job.turn
"""
_CLAIMS = {
    "submit": text(_CLAIM.format(where="state = 'queued' AND deadline_at > now()", order="priority DESC, turn")),
    "poll": text(_CLAIM.format(where="state IN ('pending', 'processing')", order="due_at")),
    "transfer": text(_CLAIM.format(where="state = 'transferring'", order="link_expires_at, due_at")),
    "reconcile": text(_CLAIM.format(where="state IN ('submitting', 'in_doubt')", order="due_at")),
}
_TURN = text("UPDATE account SET turn = greatest(turn, :turn) WHERE name = :account")

_EXPIRED = text("""
SELECT id, epoch FROM job WHERE account = :account AND state = 'queued' AND deadline_at <= now()
  AND (claimed_by IS NULL OR due_at <= now()) ORDER BY deadline_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
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


def claim(
    connection: Connection, stage: str, account: str, *, count: int, worker: str, lease_seconds: float
) -> list[Claim]:
    """Claim up to `count` due jobs of `account` for `stage`: their epoch rises and their lease begins."""
    if count <= 0:
        return []
    parameters = {"account": account, "count": count, "worker": worker, "lease": lease_seconds}
    rows = connection.execute(_CLAIMS[stage], parameters).all()
    if stage == "submit" and rows:
        connection.execute(_TURN, {"account": account, "turn": max(row.turn for row in rows)})
    return [Claim(row.id, row.epoch) for row in rows]


def past_deadline(connection: Connection, account: str) -> list[Claim]:
    """Lock and return queued jobs of `account` that may buy nothing any more, at most 500."""
    return [Claim(row.id, row.epoch) for row in connection.execute(_EXPIRED, {"account": account})]
