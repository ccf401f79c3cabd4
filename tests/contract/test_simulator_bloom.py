"""The simulated Bloom against its OpenAPI document."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from ops.simulator import BloomSettings, Simulator

Submission = Callable[..., dict[str, Any]]

_DOCUMENT = json.loads((Path(__file__).parent / "bloom-openapi.json").read_text())
_REGISTRY = Registry().with_resource("urn:bloom", cast("Any", Resource)(_DOCUMENT, DRAFT202012))
_FIFTEEN = {
    "id", "source", "status", "failureReason", "prompt", "description", "imageUrl", "aspectRatio", "width", "height",
    "actionType", "variantGroupId", "workspaceId", "workspaceName", "createdAt",
}  # fmt: skip
_ANALYZING, _LOGO_REQUIRED, _FAILED = (f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "234")


def assert_documented(reply: httpx.Response, operation: str) -> Any:
    """Check a reply against the schema of ``METHOD /path``; return its JSON."""
    method, path = operation.split()
    pointer = path.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    where = f"/paths/{pointer}/{method.lower()}/responses/{reply.status_code}/content/application~1json/schema"
    validator = Draft202012Validator({"$ref": f"urn:bloom#{where}"}, registry=_REGISTRY, format_checker=FormatChecker())
    validator.validate(reply.json())
    return reply.json()


def submit(client: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    return client.post("/images/generations", json=body, headers=headers)


def finished(client: httpx.Client, image_id: str) -> Any:
    return client.get(f"/images/{image_id}", params={"wait": "true"}).json()["data"]


def test_our_copy_of_the_document_is_valid_json_schema() -> None:
    for path in _DOCUMENT["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                Draft202012Validator.check_schema(response["content"]["application/json"]["schema"])


def test_a_submit_is_accepted_with_one_id_and_no_group(bloom: httpx.Client, submission: Submission) -> None:
    reply = submit(bloom, submission())
    data = assert_documented(reply, "POST /images/generations")["data"]
    assert (reply.status_code, data["status"], data["variantGroupId"], len(data["ids"])) == (
        202,
        "pending",
        None,
        1,
    )


def test_variants_share_a_group_and_each_has_its_own_image(bloom: httpx.Client, submission: Submission) -> None:
    data = submit(bloom, submission(variantCount=5, imageSize="4K", aspectRatio="16:9")).json()["data"]
    groups = {finished(bloom, image_id)["variantGroupId"] for image_id in data["ids"]}
    assert len(set(data["ids"])) == 5
    assert groups == {data["variantGroupId"]}


def test_every_answer_about_an_image_has_all_fifteen_fields(
    bloom: httpx.Client, start: Any, web: httpx.Client, submission: Submission
) -> None:
    key, never = {"x-api-key": "sim-a"}, start(bloom=BloomSettings(latency=(1e6, 1e6)))
    pending = web.post(f"{never.bloom_url}/images/generations", json=submission(), headers=key).json()["data"]["ids"][0]
    early = assert_documented(web.get(f"{never.bloom_url}/images/{pending}", headers=key), "GET /images/{id}")["data"]
    image_id = submit(bloom, submission("fifteen")).json()["data"]["ids"][0]
    late = assert_documented(bloom.get(f"/images/{image_id}?wait=1&timeout=295"), "GET /images/{id}")["data"]
    assert set(early) == set(late) == _FIFTEEN
    assert (early["imageUrl"], early["width"]) == (None, None)
    assert (late["status"], late["prompt"], late["aspectRatio"], late["width"]) == (
        "completed",
        "fifteen",
        "1:1",
        96,
    )
    assert datetime.fromisoformat(late["createdAt"]).tzinfo is not None


def test_an_image_is_pending_then_generating_then_completed(start: Any, submission: Submission) -> None:
    sim = start(time_scale=20, bloom=BloomSettings(latency=(20, 20), requests_per_minute=None))
    with httpx.Client(base_url=sim.bloom_url, headers={"x-api-key": "sim-a"}) as client:
        image_id = submit(client, submission()).json()["data"]["ids"][0]
        seen: list[str] = []
        while not seen or seen[-1] != "completed":
            status = client.get(f"/images/{image_id}").json()["data"]["status"]
            if status not in seen:
                seen.append(status)
    assert seen == ["pending", "generating", "completed"]


def test_waiting_gives_up_at_its_timeout_with_the_image_as_it_is(start: Any, submission: Submission) -> None:
    sim = start(bloom=BloomSettings(latency=(2000, 2000)))
    with httpx.Client(base_url=sim.bloom_url, headers={"x-api-key": "sim-a"}) as client:
        image_id = submit(client, submission()).json()["data"]["ids"][0]
        reply = client.get(f"/images/{image_id}?wait=true&timeout=1")
    assert (reply.status_code, reply.json()["data"]["status"]) == (200, "pending")


@pytest.mark.parametrize(
    ("mark", "reason"), [("moderated", "content_safety"), ("failed", None), ("rate_limited", "rate_limited")]
)
def test_a_mark_in_the_prompt_fails_the_image(
    bloom: httpx.Client, submission: Submission, mark: str, reason: str | None
) -> None:
    image_id = submit(bloom, submission(f"x [sim:{mark}]")).json()["data"]["ids"][0]
    data = assert_documented(bloom.get(f"/images/{image_id}?wait=true"), "GET /images/{id}")["data"]
    assert (data["status"], data["failureReason"], data["imageUrl"]) == ("failed", reason, None)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"prompt": ""}, 400, "BAD_REQUEST"),
        ({"prompt": "x" * 2001}, 400, "BAD_REQUEST"),
        ({"prompt": None}, 400, "BAD_REQUEST"),
        ({"brandSessionId": "no-uuid"}, 400, "BAD_REQUEST"),
        ({"aspectRatio": "7:5"}, 400, "BAD_REQUEST"),
        ({"imageSize": "1K"}, 400, "BAD_REQUEST"),
        ({"model": "ultra"}, 400, "BAD_REQUEST"),
        ({"variantCount": 6}, 400, "BAD_REQUEST"),
        ({"variantCount": True}, 400, "BAD_REQUEST"),
        ({"referenceImageIds": ["x"]}, 400, "BAD_REQUEST"),
        ({"referenceImageIds": [str(uuid.UUID(int=n)) for n in range(11)]}, 400, "REFERENCE_LIMIT_EXCEEDED"),
        ({"referenceImageIds": [str(uuid.UUID(int=1))]}, 404, "REFERENCE_IMAGE_NOT_FOUND"),
        ({"brandSessionId": _LOGO_REQUIRED}, 400, "SESSION_MISSING_BRAND_IMAGE"),
        ({"brandSessionId": _ANALYZING}, 409, "BRAND_NOT_READY"),
        ({"brandSessionId": _FAILED}, 409, "BRAND_NOT_READY"),
        ({"brandSessionId": str(uuid.UUID(int=9))}, 422, "BRAND_NOT_FOUND"),
    ],
)
def test_a_bad_submit_is_refused_as_documented_and_costs_nothing(
    bloom: httpx.Client, shared_sim: Simulator, submission: Submission, change: Any, status: int, code: str
) -> None:
    before = len(shared_sim.bill()["lines"])
    reply = submit(bloom, submission(**change))
    error = assert_documented(reply, "POST /images/generations")
    assert (reply.status_code, error["status"], error["code"]) == (status, status, code)
    assert len(shared_sim.bill()["lines"]) == before


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("unknown", 401, "UNAUTHORIZED"),
        ("poor", 402, "INSUFFICIENT_CREDITS"),
        ("unpaid", 402, "PAYMENT_REQUIRED"),
        ("banned", 403, "ACCOUNT_BANNED"),
        ("no-plan", 403, "FORBIDDEN"),
        ("free", 403, "FEATURE_NOT_ENTITLED"),
        ("hurried", 429, "TOO_MANY_REQUESTS"),
    ],
)
def test_an_account_is_refused_as_documented(
    bloom: httpx.Client, submission: Submission, key: str, status: int, code: str
) -> None:
    reply = submit(bloom, submission(imageSize="4K"), **{"x-api-key": key})
    error = assert_documented(reply, "POST /images/generations")
    assert (reply.status_code, error["code"]) == (status, code)
    if status == 402:
        assert error["data"]["action_url"].startswith("http")


def test_the_api_key_header_wins_over_the_bearer_token(bloom: httpx.Client, web: httpx.Client) -> None:
    both = bloom.get("/account", headers={"x-api-key": "nobody", "authorization": "Bearer sim-b"})
    bearer = web.get(f"{bloom.base_url}account", headers={"authorization": "Bearer sim-b"})
    assert both.status_code == 401
    assert assert_documented(bearer, "GET /account")["data"]["name"] == "sim-b"


def test_the_nested_envelope_carries_the_same_error(start: Any, web: httpx.Client) -> None:
    sim = start(bloom=BloomSettings(envelope="nested"))
    error = web.get(f"{sim.bloom_url}/account").json()["error"]
    assert error == {"code": "UNAUTHORIZED", "status": 401, "message": "Invalid or missing API credentials"}


def test_an_unknown_or_foreign_image_is_not_found(bloom: httpx.Client, submission: Submission) -> None:
    image_id = submit(bloom, submission(), **{"x-api-key": "sim-other"}).json()["data"]["ids"][0]
    reply = bloom.get(f"/images/{image_id}")
    assert assert_documented(reply, "GET /images/{id}")["code"] == "IMAGE_NOT_FOUND"


def test_fifty_ids_are_polled_in_one_call_and_foreign_ones_dropped(bloom: httpx.Client, submission: Submission) -> None:
    ids = [
        image_id
        for number in range(10)
        for image_id in submit(bloom, submission(f"b{number}", variantCount=5)).json()["data"]["ids"]
    ]
    wanted = [*ids[1:], str(uuid.uuid4())]
    reply = bloom.get("/images", params={"ids": ",".join(wanted), "wait": "true"})
    data = assert_documented(reply, "GET /images")["data"]
    assert [row["id"] for row in data["images"]] == ids[:0:-1]
    assert {row["status"] for row in data["images"]} == {"completed"}
    assert bloom.get("/images", params={"ids": ",".join([*ids, ids[0][:-1] + "f"])}).status_code == 400


def test_a_list_walks_back_through_pages_by_cursor(bloom: httpx.Client, submission: Submission) -> None:
    mine = {"x-api-key": "sim-pages"}
    ids = [submit(bloom, submission(f"page {n}"), **mine).json()["data"]["ids"][0] for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2", "cursor": cursor, "brandSessionId": submission()["brandSessionId"]}
        data = assert_documented(bloom.get("/images", params=query, headers=mine), "GET /images")["data"]
        seen += [row["id"] for row in data["images"]]
        cursor = data["nextCursor"]
    assert seen == ids[::-1]


def test_a_list_filters_by_status_and_source(bloom: httpx.Client, submission: Submission) -> None:
    mine = {"x-api-key": "sim-filters"}
    good, bad = (
        submit(bloom, submission(prompt), **mine).json()["data"]["ids"][0] for prompt in ("ok", "[sim:failed]")
    )
    bloom.get("/images", params={"ids": f"{good},{bad}", "wait": "true"}, headers=mine)

    def listed(**query: str) -> list[str]:
        return [row["id"] for row in bloom.get("/images", params=query, headers=mine).json()["data"]["images"]]

    assert listed(status="failed") == [bad]
    assert listed(status="completed", actionType="generation") == [good]
    assert listed(source="uploaded") == []


@pytest.mark.parametrize(
    "query",
    ["timeout=296", "timeout=0", "wait=maybe", "limit=101", "limit=0", "status=done", "cursor=%21", "ids=x"],
)
def test_a_bad_list_question_is_a_400(bloom: httpx.Client, query: str) -> None:
    assert assert_documented(bloom.get(f"/images?{query}"), "GET /images")["code"] == "BAD_REQUEST"


def test_a_deleted_image_is_gone_with_its_link(bloom: httpx.Client, web: httpx.Client, submission: Submission) -> None:
    first, second = submit(bloom, submission("delete me", variantCount=2)).json()["data"]["ids"]
    url = finished(bloom, first)["imageUrl"]
    assert_documented(bloom.delete(f"/images/{first}"), "DELETE /images/{id}")
    assert bloom.delete(f"/images/{first}").status_code == 404
    assert web.get(url).status_code == 404
    reply = bloom.delete("/images", params={"ids": f"{first},{second}"})
    assert assert_documented(reply, "DELETE /images")["data"]["deletedCount"] == 1


def test_brands_account_workspaces_and_credits_are_as_documented(bloom: httpx.Client, submission: Submission) -> None:
    brands = assert_documented(bloom.get("/brands"), "GET /brands")["data"]["brands"]
    one = assert_documented(bloom.get(f"/brands/{brands[0]['id']}"), "GET /brands/{id}")["data"]
    assert [row["status"] for row in brands] == ["ready", "analyzing", "logo_required", "failed"]
    assert one["id"] == submission()["brandSessionId"]
    assert_documented(bloom.get(f"/brands/{uuid.uuid4()}"), "GET /brands/{id}")
    assert_documented(bloom.get("/workspaces"), "GET /workspaces")
    assert_documented(bloom.get("/credits", params={"workspaceId": "team"}), "GET /credits")
    mine = {"x-api-key": "sim-credits"}
    submit(bloom, submission(imageSize="4K", variantCount=3), **mine)
    credit = assert_documented(bloom.get("/credits", headers=mine), "GET /credits")["data"]
    assert credit == {"balance": 100_000 - 6, "unlimited": False}


def test_a_completed_image_can_be_a_reference(bloom: httpx.Client, submission: Submission) -> None:
    image_id = submit(bloom, submission("reference")).json()["data"]["ids"][0]
    assert submit(bloom, submission("uses it", referenceImageIds=[image_id])).status_code == 202


def test_the_short_link_redirects_to_a_fresh_signature_each_time(
    bloom: httpx.Client, web: httpx.Client, submission: Submission
) -> None:
    url = finished(bloom, submit(bloom, submission("link")).json()["data"]["ids"][0])["imageUrl"]
    target = web.get(url)
    assert target.status_code == 302
    assert "sig=" in target.headers["location"]
    assert "sig=" not in url
    image = web.get(target.headers["location"])
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")


def test_include_urls_gives_signed_links_and_a_failed_row_has_none(
    bloom: httpx.Client, web: httpx.Client, submission: Submission
) -> None:
    failed = submit(bloom, submission("[sim:failed]")).json()["data"]["ids"][0]
    early = bloom.get("/images", params={"ids": failed, "wait": "1"}).json()["data"]["images"][0]
    image_id = submit(bloom, submission("signed")).json()["data"]["ids"][0]
    query = {"ids": image_id, "wait": "1", "includeUrls": "true"}
    late = assert_documented(bloom.get("/images", params=query), "GET /images")["data"]["images"][0]
    assert "imageUrl" not in early
    assert web.get(late["imageUrl"]).headers["content-type"] == "image/png"


def test_image_urls_can_be_relative(start: Any, submission: Submission) -> None:
    sim = start(bloom=BloomSettings(relative_urls=True, latency=(1, 1)))
    with httpx.Client(base_url=sim.bloom_url, headers={"x-api-key": "sim-a"}) as client:
        image_id = submit(client, submission()).json()["data"]["ids"][0]
        assert finished(client, image_id)["imageUrl"] == f"/bloom/img/{image_id}"
