"""Odd requests to the HTTP API: each is refused by name, none is a defect in the log, none is taken for another."""

import base64
import hashlib
import json
import socket
from functools import partial
from typing import Any
from urllib.parse import quote

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


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs/"), ("GET", "/v1/batches/"), ("GET", "/v1/bill/")])
def test_a_slash_at_the_end_of_a_path_is_another_path(http: Http, method: str, path: str) -> None:
    refused(http.request(method, path, headers={"x-forwarded-proto": "https"}), 404, "no_such_path")


def raw(http: Http, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; return the status and the document of the answer, after which the server hangs up."""
    with socket.create_connection(("127.0.0.1", http.base_url.port or 0), timeout=10) as connection:
        connection.sendall(request)
        answer = b"".join(iter(partial(connection.recv, 65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    return int(head.split(b" ")[1]), json.loads(body)


UNREADABLE = [
    b"BREW /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/jobs HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.parametrize("request_", UNREADABLE)
def test_what_is_no_request_is_answered_with_a_problem_document(http: Http, request_: bytes) -> None:
    status, document = raw(http, request_)
    assert (status, document["status"], document["code"]) == (400, 400, "bad_request")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000,
        b"GET /healthz?" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost",
        b"GET /healthz?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost",
        b"GET /healthz HTTP/1.1\r\nHost: localhost" + b"\r\nX: a" * 8_000,
    ],
)
def test_a_head_beyond_the_bound_is_refused_also_if_it_arrives_in_one_piece(http: Http, head: bytes) -> None:
    status, document = raw(http, head + b"\r\n\r\n")
    assert (status, document["code"]) == (431, "head_too_large")


def test_a_head_below_the_bound_is_answered_however_large_its_body(http: Http) -> None:
    assert http.get("/healthz", headers={"X": "a" * 30_000}).status_code == 200
    body = json.dumps({**HARBOUR, "metadata": {"note": "a" * 3000}}) + " " * 200_000
    added = http.post("/v1/jobs", content=body, headers={"content-type": "application/json", "X": "a" * 20_000})
    assert added.status_code == 202


def test_a_websocket_is_refused_with_a_problem_document(http: Http) -> None:
    status, document = raw(
        http,
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert (status, document["code"]) in {(400, "bad_request"), (401, "token_missing")}


@pytest.mark.parametrize("name", ["東京", "e\u0301", "a b", "a?b#c", "50%"])
def test_a_file_for_a_batch_of_any_name_is_answered_with_a_path_that_leads_there(http: Http, name: str) -> None:
    rows = {"content": b"custom_id,provider,prompt\na,bloom,x\n", "headers": {"content-type": "text/csv"}}
    added = http.post(f"/v1/batches/{quote(name)}/rows", **rows)  # type: ignore[arg-type]
    assert (added.status_code, added.json()["added"]) == (201, 1)
    assert http.get(added.headers["location"]).json()["name"] == name


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://localhost:x]", "null", "localhost"])
def test_an_origin_that_cannot_be_read_is_another_site(http: Http, origin: str) -> None:
    refused(http.get("/v1/batches", headers={"origin": origin}), 403, "origin_not_allowed")
