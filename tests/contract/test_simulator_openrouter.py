"""The simulated OpenRouter against the vendor's own SDK, strict and without retries."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from openrouter import OpenRouter, errors
from PIL import Image

from ops.simulator import OpenRouterSettings, Simulator

_EXAMPLES = json.loads((Path(__file__).parent / "provider-examples.json").read_text())["openrouter"]
_MODEL = "sim/photo"
_TYPED: dict[int, Any] = {
    400: errors.BadRequestResponseError,
    401: errors.UnauthorizedResponseError,
    402: errors.PaymentRequiredResponseError,
    403: errors.ForbiddenResponseError,
    404: errors.NotFoundResponseError,
    413: errors.PayloadTooLargeResponseError,
    429: errors.TooManyRequestsResponseError,
    500: errors.InternalServerResponseError,
    502: errors.BadGatewayResponseError,
    524: errors.EdgeNetworkTimeoutResponseError,
    529: errors.ProviderOverloadedResponseError,
    408: errors.OpenRouterDefaultError,
    422: errors.OpenRouterDefaultError,
    503: errors.OpenRouterDefaultError,
    504: errors.OpenRouterDefaultError,
}
_INLINE = "data:image/png;base64,AAAA"

Connect = Callable[..., OpenRouter]


@pytest.fixture
def sdk(shared_sim: Simulator, openrouter: Connect) -> OpenRouter:
    return openrouter(shared_sim)


@pytest.fixture(scope="module")
def http(shared_sim: Simulator) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer sim-http"}
    with httpx.Client(base_url=shared_sim.openrouter_url, headers=headers, timeout=10) as client:
        yield client


def opened(b64: str) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(b64, validate=True)))
    picture.load()
    return picture


def mine(sim: Simulator) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = sim.world.bill.as_json("openrouter", "sim-http")["lines"]
    return lines


def test_a_generation_comes_back_whole_with_its_price(sdk: OpenRouter, shared_sim: Simulator) -> None:
    result = sdk.images.generate(model=_MODEL, prompt="a lighthouse", aspect_ratio="16:9", output_format="webp", n=3)
    line = shared_sim.bill("openrouter")["lines"][-1]
    assert [(item.media_type, opened(item.b64_json).size) for item in result.data] == [("image/webp", (96, 54))] * 3
    assert len({item.b64_json for item in result.data}) == 3
    assert result.usage is not None
    assert result.usage.total_tokens == result.usage.prompt_tokens + result.usage.completion_tokens
    assert (line["quantity"], line["unit"], line["submission_id"][:4]) == (3, "USD", "gen-")


def test_the_reply_has_the_keys_and_types_of_the_guides(http: httpx.Client, shape: Callable[[Any], Any]) -> None:
    told = http.post("/images", json=_EXAMPLES["generate"]["request"]).json()
    told["usage"].pop("is_byok")  # in the SDK, not in the guide
    assert shape(told) == shape(_EXAMPLES["generate"]["response"])


def test_a_streams_events_have_the_keys_and_types_of_the_guide(http: httpx.Client, shape: Callable[[Any], Any]) -> None:
    reply = http.post("/images", json={"model": "openai/gpt-image-1", "prompt": "p", "stream": True})
    *lines, last, _ = reply.text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    events[-1]["usage"].pop("is_byok")
    assert [shape(event) for event in events] == [shape(event) for event in _EXAMPLES["stream"]["events"]]
    assert (reply.headers["content-type"], last) == ("text/event-stream", "data: [DONE]")


def test_the_cost_keeps_every_digit_and_is_what_the_bill_says(http: httpx.Client, shared_sim: Simulator) -> None:
    text = http.post("/images", json={"model": _MODEL, "prompt": "digits " * 5}).text
    cost = json.loads(text, parse_float=Decimal)["usage"]["cost"]
    assert cost == Decimal("0.0387654321") + 9 * Decimal("0.00000012345678901")
    assert float(cost) != cost  # no float could have said it
    assert Decimal(shared_sim.bill("openrouter")["lines"][-1]["amount"]) == cost
    credit = json.loads(http.get("/credits").text, parse_float=Decimal)["data"]
    assert credit["total_credits"] == 10_000
    assert credit["total_usage"] == sum(Decimal(line["amount"]) for line in mine(shared_sim))


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("ratio", ["1:1", "2.35:1", "9:19.5", "8:1", "1:8"])
def test_a_picture_decodes_in_the_asked_format_and_proportions(
    http: httpx.Client, ratio: str, image_format: str
) -> None:
    wanted = {"model": _MODEL, "prompt": "p", "aspect_ratio": ratio, "output_format": image_format}
    picture = opened(http.post("/images", json=wanted).json()["data"][0]["b64_json"])
    across, down = map(Fraction, ratio.split(":"))
    assert (picture.format, Fraction(*picture.size)) == (image_format.upper(), across / down)


@pytest.mark.parametrize(
    ("wanted", "ratio"),
    [
        ({"model": "openai/gpt-image-1", "aspect_ratio": "1:8"}, Fraction(9, 16)),  # clamped to the nearest
        ({"aspect_ratio": "auto"}, Fraction(1)),
        ({"size": "2K", "aspect_ratio": "16:9"}, Fraction(16, 9)),
        ({"size": "48x64"}, Fraction(3, 4)),
        ({"size": "2048x1024", "resolution": "2K", "aspect_ratio": "2:1"}, Fraction(2)),
        ({"aspect_ratio": None, "n": None}, Fraction(1)),
    ],
)
def test_dimensions_follow_size_resolution_and_ratio(http: httpx.Client, wanted: Any, ratio: Fraction) -> None:
    reply = http.post("/images", json={"model": _MODEL, "prompt": "p", **wanted})
    assert Fraction(*opened(reply.json()["data"][0]["b64_json"]).size) == ratio


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_a_transparent_background_has_an_alpha_channel(http: httpx.Client, image_format: str) -> None:
    wanted = {"model": _MODEL, "prompt": "p", "background": "transparent", "output_format": image_format}
    picture = opened(http.post("/images", json=wanted).json()["data"][0]["b64_json"]).convert("RGBA")
    assert picture.getchannel("A").getextrema() == (0, 255)


def test_a_vector_model_draws_svg(sdk: OpenRouter) -> None:
    item = sdk.images.generate(model="sim/vector", prompt="p", output_format="svg", aspect_ratio="4:3").data[0]
    drawing = ET.fromstring(base64.b64decode(item.b64_json))  # noqa: S314 - our own simulator's markup
    assert (item.media_type, drawing.tag) == ("image/svg+xml", "{http://www.w3.org/2000/svg}svg")
    assert (drawing.get("width"), drawing.get("height")) == ("96", "72")


def test_the_same_seed_draws_the_same_and_another_does_not(http: httpx.Client) -> None:
    def drawn(seed: int) -> str:
        reply = http.post("/images", json={"model": _MODEL, "prompt": "seeded", "seed": seed})
        return str(reply.json()["data"][0]["b64_json"])

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_stream_has_partial_and_completed_images_and_ends(openrouter: Connect, shared_sim: Simulator) -> None:
    key = "sim-stream"
    sdk = openrouter(shared_sim, key)
    with sdk.images.generate(model="openai/gpt-image-1", prompt="p", stream=True, n=2) as stream:
        events = list(stream)
    kinds = ["image_generation.partial_image", "image_generation.completed"] * 2
    assert [event.type for event in events] == kinds
    assert opened(events[1].b64_json).size == (96, 96)
    assert [line["quantity"] for line in shared_sim.world.bill.as_json("openrouter", key)["lines"]] == [2]


def test_a_model_that_cannot_stream_answers_whole(http: httpx.Client) -> None:
    reply = http.post("/images", json={"model": _MODEL, "prompt": "p", "stream": True})
    assert (reply.headers["content-type"], len(reply.json()["data"])) == ("application/json", 1)


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"model": None}, 400),
        ({"prompt": ""}, 400),
        ({"prompt": 7}, 400),
        ({"aspect_ratio": "7:3"}, 400),
        ({"background": "blue"}, 400),
        ({"output_format": "gif"}, 400),
        ({"output_format": "svg"}, 400),
        ({"quality": "best"}, 400),
        ({"resolution": "8K"}, 400),
        ({"n": 0}, 400),
        ({"n": 11}, 400),
        ({"n": True}, 400),
        ({"model": "sim/single", "n": 2}, 400),
        ({"output_compression": 101}, 400),
        ({"seed": 1.5}, 400),
        ({"stream": "yes"}, 400),
        ({"size": "huge"}, 400),
        ({"size": "2K", "resolution": "4K"}, 400),
        ({"size": "2048x2048", "resolution": "1K"}, 400),
        ({"size": "2048x2048", "aspect_ratio": "16:9"}, 400),
        ({"background": "transparent", "output_format": "jpeg"}, 400),
        ({"input_references": [{"type": "image_url", "image_url": {"url": _INLINE}}] * 17}, 400),
        ({"input_references": [{"type": "image_url", "image_url": {"url": "ftp://a"}}]}, 400),
        ({"input_references": [{"type": "text"}]}, 400),
        ({"provider": {"best": 1}}, 400),
        ({"model": "black-forest-labs/flux.2-pro", "provider": {"options": {"black-forest-labs": {"x": 1}}}}, 400),
        ({"model": "nobody/nothing"}, 404),
        ({"provider": {"only": ["openai"]}}, 404),
        ({"prompt": "[sim:failed]"}, 502),
    ],
)
def test_a_bad_request_is_refused_in_the_documented_shape_and_costs_nothing(
    http: httpx.Client, shared_sim: Simulator, wanted: Any, status: int
) -> None:
    before = len(shared_sim.bill("openrouter")["lines"])
    reply = http.post("/images", json={"model": _MODEL, "prompt": "p", **wanted})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, status)
    assert isinstance(error["metadata"]["error_type"], str)
    assert len(shared_sim.bill("openrouter")["lines"]) == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_a_400(http: httpx.Client, body: bytes) -> None:
    assert http.post("/images", content=body).status_code == 400


def test_references_and_passthrough_options_are_taken(sdk: OpenRouter) -> None:
    references: Any = [{"type": "image_url", "image_url": {"url": url}} for url in ("https://a.example/a.png", _INLINE)]
    preferences: Any = {"only": ["black-forest-labs"], "options": {"black-forest-labs": {"steps": 40, "guidance": 3}}}
    model = "black-forest-labs/flux.2-pro"
    result = sdk.images.generate(model=model, prompt="p", input_references=references, provider=preferences)
    assert len(result.data) == 1


@pytest.mark.parametrize("status", sorted(_TYPED))
def test_every_error_raises_the_sdks_own_class(start: Any, openrouter: Connect, status: int) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": status}}])
    with pytest.raises(_TYPED[status]) as caught:
        openrouter(sim).images.generate(model=_MODEL, prompt="p")
    assert (type(caught.value), caught.value.status_code) == (_TYPED[status], status)
    assert sim.bill()["lines"] == []


@pytest.mark.parametrize(
    ("key", "status"),
    [("unknown", 401), ("banned", 401), ("poor", 402), ("limited", 402), ("no-permission", 403), ("hurried", 429)],
)
def test_a_refused_account_raises_the_sdks_own_class(
    shared_sim: Simulator, openrouter: Connect, key: str, status: int
) -> None:
    with pytest.raises(_TYPED[status]) as caught:
        openrouter(shared_sim, key).images.generate(model=_MODEL, prompt="p")
    limited = "x-ratelimit-reset" in caught.value.headers
    assert limited == (status == 429)


def test_a_flagged_prompt_is_told_why(sdk: OpenRouter) -> None:
    with pytest.raises(errors.ForbiddenResponseError) as caught:
        sdk.images.generate(model=_MODEL, prompt="[sim:moderated]" + "x" * 200)
    metadata = caught.value.data.error.metadata
    assert isinstance(metadata, dict)
    assert {"reasons", "flagged_input", "provider_name", "model_slug", "error_type"} == set(metadata)
    assert len(metadata["flagged_input"]) <= 100


def test_an_error_can_lack_its_code(start: Any, web: httpx.Client) -> None:
    sim = start(openrouter=OpenRouterSettings(error_shape="typed", availability=False))
    error = web.get(f"{sim.openrouter_url}/credits").json()["error"]
    assert error == {
        "message": "Missing or invalid API key",
        "error_type": "authentication",
        "http_status": 401,
    }


@pytest.mark.parametrize(("fault_status", "retry_after"), [(404, 7), (404, None), (503, None)])
def test_availability_says_whether_to_come_back(
    start: Any, web: httpx.Client, fault_status: int, retry_after: int | None
) -> None:
    fault = {"kind": "error_5xx", "status": fault_status, "retry_after": retry_after}
    sim = start(faults=[{"match": {"route": "submit"}, "fault": fault}])
    headers = {"authorization": "Bearer sim-a"}
    reply = web.post(f"{sim.openrouter_url}/images", json={"model": _MODEL, "prompt": "p"}, headers=headers)
    told = reply.json()["error"]["availability"]
    assert set(told) == {"code", "retryable", "retry_after"}
    assert (told["retryable"], told["retry_after"]) == (fault_status == 503 or retry_after == 7, retry_after)
    assert reply.headers.get("retry-after") == (str(retry_after) if retry_after else None)


def test_what_a_reply_may_leave_out_can_be_left_out(start: Any, openrouter: Connect, web: httpx.Client) -> None:
    bare = OpenRouterSettings(latency=(1, 1), media_type=False, generation_id=False, usage="absent", returns_fewer=3)
    sim = start(openrouter=bare)
    result = openrouter(sim).images.generate(model=_MODEL, prompt="p", n=5)
    assert (len(result.data), result.usage, result.data[0].media_type) == (2, None, None)
    assert sim.bill()["lines"][0]["quantity"] == 2
    reply = web.post(
        f"{sim.openrouter_url}/images",
        json={"model": _MODEL, "prompt": "p", "n": 2},
        headers={"authorization": "Bearer sim-a"},
    )
    assert (len(reply.json()["data"]), reply.headers.get("x-generation-id")) == (1, None)


def test_a_body_over_the_limit_is_a_413(start: Any, openrouter: Connect) -> None:
    sim = start(openrouter=OpenRouterSettings(most_body_bytes=100))
    with pytest.raises(errors.PayloadTooLargeResponseError):
        openrouter(sim).images.generate(model=_MODEL, prompt="x" * 101)
