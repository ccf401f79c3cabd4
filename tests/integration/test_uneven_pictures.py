"""Pictures of one job that do not come together: what is there is copied, and what nobody asked for fails nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from ops.stack import Endpoints
from tests.integration.test_costs import picture, working
from tests.support.drain import BRAND, drain
from tests.support.http_stub import Stub, provider
from tests.support.outcome import ended, only


@pytest.fixture
def bloom() -> Iterator[Stub]:
    with provider({"GET /pic": picture(), "GET /credits": {"data": {"balance": 100}}}) as serving:
        yield serving


def made(stub: Stub, *images: dict[str, Any]) -> None:
    """Let a purchase name these images, and let every look show them as they are."""
    stub.routes["POST /images/generations"] = (202, {"data": {"ids": [one["id"] for one in images]}})
    stub.routes["GET /images"] = {"data": {"images": list(images), "hasMore": False, "nextCursor": None}}
    for one in images:
        stub.routes[f"GET /images/{one['id']}"] = {"data": one}


def ready(stub: Stub, name: str) -> dict[str, Any]:
    return {"id": name, "status": "completed", "imageUrl": f"{stub.url}/pic?{name}"}


def test_a_finished_picture_is_stored_while_its_neighbour_is_stuck_for_good(
    bloom: Stub, database_url: str, endpoints: Endpoints
) -> None:
    made(bloom, ready(bloom, "i0"), {"id": "i1", "status": "generating"})
    with working(bloom, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime):
        client.enqueue([{"provider": "bloom", "prompt": "a harbour", "n": 2}], batch="b")
        drain(runtime, lambda: [image["state"] for image in client.results("b")] == ["stored", "processing"])
        assert only(client)["job"]["state"] in {"pending", "processing"}
        made(bloom, ready(bloom, "i0"), ready(bloom, "i1"))
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 1}
        assert bloom.asked.count("POST /images/generations") == 1


def test_a_finished_picture_is_stored_while_its_neighbour_cannot_be_asked_for(
    bloom: Stub, database_url: str, endpoints: Endpoints
) -> None:
    made(bloom, ready(bloom, "i0"), {"id": "i1", "status": "generating"})
    bloom.routes["GET /images/i1"] = (503, {})
    with working(bloom, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime):
        client.enqueue([{"provider": "bloom", "prompt": "a harbour", "n": 2}], batch="b")
        drain(runtime, lambda: [image["state"] for image in client.results("b")] == ["stored", "processing"])
        assert only(client)["job"]["state"] in {"pending", "processing"}


def test_a_job_succeeds_with_what_it_asked_for_although_an_additional_picture_fails(
    bloom: Stub, database_url: str, endpoints: Endpoints
) -> None:
    made(bloom, ready(bloom, "i0"), {"id": "i1", "status": "failed", "failureReason": "content_safety"})
    with working(bloom, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime):
        client.enqueue([{"provider": "bloom", "prompt": "a harbour", "n": 1}], batch="b")
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 1}
        assert [image["state"] for image in client.results("b")] == ["stored", "failed"]
