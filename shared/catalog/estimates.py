"""What a plan may count on beyond a provider's limits: how long a call lasts, pages of polls, and lower charges."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from shared.catalog.offers import NO_OFFERS, Offers
from shared.catalog.provider import NO_PRICES, Price, Provider
from shared.requests import GenerationRequest


class Estimate(NamedTuple):
    """What is known of a provider's calls; the defaults promise nothing."""

    call_seconds: float = 0.0
    """The least that a paid call was documented or reported to last."""
    poll_page: int = 0
    """Pictures in one poll; 0 = the paid call's own answer usually holds them."""
    cheaper_models: tuple[str, ...] = ()
    """Models that may be charged less than the catalog's price, by an amount that nobody states."""
    fewer_images: bool = False
    """Whether fewer images than asked may come, at least one."""


_ESTIMATES: Final = {
    "banatie": Estimate(call_seconds=8.0),  # 8 to 90 s reported
    "bloom": Estimate(poll_page=50, cheaper_models=("fast",)),  # the call is answered at once
    "getimg": Estimate(call_seconds=25.0),  # 25 to 35 s reported
    "openrouter": Estimate(call_seconds=30.0, fewer_images=True),  # 30 to 94 s reported
    "posteverywhere": Estimate(call_seconds=2.0),  # 2 to 8 s documented
}
_NOTHING: Final = Estimate()


def estimate(provider: str) -> Estimate:
    """Return what is known of a provider's calls."""
    return _ESTIMATES.get(provider, _NOTHING)


def least(
    provider: Provider,
    request: GenerationRequest,
    prices: Mapping[str, Decimal] = NO_PRICES,
    offers: Offers = NO_OFFERS,
) -> Price | None:
    """Return the part of the price that is certain once the request succeeds; None where the price is unknown."""
    known = estimate(provider.name)
    if known.fewer_images and request.n > 1:
        request = request.model_copy(update={"n": 1})
    price = provider.price(request, prices)
    if price is None and (offer := offers.of(request.model)):
        certain = offer.least(request)
        return None if certain is None else Price(certain, provider.unit)
    return Price(Decimal(0), price.unit) if price and request.model in known.cheaper_models else price
