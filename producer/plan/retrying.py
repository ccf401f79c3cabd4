"""What a retry would pay at most: the price of the requests that would be sent."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from producer.plan.terms import known_terms
from shared import catalog
from shared.catalog.offers import NO_OFFERS, price
from shared.db.engine import Connection
from shared.db.jobs.bulk import SecondCharge
from shared.db.payments import offers
from shared.db.read import job_details, planning
from shared.requests import GenerationRequest
from shared.settings import Settings

_CHUNK: Final = 1000
_CREDIT: Final = "credit"


def most_cost(connection: Connection, jobs: Sequence[UUID], settings: Settings) -> SecondCharge:
    """Return the most that sending these jobs may cost, by unit, and how many have a price that nothing bounds."""
    offered = offers.load(connection)
    terms = known_terms(settings, planning.standings(connection))
    amounts: Counter[str] = Counter()
    unpriced = 0
    for row in _requests(connection, jobs):
        provider = catalog.get(row.provider)
        if provider.unit == "unbilled":
            continue
        known = terms.get(row.account)
        request = GenerationRequest.model_validate(row.request)
        most = price(provider, request, known.prices if known else {}, offered.get(row.account, NO_OFFERS))
        if most is None:
            unpriced += 1
        else:
            unit = f"credit of {provider.name}" if provider.unit == _CREDIT else provider.unit
            amounts[unit] += most.amount  # type: ignore[assignment]
    return SecondCharge({unit: Decimal(amount) for unit, amount in amounts.items()}, unpriced)


def _requests(connection: Connection, jobs: Sequence[UUID]) -> Iterator[Any]:
    for start in range(0, len(jobs), _CHUNK):
        yield from job_details.requests(connection, jobs[start : start + _CHUNK])
