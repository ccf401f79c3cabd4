"""What is bought is collected, free, before anything is bought again, and one word of a provider ends nothing."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.integration.test_costs import picture, working
from tests.support import held, rows
from tests.support.drain import BRAND, drain
from tests.support.http_stub import Stub, provider
from tests.support.outcome import ended, ends
from worker.next_step import MISSING_LOOKS
from worker.runtime import Runtime

IDS: Final = ["i0", "i1"]
SUBMITS: Final = {
    "bloom": "POST /images/generations",
    "banatie": "POST /api/v1/generations",
    "posteverywhere": "POST /ai/generate-image",
}
LOOKS: Final = {
    "bloom": "GET /images/i0",
    "banatie": "GET /api/v1/generations/i0",
    "posteverywhere": "GET /media/i0",
}
POLLING: Final = pytest.mark.parametrize("name", sorted(LOOKS))


@pytest.fixture
def stub() -> Iterator[Stub]:
    with provider({}) as serving:
        serving.routes |= {"GET /pic": picture(), "GET /credits": {"data": {"balance": 100}}}
        yield serving


def receipt(name: str, *ids: str) -> tuple[int, Any]:
    if name == "bloom":
        return 202, {"data": {"ids": list(ids), "status": "pending"}}
    if name == "banatie":
        return 201, {"success": True, "data": {"id": ids[0], "status": "pending"}}
    return 201, {"data": {"media_id": ids[0], "media_ids": list(ids), "credits_used": 1}, "error": None}


def answer(name: str, stub: Stub, state: str, upstream_id: str = "i0", said: str = "overloaded") -> Any:
    """What a provider says of one picture that is `made`, or that has `failed` for no final reason."""
    link = f"{stub.url}/pic" if state == "made" else None
    if name == "bloom":
        return {"data": {"id": upstream_id, "status": "completed" if link else "failed", "imageUrl": link}}
    if name == "banatie":
        row: dict[str, Any] = {"id": upstream_id, "status": "success" if link else "failed"}
        told = {"outputImage": {"storageUrl": link}} if link else {"errorMessage": said, "retryCount": 0}
        return {"success": True, "data": {**row, **told}}
    return {"data": {"media_id": upstream_id, "status": "ready" if link else "failed", "url": link}}


def order(client: Client, name: str, n: int = 1) -> None:
    model = {"model": "flux-schnell"} if name == "posteverywhere" else {}
    many = {"n": n} if name == "bloom" else {}
    client.enqueue([{"provider": name, "prompt": "a harbour", "custom_id": "a", **model, **many}], batch="b")


Opened = Callable[[str], Any]


@pytest.fixture
def opened(stub: Stub, database_url: str, endpoints: Endpoints) -> Opened:
    def opened(name: str) -> Any:
        brand = {"brand_session_id": BRAND} if name == "bloom" else {}
        stub.routes[SUBMITS[name]] = receipt(name, "i0")
        return working(stub, name, database_url, endpoints, **brand)

    return opened


def two(stub: Stub, first: Any, second: Any) -> None:
    """Have Bloom give two pictures for one call, and say this of each."""
    stub.routes[SUBMITS["bloom"]] = receipt("bloom", *IDS)
    stub.routes["GET /images"] = {"data": {"images": [first, second], "hasMore": False, "nextCursor": None}}
    stub.routes |= {"GET /images/i0": {"data": first}, "GET /images/i1": {"data": second}}


def found(client: Client) -> list[tuple[int, str | None, str]]:
    images = client.story(client.find_job("a"))["images"]
    return [(one["index"], one["upstream_id"], one["state"]) for one in images]


def acts(client: Client) -> tuple[int, int, int]:
    plan = client.plan_retry(batch="b")
    return len(plan.ask), len(plan.fetch), len(plan.buy_again)


@pytest.mark.parametrize("allowed", [False, True])
def test_an_image_that_can_be_collected_is_collected_before_its_moderated_neighbour_is_bought_again(
    stub: Stub, opened: Opened, *, allowed: bool
) -> None:
    made = {"id": "i0", "status": "completed", "imageUrl": f"{stub.url}/pic"}
    two(stub, made, {"id": "i1", "status": "failed", "failureReason": "content_safety", "imageUrl": None})
    stub.routes["GET /pic"] = b"<html>down</html>"
    with opened("bloom") as (client, runtime):
        two(stub, made, {"id": "i1", "status": "failed", "failureReason": "content_safety", "imageUrl": None})
        order(client, "bloom", n=2)
        drain(runtime, ended(client))
        assert found(client) == [(0, "i0", "failed"), (1, "i1", "failed")]
        stub.routes["GET /pic"] = picture()
        assert acts(client) == (1, 0, 0)
        client.retry(client.plan_retry(batch="b"), buy_again=allowed)
        drain(runtime, ended(client))
        assert found(client) == [(0, "i0", "stored"), (1, "i1", "failed")]
        assert acts(client) == (0, 0, 1)
        two(stub, made, made)
        stub.routes[SUBMITS["bloom"]] = receipt("bloom", "j1")
        stub.routes["GET /images/j1"] = {"data": {**made, "id": "j1", "imageUrl": f"{stub.url}/pic?j1"}}
        client.retry(client.plan_retry(batch="b"), buy_again=True)
        drain(runtime, ended(client))
        assert found(client) == [(0, "i0", "stored"), (1, "j1", "stored")]
        assert ends(client) == {"a": ("succeeded", None)}


def test_an_image_whose_link_lives_is_fetched_although_its_neighbour_cannot_be_collected(
    client: Client, engine: Engine
) -> None:
    claim = rows.transferring(engine, *[rows.ImageState.READY] * 2)
    failed = "state = 'failed', upstream_id = NULL, error_code"
    rows.rows(engine, f"UPDATE image SET {failed} = 'result_timeout' WHERE index = 0")  # noqa: S608
    rows.rows(engine, f"UPDATE image SET {failed} = 'not_delivered', link = NULL WHERE index = 1")  # noqa: S608
    rows.rows(engine, "UPDATE job SET state = 'failed', error_code = 'x', due_at = NULL, finished_at = now()")
    assert acts(client) == (0, 1, 0)
    assert client.retry(client.plan_retry(batch="b"), buy_again=True) == 1
    assert [row.state for row in rows.rows(engine, "SELECT state FROM image ORDER BY index")] == ["ready", "failed"]
    assert rows.job(engine, claim.job_id).state == "transferring"


@pytest.mark.parametrize(("name", "said"), [*((name, "overloaded") for name in LOOKS), ("banatie", "blocked: safety")])
def test_a_failure_that_the_provider_takes_back_ends_nothing(name: str, said: str, stub: Stub, opened: Opened) -> None:
    looks: list[int] = []

    def look(_body: Any) -> Any:
        looks.append(1)
        return answer(name, stub, "made" if len(looks) >= MISSING_LOOKS else "failed", said=said)

    with opened(name) as (client, runtime):
        stub.routes[LOOKS[name]] = look
        order(client, name)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert sum(one == SUBMITS[name] for one in stub.asked) == 1


@POLLING
def test_a_failure_that_is_said_once_of_a_finished_picture_ends_nothing(name: str, stub: Stub, opened: Opened) -> None:
    """Its link is refused once, and the look for a new one says once that it failed, with a reason that ends it."""
    asked: list[str] = []

    def shown(_body: Any) -> Any:
        asked.append("picture")
        return (404, b"none") if asked.count("picture") == 1 else picture()

    def look(_body: Any) -> Any:
        asked.append("look")
        wrong = asked.count("picture") == 1 and asked[-2] == "picture"
        found = answer(name, stub, "failed" if wrong else "made", said="content_safety: refused")
        if wrong:
            found["data"] |= {"failureReason": "content_safety", "errorCode": "content_safety"}
        return found

    with opened(name) as (client, runtime):
        stub.routes |= {LOOKS[name]: look, "GET /pic": shown}
        order(client, name)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert asked.count("picture") == 2


@POLLING
def test_a_failure_that_stays_is_believed_and_asked_about_once_more_before_it_is_bought_again(
    name: str, stub: Stub, opened: Opened
) -> None:
    with opened(name) as (client, runtime):
        stub.routes[LOOKS[name]] = answer(name, stub, "failed")
        order(client, name)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("failed", "generation_failed")}
        assert sum(one == LOOKS[name] for one in stub.asked) >= MISSING_LOOKS
        assert acts(client) == (1, 0, 0)
        client.retry(client.plan_retry(batch="b"))
        drain(runtime, ended(client))
        assert acts(client) == (0, 0, 1)
        assert client.retry(client.plan_retry(batch="b")) == 0
        assert sum(one == SUBMITS[name] for one in stub.asked) == 1


@POLLING
def test_what_a_provider_made_after_all_is_collected_by_a_plain_retry(name: str, stub: Stub, opened: Opened) -> None:
    with opened(name) as (client, runtime):
        stub.routes[LOOKS[name]] = answer(name, stub, "failed")
        order(client, name)
        drain(runtime, ended(client))
        stub.routes[LOOKS[name]] = answer(name, stub, "made")
        client.retry(client.plan_retry(batch="b"))
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}


def test_a_receipt_that_says_failed_is_asked_about(stub: Stub, opened: Opened) -> None:
    with opened("banatie") as (client, runtime):
        stub.routes[SUBMITS["banatie"]] = (201, answer("banatie", stub, "failed"))
        stub.routes[LOOKS["banatie"]] = answer("banatie", stub, "made")
        order(client, "banatie")
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}


@POLLING
def test_an_answer_that_names_another_picture_is_not_ours(name: str, stub: Stub, opened: Opened) -> None:
    """A cache in front of a provider mixes two answers up, and then does not."""
    looks: list[int] = []

    def look(_body: Any) -> Any:
        looks.append(1)
        return answer(name, stub, "made", "I0" if len(looks) > 2 else "i9")

    with opened(name) as (client, runtime):
        stub.routes[LOOKS[name]] = look
        order(client, name)
        drain(runtime, lambda: len(looks) >= 1 and seen_wrong(client, runtime))
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert len(looks) == 3


@pytest.mark.parametrize("ours", [True, False])
def test_a_receipt_that_carries_another_calls_reference_is_not_ours(stub: Stub, opened: Opened, *, ours: bool) -> None:
    def submit(body: Any) -> Any:
        meta = body["meta"] if ours else {"genqueue_submission": "00000000-0000-7000-8000-000000000000"}
        made = answer("banatie", stub, "made")
        return 201, {**made, "data": {**made["data"], "meta": meta}}

    with opened("banatie") as (client, runtime):
        stub.routes[SUBMITS["banatie"]] = submit
        stub.routes["GET /api/v1/generations"] = {"success": True, "data": [], "pagination": {"total": 0}}
        order(client, "banatie")
        drain(runtime, ended(client))
        (state, code) = ends(client)["a"]
        assert state == ("succeeded" if ours else "in_doubt")
        assert ours or code == "answer_unreadable"
        assert len(found(client)) == ours


def seen_wrong(client: Client, runtime: Runtime) -> bool:
    """Whether a look that could not be read left the job waiting, with the reason."""
    (job,) = rows.rows(runtime.engine, "SELECT state, error_code FROM job")
    assert job.state != "succeeded"
    return bool(job.error_code == "look_failed")


def test_a_link_whose_stated_end_passed_is_tried_free_for_a_day_unless_its_host_refused_it(
    client: Client, engine: Engine
) -> None:
    for code, free in (("result_unavailable", 1), ("result_expired", 0)):
        (job,) = held.failed(engine, account="getimg", code=code)
        link = "https://example.com/i"
        failed = "UPDATE image SET link = :link, error_code = :code, link_expires_at = now() - CAST(:ago AS interval)"
        rows.rows(engine, f"{failed} WHERE job_id = :job", link=link, code=code, ago="1 hour", job=job)
        plan = client.plan_retry(job=job)
        assert (len(plan.fetch), len(plan.buy_again)) == (free, 1 - free)
        rows.rows(engine, f"{failed} WHERE job_id = :job", link=link, code=code, ago="2 days", job=job)
        assert len(client.plan_retry(job=job).buy_again) == 1


def test_a_link_whose_stated_end_passed_is_tried_once_and_then_its_picture_may_be_bought_again(
    client: Client, engine: Engine
) -> None:
    (job,) = held.failed(engine, account="getimg", code="result_unavailable")
    link = "UPDATE image SET link = 'https://example.com/i', error_code = 'result_unavailable'"
    rows.rows(engine, f"{link}, state = 'failed', link_expires_at = now() - interval '1 hour'")
    client.retry(client.plan_retry(job=job))
    assert rows.job(engine, job).state == "transferring"
    rows.rows(engine, link + ", state = 'failed'")
    rows.rows(
        engine,
        "UPDATE job SET state = 'failed', error_code = 'x', due_at = NULL, claimed_by = NULL, finished_at = now()",
    )
    assert len(client.plan_retry(job=job).buy_again) == 1
