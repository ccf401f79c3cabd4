"""The ledger: every movement of money or credits, as changes of what is reserved, settled and held.

For any set of submissions: settled <= the provider's bill <= settled + held, and they are equal when nothing is held.
An amount nobody knows beforehand is reserved and held as zero; reports count such lines as unpriced.
"""

from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import Outcome

_WRITE = text("""
INSERT INTO ledger (submission_id, job_id, account, kind, unit, reserved, settled, held)
SELECT s.id, s.job_id, s.account, :kind, s.unit, :reserved, :settled, :held FROM submission s WHERE s.id = :submission
""")
_KIND: Final = {
    Outcome.ACCEPTED: "settle",
    Outcome.REJECTED: "release",
    Outcome.NOT_SENT: "release",
    Outcome.UNKNOWN: "hold",
}
_ZERO: Final = Decimal(0)


class Position(NamedTuple):
    """Where the money of one submission stands, in its unit."""

    reserved: Decimal = _ZERO
    settled: Decimal = _ZERO
    held: Decimal = _ZERO


def position(outcome: Outcome | None, *, reserved: Decimal | None, settled: Decimal | None) -> Position:
    """Return where a submission of this outcome has its money: an open one reserves, a lost one holds."""
    if outcome is None:
        return Position(reserved=reserved or _ZERO)
    if outcome is Outcome.UNKNOWN:
        return Position(held=reserved or _ZERO)
    return Position(settled=settled or _ZERO) if outcome is Outcome.ACCEPTED else Position()


def reserve(connection: Connection, submission_id: UUID, amount: Decimal | None) -> None:
    """Set `amount` aside when the intent is written."""
    _write(connection, submission_id, "reserve", Position(), position(None, reserved=amount, settled=None))


def close(connection: Connection, submission_id: UUID, *, before: Position, after: Position, outcome: Outcome) -> None:
    """Move a submission's money from where it stood to where `outcome` puts it."""
    _write(connection, submission_id, _KIND[outcome], before, after)


def _write(connection: Connection, submission_id: UUID, kind: str, before: Position, after: Position) -> None:
    change = {name: getattr(after, name) - getattr(before, name) for name in Position._fields}
    connection.execute(_WRITE, {"submission": submission_id, "kind": kind, **change})
