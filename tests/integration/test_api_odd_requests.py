"""Odd requests to the HTTP API: each is refused by name, none is a defect in the log, none is taken for another."""

import base64
import hashlib
import json
from typing import Any

import pytest
from httpx import Client as Http

from producer import Client
from producer.api import bodies
from producer.api.app import endpoints
from producer.api.bodies import StrictRoute
from producer.api.direct import DirectRoute
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support.api import HARBOUR, bearer

MOMENT = "2026-05-04T12:00:00+00:00"
NOBODY = "00000000-0000-0000-0000-000000000000"


def cursor(filters: dict[str, Any], *parts: Any) -> str:
    """Return a cursor of a list, as somebody makes it who has read the source."""
    digest = hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:12]
    return base64.urlsafe_b64encode(json.dumps([digest, *parts]).encode()).decode().rstrip("=")


@pytest.mark.parametrize("parts", [("x",), ("",), (NOBODY, NOBODY), (), (7,), ("\x00",)])
def test_an_altered_cursor_of_jobs_is_refused(http: Http, parts: tuple[Any, ...]) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    query = {"batch": "shop", "cursor": cursor({"batch": "shop", "state": None}, *parts)}
    refused(http.get("/v1/jobs", params=query), 400, "cursor_invalid")


@pytest.mark.parametrize("parts", [("x", NOBODY), (MOMENT, "x"), (MOMENT,), (MOMENT, None), ("24:00", NOBODY)])
def test_an_altered_cursor_of_batches_is_refused(http: Http, parts: tuple[Any, ...]) -> None:
    refused(http.get("/v1/batches", params={"cursor": cursor({"prefix": ""}, *parts)}), 400, "cursor_invalid")


@pytest.mark.parametrize("batch", [[], {}, 0, False, "", 0.0, ["shop"]])
def test_a_batch_that_is_no_name_is_refused_and_no_job_goes_to_the_tokens_own(
    http: Http, alice: Client, batch: Any
) -> None:
    told = refused(http.post("/v1/jobs", json={**HARBOUR, "batch": batch}), 422, "request_invalid")
    assert [fault["field"] for fault in told["errors"]] == ["batch"]
    assert alice.batches() == []


@pytest.mark.parametrize("custom_id", [[], {}, 0, False, ""])
def test_a_custom_id_of_another_type_is_refused_and_none_of_it_is_made_up(http: Http, custom_id: Any) -> None:
    assert http.post("/v1/jobs", json={**HARBOUR, "custom_id": custom_id}).status_code in {400, 422}


@pytest.mark.parametrize("keys", [["ké".encode()], ["ké".encode("latin-1")], [b"one", b"two"], [b"a" * 256]])
def test_a_key_that_can_be_read_in_two_ways_is_refused(http: Http, alice: Client, keys: list[bytes]) -> None:
    row = {name: value for name, value in HARBOUR.items() if name != "custom_id"}
    told = refused(http.post("/v1/jobs", json=row, headers=[(b"Idempotency-Key", key) for key in keys]), 422,
                   "request_invalid")  # fmt: skip
    assert [fault["field"] for fault in told["errors"]] == ["header.idempotency-key"]
    assert alice.batches() == []


def test_a_custom_id_of_any_script_is_the_same_from_every_body(http: Http) -> None:
    first, again = (http.post("/v1/jobs", json={**HARBOUR, "custom_id": "kélé-港"}) for _ in range(2))
    assert first.json()["custom_id"] == "kélé-港"
    assert first.json()["id"] == again.json()["id"]


WITH_BODY = [
    ("POST", "/v1/batches/shop:cancel", '"error_code": "answer_lost"'),
    ("POST", "/v1/batches/shop:retry", '"buy_again": false'),
    ("POST", "/v1/batches/shop:resolve", '"decision": "fail"'),
    ("POST", f"/v1/jobs/{NOBODY}:choose", '"pictures": ["a"]'),
    ("PATCH", "/v1/batches/shop", '"priority": 1'),
    ("POST", "/v1/accounts/bloom:pause", '"reason": "a"'),
    ("POST", "/v1/webhooks", '"url": "https://shop.example/hook"'),
    ("POST", "/v1/jobs", '"provider": "bloom"'),
]


@pytest.fixture
def chief(http: Http, alice: Client) -> Http:
    """The API to a token with every scope, with one job in the batch `shop`."""
    http.post("/v1/jobs", json=HARBOUR).raise_for_status()
    http.headers.update(bearer(alice, Scope.ADMIN, name="chief"))
    http.headers["content-type"] = "application/json"
    return http


@pytest.mark.parametrize(("method", "path", "member"), WITH_BODY)
def test_a_body_is_read_strictly_wherever_one_is_taken(chief: Http, method: str, path: str, member: str) -> None:
    name, _, _ = member.partition(": ")
    for body, said in (
        (f"{{{member}, {member}}}", "a key twice"),
        (f"{{{member}, {name}: null}}", "a key twice"),
        (f"{{{name}: NaN}}", "NaN"),
        (f"{{{member}", "not valid JSON"),
        (f"{{{name}: {'[' * 5000}", "nested too deeply"),
        (f"{{{name}: {'9' * 5000}}}", "too many digits"),
    ):
        told = refused(chief.request(method, path, content=body), 400, "bad_request")
        assert said in told["detail"], body[:80]
    broken = chief.request(method, path, content=b'{"\xff')
    assert "UTF-8" in refused(broken, 400, "bad_request")["detail"]


def test_every_request_with_a_body_reads_it_strictly() -> None:
    loose = [
        route.path
        for route, _, _ in endpoints()
        if route.body_field is not None and not isinstance(route, (StrictRoute, DirectRoute))
    ]
    assert loose == []


def test_a_body_beyond_the_bound_is_refused_wherever_one_is_taken(chief: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_JSON_BYTES", 1000)
    for method, path, member in WITH_BODY:
        refused(chief.request(method, path, content=f"{{{member}{' ' * 1000}}}"), 413, "body_too_large")
