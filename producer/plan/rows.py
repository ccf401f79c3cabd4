"""Prices a prompt file's rows and assigns each to an account."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from producer.prompts import PreparedRow
from shared import catalog
from shared.catalog.estimates import least
from shared.catalog.offers import NO_OFFERS, Offers, price
from shared.db.accounts import AccountTerms
from shared.db.jobs.dealing import Dealing
from shared.db.read.planning import Asked
from shared.requests import GenerationRequest


class PricedRow(NamedTuple):
    """A row without its request: what it asks for, and its price; None if nothing bounds the price."""

    asked: Asked
    account: str
    priority: int
    images: int
    references: int
    model: str
    low: Decimal | None
    high: Decimal | None
    without_brand: bool
    unpriced: str = ""
    """Why nothing bounds its price, where that is known."""


def priced(
    rows: Iterable[PreparedRow], dealt: Dealing, terms: Mapping[str, AccountTerms], offered: Mapping[str, Offers]
) -> Iterator[PricedRow]:
    """Yield the rows without their requests, which may contain whole images; `offered` is by account."""
    for position, row in enumerate(rows, 1):
        account = dealt.account(row.provider, position)
        yield _priced(row, account, terms.get(account), offered.get(account, NO_OFFERS))


def _priced(row: PreparedRow, account: str, known: AccountTerms | None, offers: Offers) -> PricedRow:
    prices = known.prices if known else {}
    request = GenerationRequest.model_validate_json(row.request)
    provider = catalog.get(row.provider)
    low, high = least(provider, request, prices, offers), price(provider, request, prices, offers)
    return PricedRow(
        Asked(row.custom_id, row.provider, row.fingerprint),
        account,
        row.priority,
        request.n,
        len(request.references),
        request.model or "",
        low.amount if low else None,
        high.amount if high else None,
        any(field not in request.options for field in _account_defaults(row.provider)),
        "" if high else offers.unpriced(request),
    )


def _account_defaults(provider: str) -> list[str]:
    """Return the options that a row must have unless its account does."""
    parameters = catalog.get(provider).parameters
    return [p.field.removeprefix("options.") for p in parameters if p.required and p.from_account]
