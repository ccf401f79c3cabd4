"""The simulated getimg against the vendor's own SDK, strict and without retries."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import getimg
import httpx
import pytest
from getimg import GetimgAI

from ops.simulator import AccountConfig, GetimgSettings, Simulator

_MODEL = "seedream-5-lite"


Connect = Callable[..., GetimgAI]


@pytest.fixture
def connect(web: httpx.Client) -> Connect:
    def connected(sim: Simulator, key: str = "sim-a") -> GetimgAI:
        return GetimgAI(
            api_key=key, base_url=sim.getimg_url, max_retries=0, http_client=web, _strict_response_validation=True
        )

    return connected


@pytest.fixture
def client(shared_sim: Simulator, connect: Connect) -> GetimgAI:
    return connect(shared_sim)


def test_a_generation_comes_back_complete_with_link_and_price(
    client: GetimgAI, shared_sim: Simulator, web: httpx.Client
) -> None:
    result = client.images.generate(
        model=_MODEL, prompt="a lighthouse", aspect_ratio="16:9", resolution="2K", output_format="webp"
    )
    item, line = result.data[0], shared_sim.bill("getimg")["lines"][-1]
    assert result.id.startswith("req-")
    assert (item.mime_type, item.width, item.height) == ("image/webp", 96, 54)
    assert (result.usage.billable_unit, result.usage.total_cost) == ("image", 0.035)
    assert (line["submission_id"], line["amount"], line["unit"]) == (result.id, "0.035", "USD")
    assert web.get(item.url).headers["content-type"] == "image/webp"


def test_deletes_at_is_the_moment_that_is_signed_into_the_link(client: GetimgAI) -> None:
    item = client.images.generate(model=_MODEL, prompt="expiry").data[0]
    assert int(parse_qs(urlsplit(item.url).query)["exp"][0]) == item.deletes_at.timestamp()
    assert item.deletes_at > datetime.now(UTC)


@pytest.mark.parametrize(
    ("request_body", "kind"),
    [
        ({"model": "nope"}, getimg.BadRequestError),
        ({"prompt": ""}, getimg.BadRequestError),
        ({"prompt": "x" * 4097}, getimg.BadRequestError),
        ({"aspect_ratio": "7:5"}, getimg.BadRequestError),
        ({"resolution": "8K"}, getimg.BadRequestError),
        ({"output_format": "gif"}, getimg.BadRequestError),
        ({"images": [{"url": "http://plain.example/a.png"}]}, getimg.BadRequestError),
        ({"images": [{"url": "data:image/png;base64,???"}]}, getimg.BadRequestError),
        ({"images": [{"url": "https://a.example/a.png"}] * 15}, getimg.BadRequestError),
        ({"prompt": "x [sim:moderated]"}, getimg.UnprocessableEntityError),
        ({"prompt": "x [sim:failed]"}, getimg.InternalServerError),
    ],
)
def test_a_bad_request_raises_the_sdks_own_class_and_costs_nothing(
    client: GetimgAI, shared_sim: Simulator, request_body: Any, kind: type[getimg.APIStatusError]
) -> None:
    before = len(shared_sim.bill("getimg")["lines"])
    with pytest.raises(kind) as caught:
        client.images.generate(**{"model": _MODEL, "prompt": "p", **request_body})
    assert set(caught.value.response.json()["error"]) == {"code", "message"}
    assert len(shared_sim.bill("getimg")["lines"]) == before


@pytest.mark.parametrize(
    ("key", "status", "kind"),
    [
        ("unknown", 401, getimg.AuthenticationError),
        ("poor", 402, getimg.APIStatusError),
        ("banned", 403, getimg.PermissionDeniedError),
        ("hurried", 429, getimg.RateLimitError),
    ],
)
def test_a_refused_account_raises_the_sdks_own_class(
    shared_sim: Simulator, connect: Connect, key: str, status: int, kind: type[getimg.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        connect(shared_sim, key).images.generate(model=_MODEL, prompt="p")
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (409, getimg.ConflictError),
        (404, getimg.NotFoundError),
        (502, getimg.InternalServerError),
        (503, getimg.InternalServerError),
    ],
)
def test_an_error_by_fault_raises_the_sdks_own_class(
    start: Any, connect: Connect, status: int, kind: type[getimg.APIStatusError]
) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": status}}])
    with pytest.raises(kind) as caught:
        connect(sim).images.generate(model=_MODEL, prompt="p")
    assert caught.value.status_code == status
    assert sim.bill()["lines"] == []


def test_references_are_taken_as_https_or_data_urls(client: GetimgAI) -> None:
    inline = "data:image/png;base64," + base64.b64encode(b"x" * 100).decode()
    references: Any = [
        {"url": "https://a.example/a.png", "role": "reference_image"},
        {"url": inline, "role": "reference_image"},
    ]
    assert client.images.generate(model=_MODEL, prompt="with references", images=references).status == "completed"


def test_the_balance_falls_by_each_price(shared_sim: Simulator, connect: Connect) -> None:
    sdk = connect(shared_sim, "sim-balance")
    sdk.images.generate(model="sim-photo", prompt="p", resolution="4K")
    assert sdk.billing.retrieve_balance().balance == "9999.88"


def test_costs_are_listed_by_day(shared_sim: Simulator, connect: Connect) -> None:
    now = datetime.now(UTC)
    sdk = connect(shared_sim, "sim-costs")
    sdk.images.generate(model="sim-photo", prompt="p", resolution="2K")
    costs = sdk.billing.list_costs(start=now - timedelta(days=1), end=now + timedelta(minutes=1))
    with pytest.raises(getimg.BadRequestError):
        sdk.billing.list_costs(start=now, end=now - timedelta(days=1))
    assert costs.total_cost == 0.06
    assert [bucket.cost for bucket in costs.data][:1] == [0.0]


def test_models_are_listed_with_their_rates(client: GetimgAI) -> None:
    models = client.models.list(type="image")
    one = client.models.retrieve("sim-photo")
    assert _MODEL in {model.id for model in models}
    assert [rate.unit_price for rate in one.pricing.rates] == ["0.04", "0.06", "0.12"]
    with pytest.raises(getimg.NotFoundError):
        client.models.retrieve("nope")


def test_every_answer_to_a_key_carries_its_rate_window(start: Any) -> None:
    sim = start(getimg=GetimgSettings(requests_per_minute=2, retry_after=True))
    with httpx.Client(base_url=sim.getimg_url, headers={"authorization": "Bearer sim-a"}) as client:
        replies = [client.get("/v2/billing/balance") for _ in range(3)]
    assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["1", "0", "0"]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert {reply.headers["x-ratelimit-limit"] for reply in replies} == {"2"}
    assert int(replies[2].headers["retry-after"]) >= 1
    assert int(replies[0].headers["x-ratelimit-reset"]) > 1e9


def test_more_requests_at_once_than_allowed_are_refused(start: Any) -> None:
    sim = start(
        getimg=GetimgSettings(latency=(200, 200)),
        accounts=(AccountConfig(provider="getimg", key="sim-two", concurrency=2),),
    )
    url, headers = f"{sim.getimg_url}/v2/images/generations", {"authorization": "Bearer sim-two"}

    async def at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(headers=headers) as client:
            bodies = [json.dumps({"model": _MODEL, "prompt": f"p{n}"}) for n in range(5)]
            return await asyncio.gather(*(client.post(url, content=body) for body in bodies))

    replies = anyio.run(at_once)
    refused = [reply for reply in replies if reply.status_code == 429]
    assert sorted(reply.status_code for reply in replies) == [200, 200, 429, 429, 429]
    assert refused[0].json()["error"]["code"] == "concurrency_limit_exceeded"
    assert len(sim.bill()["lines"]) == 2
