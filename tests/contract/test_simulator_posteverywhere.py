"""The simulated PostEverywhere against the examples of its guide."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ops.simulator import PostEverywhereSettings, Simulator

_EXAMPLES = json.loads((Path(__file__).parent / "provider-examples.json").read_text())["posteverywhere"]
_EXAMPLE = _EXAMPLES["generate"]["request"]
_UNLIMITED: dict[str, Any] = {
    "requests_per_minute": None,
    "requests_per_hour": None,
    "generations_per_hour": None,
    "latency": (1, 2),
    "processing_seconds": (0, 0),
}

Shape = Callable[[Any], Any]


@pytest.fixture(scope="module")
def api(shared_sim: Simulator) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer sim-a"}
    with httpx.Client(base_url=shared_sim.posteverywhere_url, headers=headers, timeout=10) as client:
        yield client


@pytest.fixture
def switched(start: Any) -> Iterator[Callable[..., httpx.Client]]:
    """Start a simulator with settings of one's own and return a client of it."""
    clients = []

    def switch(**settings: Any) -> httpx.Client:
        sim = start(posteverywhere=PostEverywhereSettings(**{**_UNLIMITED, **settings}))
        clients.append(httpx.Client(base_url=sim.posteverywhere_url, headers={"authorization": "Bearer sim-a"}))
        return clients[-1]

    yield switch
    for client in clients:
        client.close()


def generate(api: httpx.Client, body: Any = _EXAMPLE, key: str = "sim-a") -> httpx.Response:
    return api.post("/ai/generate-image", json=body, headers={"authorization": f"Bearer {key}"})


def finished(api: httpx.Client, media_id: str) -> dict[str, Any]:
    while (row := api.get(f"/media/{media_id}").json()["data"]).get("status") == "processing":
        continue
    return dict(row)


def test_the_example_request_gets_the_example_response(api: httpx.Client, shared_sim: Simulator, shape: Shape) -> None:
    reply = generate(api)
    told, line = reply.json(), shared_sim.bill("posteverywhere")["lines"][-1]
    assert (reply.status_code, shape(told)) == (201, shape(_EXAMPLES["generate"]["response"]))
    assert told["data"]["ai"] == {"model": _EXAMPLE["model"], "prompt": _EXAMPLE["prompt"]}
    assert told["data"]["aspect_ratio"] == _EXAMPLE["aspect_ratio"]
    assert (line["amount"], line["unit"], line["upstream_ids"]) == ("15", "credit", told["data"]["media_ids"])


def test_the_example_errors_are_word_for_word(switched: Callable[..., httpx.Client], shape: Shape) -> None:
    api = switched(retryable=False)
    ratio = generate(api, {**_EXAMPLE, "aspect_ratio": "2:1"})
    credit = generate(api, key="poor")
    assert (ratio.status_code, ratio.json()["error"]) == (400, _EXAMPLES["wrong ratio"]["error"])
    assert (credit.status_code, credit.json()["error"]) == (402, _EXAMPLES["short of credits"]["error"])
    assert shape(ratio.json()["meta"]) == shape(_EXAMPLES["generate"]["response"]["meta"])
    assert ratio.json()["data"] is None


def test_media_are_processing_then_ready_with_the_documented_fields(
    switched: Callable[..., httpx.Client], shape: Shape
) -> None:
    api = switched(processing_seconds=(120, 120))
    media_id = generate(api).json()["data"]["media_id"]
    early = api.get(f"/media/{media_id}").json()["data"]
    late = finished(api, media_id)
    assert (early["status"], early["size"], early["width"]) == ("processing", None, None)
    assert shape(api.get(f"/media/{media_id}").json()) == shape(_EXAMPLES["media"]["response"])
    assert shape(api.get("/media").json()) == shape(_EXAMPLES["list"]["response"])
    assert (late["status"], late["width"], late["height"]) == ("ready", 96, 54)


@pytest.mark.parametrize(
    ("model", "price"), [("nano-banana-pro", 15), ("ideogram-v2", 8), ("gemini-3-pro", 5), ("flux-schnell", 1)]
)
def test_each_model_has_its_price(api: httpx.Client, model: str, price: int) -> None:
    told = [generate(api, {"prompt": "p", "model": model}, f"sim-{model}").json()["data"] for _ in range(2)]
    assert [row["credits_used"] for row in told] == [price] * 2
    assert [row["credits_remaining"] for row in told] == [100_000 - price, 100_000 - 2 * price]


def test_the_default_model_and_ratio_are_the_documented_ones(
    api: httpx.Client, switched: Callable[..., httpx.Client]
) -> None:
    told = generate(api, {"prompt": "p"}).json()["data"]
    assert (told["ai"]["model"], told["aspect_ratio"]) == ("nano-banana-pro", "1:1")
    assert generate(switched(default_model=None), {"prompt": "p"}).status_code == 400


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "validation_error"),
        (b"{}", "validation_error"),
        (b'{"prompt":7}', "validation_error"),
        (b'{"prompt":"' + b"x" * 2001 + b'"}', "validation_error"),
        (b'{"prompt":"p","model":"best"}', "validation_error"),
        (b'{"prompt":"[sim:moderated]"}', "validation_error"),
    ],
)
def test_a_bad_request_is_a_400_and_costs_nothing(
    api: httpx.Client, shared_sim: Simulator, content: bytes, code: str
) -> None:
    before = len(shared_sim.bill("posteverywhere")["lines"])
    reply = api.post("/ai/generate-image", content=content)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)
    assert reply.json()["error"]["retryable"] is False
    assert len(shared_sim.bill("posteverywhere")["lines"]) == before


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("unknown", 401, "unauthorized"),
        ("banned", 401, "authentication_failed"),
        ("no-scope", 401, "authentication_failed"),
        ("poor", 402, "insufficient_credits"),
        ("unpaid", 402, "insufficient_credits"),
        ("hurried", 429, "rate_limit_exceeded"),
    ],
)
def test_an_account_is_refused_as_documented(api: httpx.Client, key: str, status: int, code: str) -> None:
    reply = generate(api, key=key)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["retryable"]) == (status, code, status == 429)
    assert ("details" in error) == (key == "poor")


def test_a_missing_scope_can_be_a_403_and_a_full_window_name_its_wait(switched: Callable[..., httpx.Client]) -> None:
    api = switched(missing_scope_status=403, rate_code="rate_limited")
    scope, window = generate(api, key="no-scope"), generate(api, key="hurried")
    assert (scope.status_code, scope.json()["error"]["code"]) == (403, "forbidden")
    assert (window.json()["error"]["code"], list(window.json()["error"]["details"])) == ("rate_limited", ["retryAfter"])


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "validation_error", False),
        (404, "not_found", False),
        (409, "conflict", False),
        (415, "unsupported_media_type", False),
        (422, "permanent_failure_circuit_breaker", False),
        (500, "internal_error", True),
        (503, "service_unavailable", True),
    ],
)
def test_an_error_by_fault_has_the_documented_code(
    start: Any, web: httpx.Client, *, status: int, code: str, retryable: bool
) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": status}}])
    url = f"{sim.posteverywhere_url}/ai/generate-image"
    reply = web.post(url, json=_EXAMPLE, headers={"authorization": "Bearer sim-a"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["retryable"]) == (status, code, retryable)
    assert sim.bill()["lines"] == []


def test_nothing_tells_where_the_file_is_unless_the_switch_says_so(switched: Callable[..., httpx.Client]) -> None:
    api = switched()
    row = finished(api, generate(api).json()["data"]["media_id"])
    listed = api.get("/media").json()["data"]["items"][0]
    assert [name for name in (*row, *listed) if "url" in name] == []


@pytest.mark.parametrize("mode", ["url", "permanent"])
def test_a_file_is_served_where_the_switch_says(
    switched: Callable[..., httpx.Client], web: httpx.Client, mode: str
) -> None:
    api = switched(url=mode, image_format="webp")
    row = finished(api, generate(api).json()["data"]["media_id"])
    listed = api.get("/media").json()["data"]["items"][0]
    reply, small = web.get(row["url"]), web.get(listed["thumbnail_url"])
    with Image.open(io.BytesIO(reply.content)) as picture, Image.open(io.BytesIO(small.content)) as preview:
        assert (picture.size, picture.format, preview.size) == ((96, 54), "WEBP", (24, 13))
    assert (len(reply.content), reply.headers["content-type"]) == (row["size"], "image/webp")
    assert ("sig=" in row["url"], row["url"].endswith("/public")) == (mode == "url", mode == "permanent")
    assert web.get(row["url"].replace("sig=", "sig=0")).status_code == (403 if mode == "url" else 200)


def test_media_that_failed_have_no_file_and_were_charged(switched: Callable[..., httpx.Client]) -> None:
    api = switched(url="permanent")
    told = generate(api, {"prompt": "[sim:failed]"})
    row = finished(api, told.json()["data"]["media_id"])
    assert (told.status_code, told.json()["data"]["credits_used"]) == (201, 15)
    assert (row["status"], row["url"], row["size"]) == ("failed", None, None)


def test_a_signed_link_can_be_dead_on_arrival(switched: Callable[..., httpx.Client], web: httpx.Client) -> None:
    api = switched(url="url")
    row = finished(api, generate(api, {"prompt": "[sim:expired]"}).json()["data"]["media_id"])
    assert web.get(row["url"]).status_code == 403


def test_older_names_are_there_for_the_asking(switched: Callable[..., httpx.Client]) -> None:
    api = switched(reply_shape="older", status_field="media_status", list_field="media", me_envelope=False)
    told = generate(api).json()["data"]
    assert set(told) == {"media_id", "media_ids", "model", "message", "credits_used", "credits_remaining"}
    listed = api.get("/media").json()["data"]
    assert [row["media_status"] for row in listed["media"]] == ["ready"]
    assert "quota" in api.get("/me").json()


def test_a_list_is_newest_first_and_cut_by_limit_and_offset(api: httpx.Client) -> None:
    api = httpx.Client(base_url=api.base_url, headers={"authorization": "Bearer sim-pages"})
    with api:
        ids = [generate(api, {"prompt": f"p{n}"}, "sim-pages").json()["data"]["media_id"] for n in range(5)]
        pages = [api.get("/media", params={"limit": 2, "offset": at}).json()["data"]["media_ids"] for at in (0, 2, 4)]
        assert [media_id for page in pages for media_id in page] == ids[::-1]
        assert api.get("/media?type=video").json()["data"]["media_ids"] == []
        bad = ("limit=0", "limit=101", "limit=x", "offset=-1", "type=song")
        assert {api.get(f"/media?{query}").status_code for query in bad} == {400}


def test_deleted_and_foreign_media_are_not_found(api: httpx.Client) -> None:
    mine, other = (generate(api, key=key).json()["data"]["media_id"] for key in ("sim-a", "sim-b"))
    assert api.delete(f"/media/{mine}?force=true").status_code == 200
    assert [api.get(f"/media/{media_id}").status_code for media_id in (mine, other)] == [404, 404]


def test_the_profile_tells_quota_and_entitlement(api: httpx.Client) -> None:
    spent = {"authorization": "Bearer sim-profile"}
    generate(api, key="sim-profile")
    told = api.get("/me", headers=spent).json()["data"]
    assert told["quota"]["ai_credits"] == {"used": 15, "limit": 100_000, "bonus": 0}
    assert told["organization"]["entitled"] is True
    unpaid = api.get("/me", headers={"authorization": "Bearer unpaid"}).json()["data"]
    assert unpaid["organization"]["entitled"] is False
