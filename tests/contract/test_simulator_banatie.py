"""The simulated Banatie against the examples of its API reference."""

import asyncio
import io
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from ops.simulator import BanatieSettings, Simulator

_EXAMPLES = json.loads((Path(__file__).parent / "provider-examples.json").read_text())["banatie"]
_EXAMPLE = _EXAMPLES["generate"]["request"]
_KEY = {"x-api-key": "sim-a"}

Shape = Callable[[Any], Any]
Switch = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def api(shared_sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{shared_sim.banatie_url}/api/v1", headers=_KEY, timeout=10) as client:
        yield client


@pytest.fixture
def switched(start: Any) -> Iterator[Switch]:
    """Start a simulator with settings of one's own and return a client of it."""
    clients = []

    def switch(*, faults: Any = (), **settings: Any) -> httpx.Client:
        plain: dict[str, Any] = {"requests_per_hour": None, "latency": (4, 9)}
        sim = start(banatie=BanatieSettings(**{**plain, **settings}), faults=list(faults))
        clients.append(httpx.Client(base_url=f"{sim.banatie_url}/api/v1", headers=_KEY))
        return clients[-1]

    yield switch
    for client in clients:
        client.close()


def submit(api: httpx.Client, body: Any = _EXAMPLE, key: str = "sim-a") -> httpx.Response:
    return api.post("/generations", json=body, headers={"x-api-key": key})


def finished(api: httpx.Client, generation_id: str, key: str = "sim-a") -> dict[str, Any]:
    headers = {"x-api-key": key}
    while (row := api.get(f"/generations/{generation_id}", headers=headers).json()["data"])["status"] not in {
        "success",
        "failed",
    }:
        continue
    return dict(row)


def test_the_example_request_gets_the_example_response(api: httpx.Client, shared_sim: Simulator, shape: Shape) -> None:
    reply = submit(api)
    told, line = reply.json(), shared_sim.bill("banatie")["lines"][-1]
    assert (reply.status_code, shape(told)) == (201, shape(_EXAMPLES["generate"]["response"]))
    assert (told["data"]["originalPrompt"], told["data"]["status"]) == (_EXAMPLE["prompt"], "pending")
    assert _EXAMPLE["prompt"] in told["data"]["prompt"]
    assert told["data"]["prompt"].startswith("A photorealistic")
    assert (line["amount"], line["submission_id"], line["quantity"]) == ("0", told["data"]["id"], 1)


def test_a_finished_generation_has_the_documented_fields(api: httpx.Client, shape: Shape) -> None:
    generation_id = submit(api).json()["data"]["id"]
    row = finished(api, generation_id)
    assert shape(api.get(f"/generations/{generation_id}").json()) == shape(_EXAMPLES["get"]["response"])
    assert (row["outputImage"]["id"], row["status"]) == (row["outputImageId"], "success")
    assert row["updatedAt"] > row["createdAt"]
    assert 4000 <= row["processingTimeMs"] <= 9000


def test_a_list_has_the_documented_rows_and_pages(api: httpx.Client, shape: Shape) -> None:
    key = "sim-list"
    ids = [submit(api, {"prompt": f"p{n}"}, key).json()["data"]["id"] for n in range(5)]
    for generation_id in ids:
        finished(api, generation_id, key)
    told = api.get("/generations", params={"status": "success", "limit": 2}, headers={"x-api-key": key}).json()
    pages = {"limit": 2, "offset": 0, "total": 5, "hasMore": True}
    assert shape(told) == shape(_EXAMPLES["list"]["response"])
    assert told["pagination"] == pages
    last = api.get("/generations?limit=2&offset=4", headers={"x-api-key": key}).json()
    assert ([row["id"] for row in last["data"]], last["pagination"]["hasMore"]) == ([ids[0]], False)
    assert [row["id"] for row in told["data"]] == [ids[4], ids[3]]


def test_a_prompt_is_kept_as_it_is_without_enhancement(api: httpx.Client) -> None:
    told = submit(api, _EXAMPLES["not enhanced"]["request"]).json()["data"]
    documented = _EXAMPLES["not enhanced"]["response"]
    assert {name: told[name] for name in documented} == documented


def test_each_template_words_the_prompt_its_own_way(api: httpx.Client) -> None:
    names = ("general", "photorealistic", "illustration", "minimalist", "sticker", "product", "comic")
    example = _EXAMPLES["enhanced"]["request"]
    bodies = [{**example, "enhancementOptions": {"template": name}} for name in names]
    told = [submit(api, body).json()["data"] for body in bodies]
    assert len({row["prompt"] for row in told}) == 7
    assert {row["originalPrompt"] for row in told} == {"a cat"}


def test_a_generation_is_pending_then_processing_then_a_success(switched: Switch) -> None:
    api = switched(latency=(160, 160))
    told = submit(api).json()["data"]
    seen = [told["status"]]
    while seen[-1] != "success":
        status = api.get(f"/generations/{told['id']}").json()["data"]["status"]
        seen += [status] if status not in seen else []
    assert seen == ["pending", "processing", "success"]


def test_the_file_lies_open_on_the_cdn_under_id_and_alias(api: httpx.Client, web: httpx.Client) -> None:
    row = finished(api, submit(api, {"prompt": "p", "aspectRatio": "21:9", "alias": "@hero"}).json()["data"]["id"])
    url, output = row["outputImage"]["storageUrl"], row["outputImage"]
    reply = web.get(url)
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert picture.size == (output["width"], output["height"]) == (91, 39)
    assert (len(reply.content), reply.headers["content-type"]) == (output["fileSize"], output["mimeType"])
    assert url.endswith(f"/img/{output['id']}")
    assert "?" not in url
    assert web.get(url.replace(output["id"], "@hero")).content == reply.content
    assert web.get(url.replace("project-", "projects-")).status_code == 404


def test_meta_comes_back_from_get_and_from_a_list_only_if_told(api: httpx.Client, switched: Switch) -> None:
    meta = {"job_id": "j1", "nested": {"attempt": 1}}
    generation_id = submit(api, {"prompt": "p", "meta": meta}).json()["data"]["id"]
    assert api.get(f"/generations/{generation_id}").json()["data"]["meta"] == meta
    assert "meta" not in api.get("/generations").json()["data"][0]
    telling = switched(list_meta=True)
    submit(telling, {"prompt": "p", "meta": meta})
    assert telling.get("/generations").json()["data"][0]["meta"] == meta


def test_an_alias_is_unique_and_finds_its_image(api: httpx.Client) -> None:
    row = finished(api, submit(api, {"prompt": "p", "alias": "@gq-1"}).json()["data"]["id"])
    again = submit(api, {"prompt": "other", "alias": "@gq-1"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ALIAS_CONFLICT")
    assert submit(api, {"prompt": "p", "alias": "@gq-1"}, "sim-b").status_code == 201
    found = [api.get(f"/images/{name}").json()["data"] for name in ("@gq-1", row["outputImageId"])]
    assert found[0] == found[1]
    assert (found[0]["alias"], found[0]["storageUrl"]) == ("@gq-1", row["outputImage"]["storageUrl"])
    assert api.get("/images/@nobody").json()["error"]["code"] == "IMAGE_NOT_FOUND"


@pytest.mark.parametrize("mark", ["moderated", "failed", "rate_limited"])
def test_a_failed_generation_says_why_and_frees_its_alias(api: httpx.Client, mark: str) -> None:
    body = {"prompt": f"[sim:{mark}]", "alias": f"@{mark}"}
    row = finished(api, submit(api, body).json()["data"]["id"])
    assert (row["status"], row["outputImageId"], row["outputImage"]) == ("failed", None, None)
    assert row["errorMessage"]
    assert submit(api, body).status_code == 201


def test_a_late_answer_carries_the_image(switched: Switch, shape: Shape) -> None:
    api = switched(answer="late", latency=(20, 20))
    reply = submit(api)
    flow = {"flowId": "770e8400-e29b-41d4-a716-446655440002"}
    assert (reply.status_code, shape(reply.json()["data"])) == (
        201,
        shape({**_EXAMPLES["get"]["response"]["data"], **flow}),
    )
    assert reply.json()["data"]["status"] == "success"


def test_a_row_can_be_seen_while_its_late_answer_is_awaited(start: Any) -> None:
    settings = BanatieSettings(answer="late", latency=(120, 120), requests_per_hour=None)
    sim = start(banatie=settings)
    url = f"{sim.banatie_url}/api/v1/generations"

    async def watch() -> tuple[set[str], str]:
        async with httpx.AsyncClient(headers=_KEY) as client:
            waiting = asyncio.create_task(client.post(url, json={"prompt": "p", "meta": {"job_id": "j"}}))
            seen: set[str] = set()
            while not waiting.done():
                rows = (await client.get(url)).json()["data"]
                seen |= {row["status"] for row in rows}
            return seen, (await waiting).json()["data"]["status"]

    seen, ended = anyio.run(watch)
    assert seen & {"pending", "processing"}
    assert ended == "success"


@pytest.mark.parametrize("failure_status", [500, 201])
def test_a_late_answer_to_a_failure_leaves_a_failed_row(switched: Switch, failure_status: int) -> None:
    api = switched(answer="late", latency=(1, 1), failure_status=failure_status)
    reply = submit(api, {"prompt": "[sim:failed]", "meta": {"job_id": "j"}})
    rows = api.get("/generations?status=failed").json()["data"]
    assert (reply.status_code, len(rows)) == (failure_status, 1)
    if failure_status == 500:
        assert reply.json()["error"]["code"] == "GENERATION_FAILED"


@pytest.mark.parametrize("code", ["GENERATION_FAILED", "INTERNAL_ERROR"])
@pytest.mark.parametrize("accepted", [True, False])
def test_a_server_error_comes_with_or_without_a_row(switched: Switch, *, code: str, accepted: bool) -> None:
    fault = {"kind": "error_5xx", "status": 500, "code": code, "accepted": accepted}
    api = switched(faults=[{"match": {"route": "submit"}, "fault": fault}])
    reply = submit(api)
    assert (reply.status_code, reply.json()["error"]["code"], reply.json()["success"]) == (500, code, False)
    assert len(api.get("/generations").json()["data"]) == accepted


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"prompt": ""},
        {"prompt": "x" * 2001},
        {"prompt": "p", "aspectRatio": "4:3"},
        {"prompt": "p", "autoEnhance": "yes"},
        {"prompt": "p", "enhancementOptions": {"template": "noir"}},
        {"prompt": "p", "meta": "text"},
        {"prompt": "p", "alias": "hero"},
        {"prompt": "p", "alias": "@last"},
        {"prompt": "p", "flowId": "f"},
        {"prompt": "p", "flowAlias": "@best"},
        {"prompt": "p", "referenceImages": ["@a"] * 4},
    ],
)
def test_a_bad_request_is_a_400_and_makes_no_row(api: httpx.Client, shared_sim: Simulator, body: Any) -> None:
    before = len(shared_sim.bill("banatie")["lines"])
    reply = submit(api, body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert len(shared_sim.bill("banatie")["lines"]) == before


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("unknown", 401, "UNAUTHORIZED"),
        ("banned", 401, "UNAUTHORIZED"),
        ("unpaid", 402, "PAYMENT_REQUIRED"),
        ("master", 403, "FORBIDDEN"),
        ("hurried", 429, "RATE_LIMIT_EXCEEDED"),
    ],
)
def test_an_account_is_refused_in_the_documented_shape(api: httpx.Client, key: str, status: int, code: str) -> None:
    reply = submit(api, key=key)
    assert (reply.status_code, reply.json()["success"], reply.json()["error"]["code"]) == (status, False, code)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "status=done"])
def test_a_bad_list_question_is_a_400(api: httpx.Client, query: str) -> None:
    assert api.get(f"/generations?{query}").json()["error"]["code"] == "VALIDATION_ERROR"


def test_an_unknown_or_foreign_generation_is_not_found(api: httpx.Client) -> None:
    foreign = submit(api, key="sim-other").json()["data"]["id"]
    codes = [api.get(f"/generations/{name}").json()["error"]["code"] for name in (foreign, uuid.uuid4())]
    assert codes == ["GENERATION_NOT_FOUND"] * 2
    assert submit(api, {"prompt": "p", "referenceImages": ["@nobody"]}).status_code == 404


def test_a_deleted_generation_takes_its_image_along_unless_it_has_an_alias(
    api: httpx.Client, web: httpx.Client
) -> None:
    bodies = ({"prompt": "gone"}, {"prompt": "kept", "alias": "@kept"})
    rows = [finished(api, submit(api, body).json()["data"]["id"]) for body in bodies]
    told = [api.delete(f"/generations/{row['id']}").json() for row in rows]
    assert told == [_EXAMPLES["delete"]["response"]] * 2
    assert [api.get(f"/generations/{row['id']}").status_code for row in rows] == [404, 404]
    assert [web.get(row["outputImage"]["storageUrl"]).status_code for row in rows] == [404, 200]


def test_running_again_keeps_id_and_url_but_not_the_picture(
    api: httpx.Client, web: httpx.Client, shared_sim: Simulator
) -> None:
    first = finished(api, submit(api, {"prompt": "again"}).json()["data"]["id"])
    before, lines = web.get(first["outputImage"]["storageUrl"]).content, len(shared_sim.bill("banatie")["lines"])
    path = f"/generations/{first['id']}"
    assert api.post(f"{path}/regenerate").json()["data"]["status"] == "pending"
    again = finished(api, first["id"])
    changed = api.put(path, json={"prompt": "otherwise", "meta": {"a": 1}})
    other = finished(api, first["id"])
    assert api.put(path, json={"meta": {"a": 2}}).json()["data"]["meta"] == {"a": 2}
    assert (changed.status_code, other["originalPrompt"], other["retryCount"]) == (200, "otherwise", 2)
    assert first["outputImage"]["id"] == again["outputImage"]["id"] == other["outputImage"]["id"]
    assert web.get(first["outputImage"]["storageUrl"]).content != before
    assert len(shared_sim.bill("banatie")["lines"]) == lines + 2


def test_a_flow_lists_its_own(api: httpx.Client) -> None:
    flow = str(uuid.uuid4())
    generation_id = submit(api, {"prompt": "p", "flowId": flow}).json()["data"]["id"]
    assert [row["id"] for row in api.get(f"/flows/{flow}/generations").json()["data"]] == [generation_id]
