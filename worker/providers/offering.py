"""Reads what providers state of their models: bounded, and doubtful prices are left out with the reason, never used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from shared.catalog.offers import Offer, Rate, RateOf, is_tier
from worker.providers.amount import amount_of
from worker.providers.reading import UnreadableError

MOST_MODELS: Final = 1000
_MOST_VALUES: Final = 100
_MOST_WAYS: Final = 50
_MOST_RATES: Final = 100
_MOST_USD: Final = 1000  # of one image; a higher rate is no price
_ENDLESS: Final = Decimal("Infinity")
_NAME: Final = re.compile(r"[!-~]{1,200}")
_WORD: Final = re.compile(r"[!-~]{1,32}")
NOT_BELIEVED: Final = "a stated price cannot be believed"
NO_PRICE: Final = "no price of an image is stated"
_OF: Final[Mapping[tuple[str, str], RateOf]] = {
    ("output_image", "image"): "image",
    ("input_image", "image"): "reference",
    ("input_reference", "image"): "reference",
    ("input_text", "token"): "prompt",
}


@dataclass(frozen=True, slots=True)
class Offered:
    """What an account is offered: each model with its rates, and those whose rates could not be asked for.

    `whole`: the list was read to its end, so that a model in neither is not offered. `source` is the path asked.
    """

    offers: tuple[Offer, ...]
    unread: tuple[str, ...] = ()
    whole: bool = False
    source: str = ""


class UnboundedError(Exception):
    """These rates bound no price; the message says why."""


def getimg_offer(item: Any) -> Offer | None:
    """Return an item of getimg's `GET /v2/models` (SDK 0.4.0, `ModelListResponseItem`); None for what makes no images.

    Raises `UnreadableError` where it names no model.
    """
    model = name_of(item, "id")
    if item.get("type", "image") != "image":
        return None
    references = item.get("supported_references")
    most = whole_of(references.get("reference_image")) if isinstance(references, dict) else None
    accepts = {
        "aspect_ratio": words(item.get("supported_aspect_ratios")),
        "size": words(item.get("supported_resolutions")),
    }
    ways, unbounded = _bounded(lambda: (_getimg_rates(item.get("pricing")),))
    return Offer(model, accepts, {} if most is None else {"references": most}, ways, unbounded)


def openrouter_offer(model: str, listed: Any, answer: Any) -> Offer:
    """Return a model of OpenRouter by its item of `GET /images/models` and the answer of its `.../endpoints`.

    A call may take any endpoint, so the highest of them bounds its price. Raises `UnreadableError` for no endpoints.
    """
    answer = answer.get("data", answer) if isinstance(answer, dict) else None
    endpoints = answer.get("endpoints") if isinstance(answer, dict) else None
    if not isinstance(endpoints, list) or not endpoints:
        raise UnreadableError("no endpoints in the answer")
    stated = [one.get("supported_parameters") for one in endpoints if isinstance(one, dict)] or [listed]
    accepts = {name: _values(stated, wire) for name, wire in _FIELDS.items()}
    most = {name: count for name, wire in _COUNTS.items() if (count := _highest(stated, wire)) is not None}
    ways, unbounded = _bounded(lambda: tuple(_openrouter_rates(one) for one in endpoints[:_MOST_WAYS]))
    if len(endpoints) > _MOST_WAYS:
        ways, unbounded = (), f"it has more than {_MOST_WAYS} endpoints"
    return Offer(model, accepts, most, ways, unbounded, clamps=True)


_FIELDS: Final = {"aspect_ratio": "aspect_ratio", "size": "resolution", "output_format": "output_format"}
_COUNTS: Final = {"n": "n", "references": "input_references"}


def name_of(item: Any, member: str) -> str:
    """Return a model's name as it may be stored, shown and put into a path; raises `UnreadableError`."""
    name = item.get(member) if isinstance(item, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UnreadableError("a model without a name")
    return name


def words(values: Any) -> tuple[str, ...]:
    """Return a list of short words; empty, which is "not known", where it is no such list or too long."""
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        return ()
    return tuple(values) if all(isinstance(one, str) and _WORD.fullmatch(one) for one in values) else ()


def whole_of(value: Any) -> int | None:
    """Return a count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000 else None


def _bounded(read: Any) -> tuple[tuple[tuple[Rate, ...], ...], str]:
    try:
        return read(), ""
    except UnboundedError as error:
        return (), str(error)


def _list(values: Any) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not values:
        raise UnboundedError(NO_PRICE)
    if len(values) > _MOST_RATES or not all(isinstance(one, dict) for one in values):
        raise UnboundedError(NOT_BELIEVED)
    return values


def _price(value: Any, *, free: bool) -> Decimal:
    amount = amount_of(value)
    if amount is None or not 0 <= amount <= _MOST_USD or (not amount and not free):
        raise UnboundedError(NOT_BELIEVED)
    return amount


def _unit(value: Any) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "what nobody knows"


def _by(unit: str) -> UnboundedError:
    return UnboundedError(f"priced by {unit}{'s' * (unit in {'token', 'megapixel'})}: no upper bound")


def _getimg_rates(pricing: Any) -> tuple[Rate, ...]:
    if not isinstance(pricing, dict) or pricing.get("currency", "USD") != "USD":
        raise UnboundedError(NOT_BELIEVED if isinstance(pricing, dict) else NO_PRICE)
    rates = []
    for line in _list(pricing.get("rates")):
        if line.get("billable_unit") != "image":
            raise _by(_unit(line.get("billable_unit")))
        size = line.get("resolution") or ""
        if not isinstance(size, str) or not (size == "" or _WORD.fullmatch(size)):
            raise UnboundedError(NOT_BELIEVED)
        rates.append(Rate("image", _price(line.get("unit_price"), free=False), size))
    return tuple(rates)


def _openrouter_rates(endpoint: Any) -> tuple[Rate, ...]:
    if not isinstance(endpoint, dict):
        raise UnboundedError(NOT_BELIEVED)
    rates = []
    for line in _list(endpoint.get("pricing")):
        billable, unit = _unit(line.get("billable")), _unit(line.get("unit"))
        of = "request" if unit == "request" else _OF.get((billable, unit))
        price = _price(line.get("cost_usd"), free=of != "image")
        if of is None and price and billable.startswith("input_") and billable != "input_text":
            of, price = "reference", _ENDLESS  # a call without references has a price all the same
        if of is None and price:
            raise _by(unit)
        variant = line.get("variant")
        # Only a tier is told apart; a rate of any other variant may always apply.
        size = variant if of == "image" and isinstance(variant, str) and is_tier(variant) else ""
        if of is not None and price:
            rates.append(Rate(of, price, size))
    if not any(rate.of in {"image", "request"} for rate in rates):
        raise UnboundedError(NO_PRICE)
    return tuple(rates)


def _values(stated: Sequence[Any], wire: str) -> tuple[str, ...]:
    """Return the values of an `enum` capability at any endpoint; empty where one endpoint does not list them."""
    found: dict[str, None] = {}
    for parameters in stated:
        descriptor = parameters.get(wire) if isinstance(parameters, dict) else None
        listed = words(descriptor.get("values")) if isinstance(descriptor, dict) else ()
        if not listed:
            return ()
        found.update(dict.fromkeys(listed))
    return tuple(found)


def _highest(stated: Sequence[Any], wire: str) -> int | None:
    """Return the highest `max` of a `range` capability at any endpoint; None where one endpoint does not state it."""
    counts = []
    for parameters in stated:
        descriptor = parameters.get(wire) if isinstance(parameters, dict) else None
        count = whole_of(descriptor.get("max")) if isinstance(descriptor, dict) else None
        if count is None:
            return None
        counts.append(count)
    return max(counts, default=None)
