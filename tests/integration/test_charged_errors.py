"""Errors that state a charge or carry what was bought: paid for once, kept, and in the bill."""

import json
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

from ops.stack import Endpoints
from producer import Client
from tests.integration.test_costs import MODEL, POSTS, command, openrouter, picture, working
from tests.support.drain import drain
from tests.support.http_stub import Stub, provider
from tests.support.outcome import ended, ends, only

PRICE = Decimal("0.04")
PRICES = {MODEL: str(PRICE)}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with provider({}) as serving:
        serving.routes |= {"GET /pic": picture(), "GET /credits": {"data": {"total_credits": 10, "total_usage": 0}}}
        yield serving


def receipt(stub: Stub, **more: Any) -> dict[str, Any]:
    return {"id": "req-1", "data": [{"url": f"{stub.url}/pic"}], "usage": {"total_cost": 0.04}, **more}


def order(client: Client, name: str) -> None:
    client.enqueue([{"provider": name, "model": MODEL, "prompt": "a harbour", "custom_id": "a"}], batch="b")


def held_and_settled(client: Client) -> tuple[Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["held"], line["settled"]


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("code", [429, 402, 502])
def test_what_states_its_charge_is_never_bought_again_by_itself(
    status: int, code: int, stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    error = {"error": {"code": code, "message": "the model is busy"}, "usage": {"cost": 0.04}}
    stub.routes["POST /images"] = (status, error)
    stub.routes["GET /key"] = lambda _: {"data": {"usage": 0.04 * stub.asked.count("POST /images")}}
    with working(stub, "openrouter", database_url, endpoints, prices=PRICES) as (client, runtime):
        order(client, "openrouter")
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("in_doubt", "charge_stated")}
        assert held_and_settled(client) == (PRICE, 0)
        assert stub.asked.count("POST /images") == 1
        (attempt,) = only(client)["submissions"]
        assert "it states a charge of 0.04" in attempt["error"]
        assert attempt["kept_as"]


def test_an_account_that_is_refused_for_its_credit_and_charged_waits_for_a_person(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    error = {"error": {"code": 402, "message": "no credit"}, "usage": {"cost": 0.04}}
    stub.routes |= {"POST /images": (402, error), "GET /key": {"data": {"usage": 0}}}
    with working(stub, "openrouter", database_url, endpoints, prices=PRICES) as (client, runtime):
        order(client, "openrouter")
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("in_doubt", "charge_stated")}
        (account,) = client.accounts()
        assert (account["paused_code"], account["probe_at"]) == ("charge_stated", None)


@pytest.mark.parametrize("status", [301, 402, 422, 429, 503])
def test_a_receipt_under_a_wrong_status_is_not_thrown_away(
    status: int, stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes[POSTS["getimg"]] = (status, receipt(stub))
    with working(stub, "getimg", database_url, endpoints, prices=PRICES) as (client, runtime):
        order(client, "getimg")
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert held_and_settled(client) == (0, PRICE)
        assert stub.asked.count(POSTS["getimg"]) == 1


def test_images_under_a_wrong_status_are_stored(stub: Stub, database_url: str, endpoints: Endpoints) -> None:
    stub.routes["POST /images"] = (500, openrouter(cost=0.04))
    with working(stub, "openrouter", database_url, endpoints, prices=PRICES) as (client, runtime):
        order(client, "openrouter")
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("succeeded", None)}
        assert held_and_settled(client) == (0, PRICE)


@pytest.mark.parametrize("name", ["getimg", "openrouter"])
def test_the_answer_of_a_held_call_is_kept_and_named_whatever_its_status(
    name: str, stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    said = {"status": "completed", "id": "req-1"}
    stub.routes[POSTS[name]] = (429, said)
    stub.routes["GET /key"] = {"data": {"usage": 0}}
    with working(stub, name, database_url, endpoints, prices=PRICES) as (client, runtime):
        order(client, name)
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("in_doubt", "answer_unreadable")}
        (attempt,) = only(client)["submissions"]
        key = attempt["kept_as"].partition(f"{runtime.settings.s3_bucket}/")[2]
        kept = BytesIO()
        runtime.storage.get_to(key, kept)
        assert json.loads(kept.getvalue()) == said
        (job,) = client.jobs("b")
        assert attempt["kept_as"] in str(command(database_url, "explain", str(job["id"])))
