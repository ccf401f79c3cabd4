"""What providers state of their models: it bounds a price by the highest rates that apply, and refuses the rest."""

from decimal import Decimal
from typing import Any

import pytest

from ops.simulator.replies import exact_json
from ops.simulator.wires.getimg.models import MODELS as GETIMG
from ops.simulator.wires.openrouter.models import MODELS as OPENROUTER
from shared import catalog
from shared.catalog.offers import NO_OFFERS, Offer, Offers, Rate, price, read
from shared.requests import GenerationRequest
from tests.support.canned_wire import Canned, reply, wire
from worker import event_loop
from worker.providers.contract import Refused
from worker.providers.offering import Offered


def asked(model: str = "m", **changes: Any) -> GenerationRequest:
    return GenerationRequest(
        model=model, prompt=changes.pop("prompt", "a"), options=changes.pop("options", {}), **changes
    )


def getimg(body: Any) -> Any:
    return event_loop.run(wire("getimg", reply(200, body)).offers)


def getimg_one(**changes: Any) -> Offer:
    answer = getimg([{**GETIMG["sim-photo"].as_json(), **changes}])
    return answer.offers[0]


def rates(*prices: Any, unit: str = "image", currency: str = "USD") -> dict[str, Any]:
    lines = [{"billable_unit": unit, "resolution": size, "unit_price": price} for size, price in prices]
    return {"currency": currency, "rates": lines}


def openrouter(*endpoints: Any, listed: Any = None) -> Any:
    answers = {
        "/endpoints": reply(200, {"id": "a/b", "endpoints": list(endpoints)}),
        "/images/models": reply(200, {"data": listed or [{"id": "a/b", "supported_parameters": {}}]}),
    }
    return event_loop.run(wire("openrouter", Canned(answers)).offers)


def endpoint(*lines: tuple[Any, ...], **parameters: Any) -> dict[str, Any]:
    names = ("billable", "unit", "cost_usd", "variant")
    pricing = [dict(zip(names, line, strict=False)) for line in lines]
    return {"pricing": pricing, "supported_parameters": parameters}


def openrouter_one(*endpoints: Any) -> Offer:
    offer: Offer = openrouter(*endpoints).offers[0]
    return offer


@pytest.mark.parametrize(
    ("size", "amount"), [("1K", "0.04"), ("2K", "0.06"), ("2k", "0.06"), ("4K", "0.12"), (None, "0.12")]
)
def test_the_highest_rate_of_a_size_bounds_the_price_and_of_all_where_none_is_asked_for(
    size: str | None, amount: str
) -> None:
    assert getimg_one().price(asked(size=size)) == Decimal(amount)


WRONG_AMOUNTS: tuple[Any, ...] = ("0", 0, "-1", "NaN", "Infinity", "free", None, "1e9", "1001", [], "9" * 5000)


@pytest.mark.parametrize(
    ("pricing", "amount", "why"),
    [
        (rates((None, "0.035")), "0.035", ""),
        (rates(("1K", "0.01"), (None, "0.05")), "0.05", ""),
        (rates(("1K", 0.25)), "0.25", ""),
        (rates(("2K", "0.01")), None, ""),
        (rates(), None, "no price of an image is stated"),
        (None, None, "no price of an image is stated"),
        (rates((None, "0.01"), unit="megapixel"), None, "priced by megapixels: no upper bound"),
        (rates((None, "0.01"), unit="token"), None, "priced by tokens: no upper bound"),
        (rates((None, "0.01"), currency="EUR"), None, "a stated price cannot be believed"),
        *((rates((None, "0.01"), ("1K", wrong)), None, "a stated price cannot be believed") for wrong in WRONG_AMOUNTS),
    ],
)
def test_rates_that_bound_nothing_are_left_out_with_the_reason(pricing: Any, amount: str | None, why: str) -> None:
    offer = getimg_one(pricing=pricing)
    assert offer.price(asked(size="1K")) == (None if amount is None else Decimal(amount))
    assert offer.unbounded == why


@pytest.mark.parametrize("model", GETIMG.values(), ids=lambda model: model.id)
def test_every_price_of_the_simulated_getimg_is_within_its_bound(model: Any) -> None:
    answer = getimg([one.as_json() for one in GETIMG.values()])
    offers = Offers({offer.model: offer for offer in answer.offers}, answer.whole)
    for size, charged in model.prices.items():
        request = asked(model.id, size=size)
        found = price(catalog.get("getimg"), request, {}, offers)
        assert found is not None
        assert found.amount == charged
        assert offers.faults(request) == []


def simulated_openrouter() -> Offers:
    models = OPENROUTER.values()
    answers = {f"{model.id}/endpoints": exact({"id": model.id, "endpoints": [model.endpoint()]}) for model in models}
    answers["/images/models"] = exact({"data": [model.listed() for model in models]})
    answer = event_loop.run(wire("openrouter", Canned(answers)).offers)
    assert (answer.whole, answer.unread) == (True, ())
    return Offers({offer.model: offer for offer in answer.offers}, whole=True)


def exact(value: Any) -> Any:
    return reply(200, exact_json(value).encode())


def test_the_bound_of_a_call_is_that_of_its_dearest_endpoint() -> None:
    cheap = endpoint(("output_image", "image", 0.03))
    dear = endpoint(("output_image", "image", 0.05), ("input_reference", "image", 0.01), ("x", "request", 0.002))
    offer = openrouter_one(cheap, dear)
    assert offer.price(asked(n=3, references=("https://x.example/a", "https://x.example/b"))) == Decimal("0.172")
    assert offer.least(asked(n=3)) == Decimal("0.03")


def test_a_prompt_costs_at_most_a_token_for_each_of_its_bytes() -> None:
    offer = openrouter_one(endpoint(("output_image", "image", 0.04), ("input_text", "token", 0.000001)))
    assert offer.price(asked(prompt="é" * 100)) == Decimal("0.04") + Decimal("0.000001") * (200 + 256)
    assert offer.headline == Decimal("0.04")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([("output_image", "token", 0.00003)], "priced by tokens: no upper bound"),
        ([("output_image", "megapixel", 0.01)], "priced by megapixels: no upper bound"),
        ([("output_image", "image", 0.01), ("output_thought", "token", 0.1)], "priced by tokens: no upper bound"),
        ([("output_image", "image", 0.01), ("input_text", "word", 0.1)], "priced by word: no upper bound"),
        ([("output_image", "image", 0)], "a stated price cannot be believed"),
        ([("output_image", "image", -0.1)], "a stated price cannot be believed"),
        ([("output_image", "image", "NaN")], "a stated price cannot be believed"),
        ([("output_image", "image", 25_000_000)], "a stated price cannot be believed"),
        ([("output_image", "image", 0.01), ("input_text", "token", -1)], "a stated price cannot be believed"),
        ([("input_text", "token", 0.01)], "no price of an image is stated"),
        ([("output_image\u202e" * 99, "x" * 10_000, 1)], "priced by what nobody knows: no upper bound"),
        ([], "no price of an image is stated"),
    ],
)
def test_one_endpoint_without_a_bound_leaves_the_model_without_one(lines: Any, why: str) -> None:
    offer = openrouter_one(endpoint(("output_image", "image", 0.05)), endpoint(*lines))
    assert (offer.price(asked()), offer.least(asked()), offer.unbounded) == (None, None, why)


def test_references_priced_by_tokens_take_the_bound_from_calls_that_have_some() -> None:
    offer = openrouter_one(endpoint(("output_image", "image", 0.05), ("input_image", "token", 0.00001)))
    assert offer.price(asked()) == Decimal("0.05")
    with_one = asked(references=("https://x.example/a",))
    assert offer.price(with_one) is None
    assert "no upper bound" in offer.unpriced(with_one)
    assert read("m", offer.document()).price(with_one) is None


@pytest.mark.parametrize("model", OPENROUTER.values(), ids=lambda model: model.id)
def test_every_price_of_the_simulated_openrouter_is_within_its_bound(model: Any) -> None:
    offers = simulated_openrouter()
    for size, charged in model.prices.items():
        for request in (asked(model.id, size=size), asked(model.id, options={"resolution": size})):
            found = price(catalog.get("openrouter"), request, {}, offers)
            least = offers.models[model.id].least(request)
            assert found is not None
            assert least is not None
            assert least == charged <= charged + model.token_price <= found.amount
            assert offers.faults(request) == []


def test_the_accounts_own_price_wins() -> None:
    offers = Offers({"m": Offer("m", ways=((Rate("image", Decimal("0.1")),),))}, whole=True)
    found = price(catalog.get("getimg"), asked(), {"m": Decimal("0.03")}, offers)
    assert found is not None
    assert found.amount == Decimal("0.03")
    assert price(catalog.get("getimg"), asked(), {}, NO_OFFERS) is None


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"model": "sim-foto"}, "model", "is not offered to this account; near: sim-photo"),
        ({"model": "x"}, "model", "is not offered to this account; known: seedream"),
        ({"aspect_ratio": "7:1"}, "aspect_ratio", "is no ratio of this model"),
        ({"size": "8K"}, "size", "is no size of this model"),
        ({"references": tuple(f"https://x.example/{i}" for i in range(5))}, "references", "at most 4"),
    ],
)
def test_what_is_not_offered_is_a_fault_that_names_what_is(changes: dict[str, Any], field: str, says: str) -> None:
    answer = getimg([one.as_json() for one in GETIMG.values()])
    offers = Offers({offer.model: offer for offer in answer.offers}, answer.whole)
    (fault,) = offers.faults(asked(**{"model": "sim-photo", **changes}))
    assert fault.field == field
    assert says in fault.message


def test_openrouters_faults_name_the_option_that_was_set() -> None:
    offers = simulated_openrouter()
    found = offers.faults(asked("sim/single", options={"resolution": "4K"}))
    assert [fault.field for fault in found] == ["options.resolution"]
    assert offers.faults(asked("sim/single", size="2048x2048")) == []
    assert offers.faults(asked("bytedance-seed/seedream-4.5:nitro")) == []
    assert [fault.field for fault in offers.faults(asked("bytedance-seed/seedream-4.5", n=11 - 1))] == []


@pytest.mark.parametrize(
    "body",
    [
        [],
        [{"id": ""}],
        [{"id": "x" * 300}],
        [{"id": "a\u202eb"}],
        ["text", None, 7],
        [{"id": "fine", "type": "image"}, {"name": "no id"}],
        [{"id": f"model-{number}"} for number in range(1200)],
    ],
)
def test_a_list_that_was_not_read_whole_refuses_no_model(body: Any) -> None:
    answer = getimg(body)
    assert isinstance(answer, Offered)
    assert not answer.whole
    assert len(answer.offers) <= 1000


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"null", b'"x"', b"[" * 100_000])
def test_an_answer_that_is_no_list_is_refused_and_raises_nothing(body: bytes) -> None:
    assert isinstance(getimg(body), Refused)
    assert isinstance(event_loop.run(wire("openrouter", reply(200, body)).offers), Refused)


@pytest.mark.parametrize(
    "changes",
    [
        {"supported_aspect_ratios": "16:9"},
        {"supported_aspect_ratios": ["x" * 100]},
        {"supported_aspect_ratios": [None]},
        {"supported_aspect_ratios": ["1:1"] * 5000},
        {"supported_aspect_ratios": None},
        {"supported_references": []},
    ],
)
def test_values_that_cannot_be_read_refuse_nothing(changes: dict[str, Any]) -> None:
    offer = getimg_one(**changes)
    ratio = asked(
        aspect_ratio="16:9", references=() if "supported_references" not in changes else ("https://a.example",)
    )
    assert offer.faults(ratio) == []


def test_a_model_whose_endpoints_cannot_be_read_is_listed_and_not_priced() -> None:
    listed = [{"id": "a/b", "supported_parameters": {}}, {"id": "../../key", "supported_parameters": {}}]
    answer = openrouter(listed=listed)
    assert (answer.offers, answer.unread, answer.whole) == ((), ("a/b",), False)


def test_an_offer_is_the_same_after_it_was_kept() -> None:
    for offer in simulated_openrouter().models.values():
        assert read(offer.model, offer.document()) == offer
