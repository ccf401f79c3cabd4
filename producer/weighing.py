"""A prompt file's rows weighed: what each asks and comes to, summed up by the account that it falls to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from producer.prompts import PreparedRow
from shared import catalog
from shared.catalog.estimates import estimate, least
from shared.db.planning import Asked, Found
from shared.requests import GenerationRequest
from shared.settings import Settings

_CONFLICTS_KEPT: Final = 20  # as many as `enqueue` names


class Total(NamedTuple):
    """Money of one unit: the part that is certain, and the most; `high` is None where some row's price is unknown.

    A credit is its provider's own: in a sum over accounts `provider` says whose.
    """

    unit: str
    low: Decimal
    high: Decimal | None
    provider: str | None = None


class Weighed(NamedTuple):
    """A row without its request: what it asks, and what it comes to."""

    asked: Asked
    account: str
    priority: int
    images: int
    references: int
    model: str
    low: Decimal | None
    high: Decimal | None
    without_brand: bool


@dataclass(slots=True)
class Share:
    """What of a file falls to one account; `low` and `high` are of the rows whose price is known."""

    account: str
    provider: str
    known: int = 0
    due: Decimal = Decimal(0)
    """The most that rows of the file may cost which wait in the batch already."""
    rows: int = 0
    images: int = 0
    references: int = 0
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    unpriced: Counter[str] = field(default_factory=Counter)
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
        """The fewest polls that see every picture."""
        page = estimate(self.provider).poll_page
        return -(-self.images // page) if page else 0

    def add(self, row: Weighed) -> None:
        """Count one more row."""
        self.rows += 1
        self.images += row.images
        self.references += row.references
        self.priorities[row.priority] += 1
        self.without_brand += row.without_brand
        if row.low is None or row.high is None:
            self.unpriced[row.model] += 1
        else:
            self.low += row.low
            self.high += row.high


@dataclass(slots=True)
class Tally:
    """What was counted: shares by account, and rows whose custom_id stands for another request."""

    shares: dict[str, Share] = field(default_factory=dict)
    conflict_count: int = 0
    conflicts: list[str] = field(default_factory=list)

    def count(self, row: Weighed, there: Found | None) -> None:
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


def weigh(rows: Iterable[PreparedRow], dealt: Mapping[str, Sequence[str]], settings: Settings) -> Iterator[Weighed]:
    """Yield the rows without their requests, which may hold whole pictures."""
    for position, row in enumerate(rows, 1):
        names = dealt.get(row.provider) or [row.provider]
        account = names[position % len(names)]  # as `enqueue` deals them out
        known = settings.accounts.get(account)
        prices = known.prices if known else {}
        request = GenerationRequest.model_validate_json(row.request)
        provider = catalog.get(row.provider)
        low, high = least(provider, request, prices), provider.price(request, prices)
        yield Weighed(
            Asked(row.custom_id, row.provider, row.fingerprint),
            account,
            row.priority,
            request.n,
            len(request.references),
            request.model or "",
            low.amount if low else None,
            high.amount if high else None,
            any(field not in request.options for field in _account_defaults(row.provider)),
        )


def _account_defaults(provider: str) -> list[str]:
    """Return the options that a row must have unless its account does."""
    parameters = catalog.get(provider).parameters
    return [p.field.removeprefix("options.") for p in parameters if p.required and p.from_account]
