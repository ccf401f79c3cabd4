"""What a token's order may cost: the new rows at the highest price that applies, counted under the token's cap."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

from producer.prompts import PreparedFile, PreparedRow
from shared import catalog
from shared.catalog.offers import NO_OFFERS, Offers, price
from shared.catalog.provider import NO_PRICES
from shared.db import accounts, tokens
from shared.db.engine import Connection
from shared.db.jobs import bulk
from shared.db.jobs.bulk import Target
from shared.db.jobs.enqueue import enqueued_rows
from shared.db.tokens import Token
from shared.requests import GenerationRequest
from shared.settings import Settings

_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Costs:
    """What bounds the cost of a row: the settings of accounts, and what providers offer to them."""

    settings: Settings
    offered: Mapping[str, Offers]

    def most(self, row: PreparedRow, account: str) -> Decimal | None:
        """Return the most that a row can cost at an account, in its unit; None where nothing bounds it."""
        return self.most_of(row.provider, account, row.request)

    def most_of(self, provider: str, account: str, request: str | bytes) -> Decimal | None:
        """Return the same of a request as JSON."""
        known = self.settings.accounts.get(account)
        prices = known.prices if known else NO_PRICES
        wanted = GenerationRequest.model_validate_json(request)
        found = price(catalog.get(provider), wanted, prices, self.offered.get(account, NO_OFFERS))
        return found.amount if found else None


def charge_orders(connection: Connection, orders: Iterable[tuple[Token, PreparedRow, str]], costs: Costs) -> None:
    """Count new rows, each at its account, against the caps of those who ordered them; raises `TokenCapError`."""
    by_token: dict[tuple[str, str], tuple[Token, dict[str, Decimal | None]]] = {}
    for token, row, account in orders:
        _, amounts = by_token.setdefault((token.purse, token.id), (token, {}))
        amounts[row.provider] = _sum(amounts.get(row.provider, Decimal(0)), costs.most(row, account))
    for _, (token, amounts) in sorted(by_token.items()):  # in the same order for all, or two would wait for each other
        tokens.spend(connection, token, amounts)


def _sum(before: Decimal | None, amount: Decimal | None) -> Decimal | None:
    return None if before is None or amount is None else before + amount


def charge(connection: Connection, token: Token, prepared: PreparedFile, batch_id: UUID, costs: Costs) -> None:
    """Count the rows that this transaction added against the token's cap; raises `TokenCapError`."""
    if token.caps is None:
        return
    amounts: dict[str, Decimal | None] = {}
    rows = iter(prepared.rows())
    while chunk := list(islice(rows, _CHUNK)):
        for provider, amount in _new(connection, batch_id, chunk, costs):
            amounts[provider] = _sum(amounts.get(provider, Decimal(0)), amount)
    tokens.spend(connection, token, amounts)


def charge_targets(
    connection: Connection, token: Token, first: Sequence[Target], again: Sequence[Target], costs: Costs
) -> None:
    """Count jobs that are bought after all, and those that may be bought `again`; raises `TokenCapError`.

    Both count at once, so that nothing is counted of what is refused. The order of the first may be older than the
    cap's day, or another token's. Of the others, those that are proved unbought count as the first.
    """
    if token.caps is None:
        return
    amounts: dict[str, Decimal | None] = {}
    unbought = [target.job_id for target in (*first, *(one for one in again if not one.may_be_bought))]
    for provider, account, request in bulk.requests(connection, unbought):
        amounts[provider] = _sum(amounts.get(provider, Decimal(0)), costs.most_of(provider, account, request))
    bought = [target for target in again if target.may_be_bought]
    providers = {str(row["name"]): str(row["provider"]) for row in accounts.listing(connection)} if bought else {}
    for target in bought:
        provider = providers[target.account]
        amounts[provider] = _sum(amounts.get(provider, Decimal(0)), target.second_charge)
    tokens.spend(connection, token, amounts)


def _new(
    connection: Connection, batch_id: UUID, chunk: Sequence[PreparedRow], costs: Costs
) -> Iterator[tuple[str, Decimal | None]]:
    """Yield the provider and the highest cost of each new row."""
    found = {one.custom_id: one for one in enqueued_rows(connection, batch_id, [row.custom_id for row in chunk])}
    for row in chunk:
        one = found.get(row.custom_id)  # what was there already may have left the database meanwhile
        if one is not None and one.is_new:
            yield row.provider, costs.most(row, one.account)
