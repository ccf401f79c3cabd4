"""The ledger: every movement of money or credits, as changes of what is reserved, settled and held.

For any set of submissions: settled <= the provider's bill <= settled + held, and they are equal when nothing is held.
An unknown amount is reserved, held or settled as zero; reports count such calls as unpriced.

`elsewhere` is the cost of a call on another bill: a model provider's, under the owner's own key. Caps include it. This
provider's bill, balance and usage do not.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import Outcome

_WRITE = text("""
INSERT INTO ledger (submission_id, job_id, account, kind, unit, reserved, settled, held, elsewhere)
SELECT s.id, s.job_id, s.account, a.kind, s.unit, a.reserved, a.settled, a.held, a.elsewhere
FROM unnest(
  CAST(:submissions AS uuid[]), CAST(:kinds AS text[]), CAST(:reserved AS numeric[]), CAST(:settled AS numeric[]),
  CAST(:held AS numeric[]), CAST(:elsewhere AS numeric[])
) AS a (submission, kind, reserved, settled, held, elsewhere) JOIN submission s ON s.id = a.submission
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
    elsewhere: Decimal = _ZERO


def position(
    outcome: Outcome | None, *, reserved: Decimal | None, settled: Decimal | None, elsewhere: Decimal = _ZERO
) -> Position:
    """Return the place of a submission's money by its outcome: an open one reserves, a lost one holds."""
    if outcome is None:
        return Position(reserved=reserved or _ZERO)
    if outcome is Outcome.UNKNOWN:
        return Position(held=reserved or _ZERO)
    return Position(settled=settled or _ZERO, elsewhere=elsewhere) if outcome is Outcome.ACCEPTED else Position()


class Movement(NamedTuple):
    """How the money of one submission moves, and what kind of line says so."""

    submission_id: UUID
    kind: str
    before: Position
    after: Position


def reserve(connection: Connection, amounts: Mapping[UUID, Decimal | None]) -> None:
    """Set the amount of each submission aside when its intent is written."""
    _write(
        connection,
        [
            Movement(submission, "reserve", Position(), position(None, reserved=amount, settled=None))
            for submission, amount in amounts.items()
        ],
    )


def closing(submission_id: UUID, *, before: Position, after: Position, outcome: Outcome) -> Movement:
    """Return the movement of a submission's money from where it stood to where `outcome` puts it."""
    return Movement(submission_id, _KIND[outcome], before, after)


def close(connection: Connection, closings: Sequence[Movement]) -> None:
    """Write what `closing` returned, one line for each."""
    _write(connection, closings)


def _write(connection: Connection, movements: Sequence[Movement]) -> None:
    if not movements:
        return
    changes = {
        name: [getattr(one.after, name) - getattr(one.before, name) for one in movements] for name in Position._fields
    }
    parameters = {"submissions": [one.submission_id for one in movements], "kinds": [one.kind for one in movements]}
    connection.execute(_WRITE, {**parameters, **changes})
