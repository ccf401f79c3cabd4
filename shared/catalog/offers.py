"""What a provider states to the key that asks: models, what each accepts, and the rates that bound its price.

Providers word it differently; this is the common form, which workers read and producers check rows with. A rate is a
price in USD of one image, reference, request or prompt token.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

from shared.catalog.provider import NO_PRICES, Price, Provider
from shared.requests import GenerationRequest, RequestFault

_TIER: Final = re.compile(r"[1-9][0-9]*(?:\.[0-9]+)?k|[1-9][0-9]*", re.IGNORECASE)
_OVERHEAD_TOKENS: Final = 256  # that a provider may put around a prompt
_NEAR: Final = 3
_LISTED: Final = 12
_TITLES: Final = {"aspect_ratio": "ratio", "size": "size", "output_format": "format"}
RateOf = Literal["image", "reference", "request", "prompt"]
Pick = Callable[[Iterable[Decimal]], Decimal]


class Rate(NamedTuple):
    """The price of one unit of what a call holds, in USD; infinite where nothing bounds it.

    `size` is empty where it holds for all of them.
    """

    of: RateOf
    price: Decimal
    size: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """One model as its provider offers it.

    `accepts` lists values by field, `most` the highest count by field; what is not in them is not known. `ways` holds
    the rates of each way the provider may take, of which it chooses one. `unbounded` says why the rates bound no price.
    `clamps`: a size that it lacks is drawn in another instead of being refused.
    """

    model: str
    accepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    ways: tuple[tuple[Rate, ...], ...] = ()
    unbounded: str = ""
    clamps: bool = False

    def price(self, request: GenerationRequest) -> Decimal | None:
        """Return the most that a request can cost in USD, by the highest rates that apply; None without a bound."""
        if self.unbounded or not self.ways:
            return None
        return _chosen(max, (self._cost(way, request, max) for way in self.ways))

    def least(self, request: GenerationRequest) -> Decimal | None:
        """Return the part of the price that is certain for one image; None without a bound."""
        if self.unbounded or not self.ways:
            return None
        one = request.model_copy(update={"n": 1, "references": (), "prompt": ""})
        return _chosen(min, (self._cost(way, one, min) for way in self.ways))

    def unpriced(self, request: GenerationRequest) -> str:
        """Say why nothing bounds the price of a request; "" where something does."""
        if self.unbounded or self.price(request) is not None:
            return self.unbounded
        return "its references are priced by what nobody knows beforehand: no upper bound"

    @property
    def headline(self) -> Decimal | None:
        """The highest price of one image in USD: what people compare; None without a bound."""
        one = GenerationRequest(prompt="a", model=self.model, options={})
        return self.price(one.model_copy(update={"prompt": ""}))

    def faults(self, request: GenerationRequest) -> list[RequestFault]:
        """Name what the model does not accept, with what it does."""
        found = []
        for name, value in (("aspect_ratio", request.aspect_ratio), ("output_format", request.output_format)):
            found += self._fault(name, name, value)
        if not request.size or _TIER.fullmatch(request.size):
            said = "size" if request.size else "options.resolution"
            found += self._fault("size", said, _size(request))
        for name, count in (("n", request.n), ("references", len(request.references))):
            limit = self.most.get(name)
            if limit is not None and count > limit:
                found.append(RequestFault(name, f"is more than this model takes: at most {limit}"))
        return found

    def document(self) -> dict[str, Any]:
        """Return the offer as JSON has it, without its model."""
        return {
            "accepts": {name: list(values) for name, values in self.accepts.items()},
            "most": dict(self.most),
            "ways": [[[rate.of, f"{rate.price:f}", rate.size] for rate in way] for way in self.ways],
            "unbounded": self.unbounded,
            "clamps": self.clamps,
        }

    def _cost(self, way: Sequence[Rate], request: GenerationRequest, pick: Pick) -> Decimal | None:
        images = self._rates(way, "image", _size(request))
        if images is None:
            return None
        total = pick(images) * request.n if images else Decimal(0)
        # A token is a byte at least.
        counts = {"request": 1, "reference": len(request.references)}
        counts["prompt"] = len(request.prompt.encode()) + _OVERHEAD_TOKENS if request.prompt else 0
        beside = (rate.price * counts[rate.of] for rate in way if rate.of != "image" and counts[rate.of])
        total += sum(beside, Decimal(0))
        return total if total.is_finite() else None

    def _rates(self, way: Sequence[Rate], of: RateOf, size: str) -> list[Decimal] | None:
        """Return the rates that may apply to a size, all of them where none is asked for; None where none does."""
        mine = [rate for rate in way if rate.of == of]
        fitting = [rate.price for rate in mine if not size or rate.size.lower() in {"", size.lower()}]
        if mine and not fitting:
            return [rate.price for rate in mine] if self.clamps else None
        return fitting

    def _fault(self, name: str, said: str, value: str | None) -> list[RequestFault]:
        known = self.accepts.get(name)
        if not value or not known or value.lower() in {one.lower() for one in known} or value == "auto":
            return []
        return [RequestFault(said, f"is no {_TITLES[name]} of this model; {_near(value, known)}")]


@dataclass(frozen=True, slots=True)
class Offers:
    """What one account is offered; `whole` says that a model which is not there is not offered."""

    models: Mapping[str, Offer] = field(default_factory=dict)
    whole: bool = False

    def of(self, model: str | None) -> Offer | None:
        """Return the offer of a model; a name may have a suffix such as `:nitro`, which chooses among its ways."""
        name = model or ""
        return self.models.get(name) or self.models.get(name.partition(":")[0])

    def faults(self, request: GenerationRequest) -> list[RequestFault]:
        """Name what of a request the account is not offered; nothing where that is not known."""
        offer = self.of(request.model)
        if offer is not None:
            return offer.faults(request)
        if not self.whole or not request.model:
            return []
        return [RequestFault("model", f"is not offered to this account; {_near(request.model, tuple(self.models))}")]

    def unpriced(self, request: GenerationRequest) -> str:
        """Say why nothing bounds the price of a request although its model is offered; "" where nothing is known."""
        offer = self.of(request.model)
        return offer.unpriced(request) if offer else ""


NO_OFFERS: Final = Offers()


def read(model: str, document: Mapping[str, Any]) -> Offer:
    """Return the offer that `Offer.document` wrote."""
    return Offer(
        model,
        accepts={name: tuple(values) for name, values in document["accepts"].items()},
        most=document["most"],
        ways=tuple(tuple(Rate(of, Decimal(price), size) for of, price, size in way) for way in document["ways"]),
        unbounded=document["unbounded"],
        clamps=document["clamps"],
    )


def price(
    provider: Provider,
    request: GenerationRequest,
    prices: Mapping[str, Decimal] = NO_PRICES,
    offers: Offers = NO_OFFERS,
) -> Price | None:
    """Return the most that a request can cost: the account's own setting wins, then what the provider states."""
    if found := provider.price(request, prices):
        return found
    offer = offers.of(request.model)
    amount = offer.price(request) if offer else None
    return None if amount is None else Price(amount, provider.unit)


def is_tier(size: str) -> bool:
    """Tell whether a size is a tier such as 2K or 512, and not pixels or another word."""
    return _TIER.fullmatch(size) is not None


def _size(request: GenerationRequest) -> str:
    """Return the tier that a request asks for; "" for none, and for pixels, which may fall into any."""
    size = request.size or request.options.get("resolution") or ""
    return size if isinstance(size, str) and is_tier(size) else ""


def _near(value: str, known: Sequence[str]) -> str:
    near = get_close_matches(value, known, _NEAR, 0.5)
    head = f"near: {', '.join(near)}; " if near else ""
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return f"{head}known: {', '.join(known[:_LISTED])}{more}"


def _chosen(pick: Pick, costs: Iterable[Decimal | None]) -> Decimal | None:
    found = list(costs)
    known = [cost for cost in found if cost is not None]
    return pick(known) if len(known) == len(found) else None
