"""The ledger: every movement of money or credits, as changes of what is reserved, settled and held.

For any set of submissions: settled <= the provider's bill <= settled + held, and they are equal when nothing is held.
An amount nobody knows beforehand is reserved and held as zero; reports count such lines as unpriced.
"""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import Outcome

_WRITE = text("""
INSERT INTO ledger (submission_id, job_id, account, kind, unit, reserved, settled, held)
SELECT s.id, s.job_id, s.account, :kind, s.unit, :reserved, :settled, :held FROM submission s WHERE s.id = :submission
""")
_KIND = {
    Outcome.ACCEPTED: "settle",
    Outcome.REJECTED: "release",
    Outcome.NOT_SENT: "release",
    Outcome.UNKNOWN: "hold",
}


def reserve(connection: Connection, submission_id: UUID, amount: Decimal | None) -> None:
    """Set `amount` aside when the intent is written."""
    _write(connection, submission_id, "reserve", reserved=amount or Decimal(0))


def close(
    connection: Connection,
    submission_id: UUID,
    *,
    before: Outcome | None,
    after: Outcome,
    reserved: Decimal | None,
    settled: Decimal | None,
) -> None:
    """Move the reserve where the outcome puts it: settled, released, or held; late evidence moves it from held."""
    amount = reserved or Decimal(0)
    back = {"held": -amount} if before is Outcome.UNKNOWN else {"reserved": -amount}
    there = {}
    if after is Outcome.ACCEPTED:
        there = {"settled": settled if settled is not None else amount}
    elif after is Outcome.UNKNOWN:
        there = {"held": amount}
    _write(connection, submission_id, _KIND[after], **back, **there)


def _write(connection: Connection, submission_id: UUID, kind: str, **change: Decimal) -> None:
    amounts = {"reserved": Decimal(0), "settled": Decimal(0), "held": Decimal(0)} | change
    connection.execute(_WRITE, {"submission": submission_id, "kind": kind, **amounts})
