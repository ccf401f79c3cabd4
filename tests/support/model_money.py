"""The books in plain Python: what each paid call reserved, what it really cost, and what the ledger must say of it."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import Outcome

_SUBMISSIONS = text("""
SELECT s.id, s.outcome, s.settled AS figure, sum(l.reserved) AS reserved, sum(l.settled) AS settled, sum(l.held) AS held
FROM submission s LEFT JOIN ledger l ON l.submission_id = s.id GROUP BY s.id
""")
_ACCOUNTS = text("""
SELECT account, sum(reserved) AS reserved, sum(settled) AS settled, sum(held) AS held FROM ledger GROUP BY account
""")
Sums = tuple[Decimal, Decimal, Decimal]
NOTHING = Decimal(0)
REPEATABLE = {Outcome.NOT_SENT, Outcome.REJECTED}


@dataclass
class Call:
    """One attempt to pay: `charge` is what the provider took for it, whether or not its answer ever arrives."""

    submission_id: UUID
    job_id: UUID
    account: str
    reserved: Decimal | None
    charge: Decimal = NOTHING
    outcome: Outcome | None = None
    settled: Decimal | None = None
    inferred: bool = False
    """What is known is a person's word, not the provider's."""
    allowed_again: bool = False
    """A person gave the word to pay again, whatever this call bought."""

    def learn(self, outcome: Outcome, figure: Decimal | None = None, *, inferred: bool = False) -> None:
        """Take an answer: the provider's first plain word stands; `unknown` and what was inferred give way to it."""
        better = self.inferred and not inferred and outcome is not Outcome.UNKNOWN
        if not better and (self.outcome not in {None, Outcome.UNKNOWN} or outcome is self.outcome):
            return
        self.outcome, self.inferred = outcome, inferred
        # A person's figure counts before what we took for the price.
        known = [amount for amount in (figure, self.settled, self.reserved) if amount is not None]
        self.settled = known[0] if known and outcome is Outcome.ACCEPTED else None

    @property
    def is_said(self) -> bool:
        """Whether the provider itself has said what came of it."""
        return self.outcome not in {None, Outcome.UNKNOWN} and not self.inferred

    @property
    def sums(self) -> Sums:
        """Reserved, settled and held."""
        amount = self.reserved or NOTHING
        return (
            amount if self.outcome is None else NOTHING,
            self.settled or NOTHING,
            amount if self.outcome is Outcome.UNKNOWN else NOTHING,
        )


def check_books(connection: Connection, calls: Collection[Call]) -> None:
    """Each call's outcome and amounts are the model's, one by one and by account, and the bill lies between them."""
    found = connection.execute(_SUBMISSIONS).all()
    told = {row.id: (row.outcome, row.figure, (row.reserved, row.settled, row.held)) for row in found}
    assert told == {call.submission_id: (call.outcome, call.settled, call.sums) for call in calls}
    booked = {row.account: (row.reserved, row.settled, row.held) for row in connection.execute(_ACCOUNTS)}
    assert booked == _by_account(calls)
    # Where nobody knew the price beforehand, the upper bound is open: reports count such calls as unpriced.
    priced = [call for call in calls if call.reserved is not None]
    reserved, settled, held = _total(priced)
    assert settled <= sum((call.charge for call in priced), NOTHING) <= settled + held + reserved
    assert _total(calls)[1] <= sum((call.charge for call in calls), NOTHING)


def _by_account(calls: Collection[Call]) -> dict[str, Sums]:
    names = {call.account for call in calls}
    return {name: _total([call for call in calls if call.account == name]) for name in names}


def _total(calls: Collection[Call]) -> Sums:
    columns = [call.sums for call in calls]
    reserved, settled, held = (sum((column[i] for column in columns), NOTHING) for i in range(3))
    return reserved, settled, held
