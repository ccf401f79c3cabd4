"""Sums up priced rows by account."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from producer.plan.rows import PricedRow
from shared import catalog
from shared.catalog.estimates import estimate
from shared.db.read.planning import Found

_CONFLICTS_KEPT: Final = 20  # as many as `enqueue` names


class Total(NamedTuple):
    """Money of one unit: the certain part and the upper bound; `high` is None if some row's price is unknown.

    Each provider has its own credits: in a sum over accounts `provider` names the provider.
    """

    unit: str
    low: Decimal
    high: Decimal | None
    provider: str | None = None


@dataclass(slots=True)
class Share:
    """The part of a file for one account; `low` and `high` cover the rows of known price."""

    account: str
    provider: str
    known: int = 0
    due: Decimal = Decimal(0)
    """The most that rows of the file may cost that already wait in the batch."""
    rows: int = 0
    images: int = 0
    references: int = 0
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    unpriced: Counter[str] = field(default_factory=Counter)
    why_unpriced: dict[str, str] = field(default_factory=dict)
    without_brand: int = 0
    priorities: Counter[int] = field(default_factory=Counter)

    @property
    def unit(self) -> str:
        """The unit of its money."""
        return catalog.get(self.provider).unit

    @property
    def money(self) -> Total:
        """What it costs."""
        return Total(self.unit, self.low, None if self.unpriced else self.high)

    @property
    def polls(self) -> int:
        """The fewest polls that cover every image."""
        page = estimate(self.provider).poll_page
        return -(-self.images // page) if page else 0

    def add(self, row: PricedRow) -> None:
        """Count one more row."""
        self.rows += 1
        self.images += row.images
        self.references += row.references
        self.priorities[row.priority] += 1
        self.without_brand += row.without_brand
        if row.low is None or row.high is None:
            self.unpriced[row.model] += 1
            if row.unpriced:
                self.why_unpriced[row.model] = row.unpriced
        else:
            self.low += row.low
            self.high += row.high


@dataclass(slots=True)
class Tally:
    """The result of the count: shares by account, and rows whose custom_id stands for another request."""

    shares: dict[str, Share] = field(default_factory=dict)
    conflict_count: int = 0
    conflicts: list[str] = field(default_factory=list)

    def count(self, row: PricedRow, there: Found | None) -> None:
        """Count a row, `there` being what the batch holds under its custom_id."""
        if there and not there.same:
            self.conflict_count += 1
            if len(self.conflicts) < _CONFLICTS_KEPT:
                self.conflicts.append(row.asked.custom_id)
            return
        account = there.account if there else row.account
        share = self.shares.setdefault(account, Share(account, row.asked.provider))
        if there:
            share.known += 1
            share.due += row.high or 0 if there.unbought else 0
        else:
            share.add(row)
