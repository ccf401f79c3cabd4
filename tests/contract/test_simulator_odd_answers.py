"""Answers to paid requests that are right but for one thing: an error inside, an odd field or id, too many links."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ops.simulator import Simulator, SimulatorConfig

Put = Callable[..., None]

_PATHS = {
    "bloom": "bloom/api/v1/images/generations",
    "getimg": "getimg/v2/images/generations",
    "openrouter": "openrouter/api/v1/images",
    "posteverywhere": "posteverywhere/api/v1/ai/generate-image",
    "banatie": "banatie/api/v1/generations",
}
_MORE: dict[str, dict[str, Any]] = {
    "bloom": {"brandSessionId": "11111111-1111-4111-8111-111111111111"},
    "getimg": {"model": "sim-photo"},
    "openrouter": {"model": "sim/photo"},
    "posteverywhere": {"model": "flux-schnell"},
    "banatie": {},
}
_SUCCESS = {"bloom": 202, "getimg": 200, "openrouter": 200, "posteverywhere": 201, "banatie": 201}
_EVERY = pytest.mark.parametrize("provider", _PATHS)
_KEY = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}


@pytest.fixture(scope="module")
def _faulty(base_config: SimulatorConfig) -> Iterator[Simulator]:
    with Simulator(base_config).serve() as running:
        yield running


@pytest.fixture
def sim(_faulty: Simulator) -> Simulator:
    """A simulator without a past and without faults yet."""
    _faulty.put_faults({})
    _faulty.reset()
    return _faulty


def post(web: httpx.Client, sim: Simulator, provider: str, prompt: str = "p") -> httpx.Response:
    return web.post(f"{sim.url}/{_PATHS[provider]}", json={"prompt": prompt, **_MORE[provider]}, headers=_KEY)


def strike(sim: Simulator, kind: str, **options: Any) -> None:
    sim.put_faults([{"match": {"route": "submit"}, "fault": {"kind": kind, **options}}])


def named(provider: str, reply: httpx.Response) -> list[str]:
    """Return the ids that an answer gives, the first of which names the purchase."""
    if provider == "openrouter":
        return [reply.headers["x-generation-id"]]
    document = reply.json()
    if provider == "getimg":
        return [document["id"]]
    data = document["data"]
    return list(data.get("ids") or data.get("media_ids") or [data["id"]])


@_EVERY
@pytest.mark.parametrize("accepted", [False, True])
def test_an_error_can_come_under_the_status_of_success(
    sim: Simulator, web: httpx.Client, *, provider: str, accepted: bool
) -> None:
    strike(sim, "error_5xx", status=500)
    usual = post(web, sim, provider)
    strike(sim, "error_in_2xx", accepted=accepted)
    reply = post(web, sim, provider)
    error, usual_error = ({**at.json(), "meta": None} for at in (reply, usual))
    assert (reply.status_code, error) == (_SUCCESS[provider], usual_error)
    assert len(sim.bill()["lines"]) == accepted


@pytest.mark.parametrize(
    ("provider", "code", "way", "told"),
    [
        ("bloom", "INSUFFICIENT_CREDITS", ("status",), 402),
        ("openrouter", "provider_overloaded", ("error", "code"), 503),
        ("posteverywhere", "insufficient_credits", ("error", "code"), "insufficient_credits"),
        ("banatie", "GENERATION_FAILED", ("error", "message"), "AI generation failed"),
        ("getimg", "insufficient_balance", ("error", "code"), "insufficient_balance"),
    ],
)
def test_an_error_under_the_status_of_success_is_worded_by_its_code(
    sim: Simulator, web: httpx.Client, *, provider: str, code: str, way: tuple[str, ...], told: Any
) -> None:
    strike(sim, "error_in_2xx", code=code)
    found = post(web, sim, provider).json()
    for step in way:
        found = found[step]
    assert found == told


@_EVERY
def test_an_extra_field_can_be_nan_in_an_answer_that_is_otherwise_right(
    sim: Simulator, web: httpx.Client, provider: str
) -> None:
    strike(sim, "nan")
    reply = post(web, sim, provider)
    extra = reply.json()["x_extra"]
    assert extra != extra  # noqa: PLR0124 - only NaN differs from itself
    assert (reply.status_code, len(named(provider, reply))) == (_SUCCESS[provider], 1)


@_EVERY
def test_a_byte_order_mark_can_stand_before_the_answer(sim: Simulator, web: httpx.Client, provider: str) -> None:
    strike(sim, "bom")
    reply = post(web, sim, provider)
    assert reply.content.startswith(b"\xef\xbb\xbf{")
    assert json.loads(reply.content.decode("utf-8-sig")).keys()


@_EVERY
def test_an_extra_field_can_be_huge(sim: Simulator, web: httpx.Client, provider: str) -> None:
    strike(sim, "huge_field", bytes=1_000_000)
    reply = post(web, sim, provider)
    assert (len(reply.json()["x_extra"]), len(named(provider, reply))) == (1_000_000, 1)


@_EVERY
def test_an_extra_field_can_be_nested_deeper_than_a_parser_goes(
    sim: Simulator, web: httpx.Client, provider: str
) -> None:
    strike(sim, "deep_field", depth=50_000)
    reply = post(web, sim, provider)
    with pytest.raises(RecursionError):
        reply.json()
    assert reply.content.startswith(b'{"x_extra":' + b"[" * 50_000 + b"]")


def test_answers_to_looks_can_be_odd_as_well(sim: Simulator, web: httpx.Client) -> None:
    image = post(web, sim, "bloom").json()["data"]["ids"][0]
    sim.put_faults([{"match": {"route": "poll"}, "fault": "bom"}])
    reply = web.get(f"{sim.bloom_url}/images/{image}", headers=_KEY)
    assert reply.content.startswith(b'\xef\xbb\xbf{"data"')


@pytest.mark.parametrize("provider", ["bloom", "getimg", "openrouter", "posteverywhere"])
def test_an_answer_can_hold_more_links_than_were_paid_for(sim: Simulator, web: httpx.Client, provider: str) -> None:
    strike(sim, "many_links", count=7)
    reply = post(web, sim, provider)
    links = reply.json()["data"] if provider in {"getimg", "openrouter"} else named(provider, reply)
    (line,) = sim.bill()["lines"]
    assert (len(links), line["quantity"], line["upstream_ids"][0] in line["upstream_ids"]) == (7, 1, True)


def test_every_link_beyond_those_paid_for_leads_to_a_picture(sim: Simulator, web: httpx.Client) -> None:
    sim.put_settings({"bloom": {"latency": [0, 0]}})
    strike(sim, "many_links", count=3)
    links = [item["url"] for item in post(web, sim, "getimg").json()["data"]]
    strike(sim, "many_links", count=3)
    images = named("bloom", post(web, sim, "bloom"))
    links += [web.get(f"{sim.bloom_url}/images/{name}", headers=_KEY).json()["data"]["imageUrl"] for name in images]
    replies = [web.get(link, follow_redirects=True) for link in links]
    assert [reply.headers["content-type"] for reply in replies] == ["image/jpeg"] * 3 + ["image/png"] * 3
    assert len({reply.content for reply in replies}) == 6


@_EVERY
def test_an_answer_can_name_the_purchase_before_it(sim: Simulator, web: httpx.Client, provider: str) -> None:
    first = named(provider, post(web, sim, provider, "first"))[0]
    strike(sim, "repeated_id")
    second = post(web, sim, provider, "second")
    assert named(provider, second)[0] == first
    assert len({line["submission_id"] for line in sim.bill()["lines"]}) == 2


def test_a_repeated_id_comes_with_the_link_of_the_new_picture(sim: Simulator, web: httpx.Client) -> None:
    post(web, sim, "getimg", "first")
    strike(sim, "repeated_id")
    document = post(web, sim, "getimg", "second").json()
    assert document["id"] not in document["data"][0]["url"]
    assert web.get(document["data"][0]["url"]).status_code == 200


@_EVERY
def test_an_answer_can_name_an_id_of_any_length(sim: Simulator, web: httpx.Client, provider: str) -> None:
    strike(sim, "long_id", bytes=5_000)
    reply = post(web, sim, provider)
    assert len(named(provider, reply)[0]) == 5_000
    assert len(sim.bill()["lines"]) == 1


@pytest.mark.parametrize(
    ("provider", "way"),
    [
        ("openrouter", ("usage", "cost")),
        ("getimg", ("usage", "total_cost")),
        ("posteverywhere", ("data", "credits_used")),
    ],
)
def test_a_stated_cost_can_be_a_multiple_of_what_is_billed(
    sim: Simulator, web: httpx.Client, provider: str, way: tuple[str, str]
) -> None:
    sim.put_settings({provider: {"cost_factor": 25_000_000}})
    stated = json.loads(post(web, sim, provider).text, parse_float=Decimal)[way[0]][way[1]]
    (line,) = sim.bill()["lines"]
    assert Decimal(stated) == Decimal(line["amount"]) * 25_000_000


def test_a_key_of_ones_own_costs_nothing_here_and_its_price_is_told_beside(sim: Simulator, web: httpx.Client) -> None:
    def spent() -> tuple[Any, Any]:
        data = json.loads(web.get(f"{sim.openrouter_url}/key", headers=_KEY).text, parse_float=Decimal)["data"]
        return data["usage"], data["byok_usage"]

    paid = json.loads(post(web, sim, "openrouter", "here").text, parse_float=Decimal)["usage"]["cost"]
    sim.put_settings({"openrouter": {"byok": True}})
    reply = post(web, sim, "openrouter", "elsewhere")
    usage = json.loads(reply.text, parse_float=Decimal)["usage"]
    line = sim.bill()["lines"][1]
    assert (usage["cost"], usage["is_byok"], line["byok"]) == (0, True, True)
    assert usage["cost_details"]["upstream_inference_cost"] == Decimal(line["amount"]) > 0
    assert spent() == (paid, Decimal(line["amount"]))
    query = {"id": reply.headers["x-generation-id"]}
    told = web.get(f"{sim.openrouter_url}/generation", params=query, headers=_KEY).json()["data"]
    assert (told["is_byok"], told["total_cost"], told["cancelled"]) == (True, 0, False)


def test_the_vendors_sdk_reads_the_usage_of_a_key_of_ones_own(sim: Simulator, openrouter: Any) -> None:
    sim.put_settings({"openrouter": {"byok": True}})
    usage = openrouter(sim).images.generate(model="sim/photo", prompt="p").usage
    assert (usage.cost, usage.is_byok, usage.cost_details.upstream_inference_cost > 0) == (0, True, True)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"kind": "mime"}, "format"),
        ({"kind": "mime", "format": "gif"}, "format"),
        ({"kind": "huge_field", "bytes": None}, "bytes"),
        ({"kind": "gone_404", "accepted": False}, "gone_404"),
        ({"kind": "gone_404", "about": "x"}, "about"),
    ],
)
def test_an_odd_fault_that_is_put_wrongly_is_refused_with_the_reason(
    sim: Simulator, web: httpx.Client, fault: Any, complaint: str
) -> None:
    reply = web.put(f"{sim.url}/_sim/faults", json=[{"fault": fault}])
    assert (reply.status_code, complaint in reply.json()["error"]) == (400, True)
