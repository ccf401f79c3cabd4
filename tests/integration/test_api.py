"""The HTTP API: what is sent twice is one job, what is wrong is a problem, and nobody gets in without a token."""

import contextlib
import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest
from httpx import Client as Http
from httpx import Response

from ops.simulator import Simulator
from producer import Client
from producer.api import LinkError
from producer.api.bodies import XLSX
from producer.api.problems import PROBLEMS
from shared import catalog
from shared.db.engine import DatabaseUnavailableError, Engine
from shared.tokens import Scope
from tests.support import held, rows
from tests.support.api import HARBOUR, bearer, serving
from tests.support.drain import drain
from tests.support.outcome import ended
from tests.support.waiting import until
from tests.support.workbooks import workbook
from worker.runtime import Runtime


def refused(response: Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def test_a_job_is_added_once_however_often_it_is_sent(http: Http, alice: Client) -> None:
    first, second = http.post("/v1/jobs", json=HARBOUR), http.post("/v1/jobs", json=HARBOUR)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    assert alice.totals("shop") == {"queued": 1}


def test_a_job_keeps_what_the_caller_gave_along(http: Http) -> None:
    added = http.post("/v1/jobs", json={**HARBOUR, "metadata": {"order": 1187}}).json()
    assert added["metadata"] == {"order": 1187}
    assert http.get(f"/v1/jobs/{added['id']}").json()["metadata"] == {"order": 1187}
    assert json.loads(http.get("/v1/batches/shop/results").text)["metadata"] == {"order": 1187}


def test_an_idempotency_key_is_the_custom_id(http: Http) -> None:
    row = {name: value for name, value in HARBOUR.items() if name != "custom_id"}
    refused(http.post("/v1/jobs", json=row), 400, "idempotency_key_required")
    added = http.post("/v1/jobs", json=row, headers={"Idempotency-Key": "order-7"})
    assert added.json()["custom_id"] == "order-7"
    again = http.post("/v1/jobs", json={**row, "custom_id": "order-7"}, headers={"Idempotency-Key": "order-7"})
    assert again.json()["id"] == added.json()["id"]
    both = http.post("/v1/jobs", json=HARBOUR, headers={"Idempotency-Key": "b"})
    refused(both, 400, "idempotency_key_differs")


def test_the_same_id_for_another_request_is_refused(http: Http) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    document = refused(http.post("/v1/jobs", json={**HARBOUR, "prompt": "a tram"}), 422, "custom_id_conflict")
    assert "--" not in document["detail"], "the words of the command line"
    assert document["custom_ids"] == ["a"]


def test_a_job_without_a_batch_goes_to_the_tokens_own(alice: Client) -> None:
    with serving(alice) as http:
        header = bearer(alice, prefix="team-")
        row = {name: value for name, value in HARBOUR.items() if name != "batch"}
        assert http.post("/v1/jobs", json=row, headers=header).json()["batch"] == "team-shop"


def test_what_is_wrong_with_a_row_is_named_by_field(http: Http, alice: Client) -> None:
    wrong = {**HARBOUR, "n": 99, "colour": "red"}
    document = refused(http.post("/v1/jobs", json=wrong), 422, "rows_invalid")
    assert {one["field"] for one in document["errors"]} >= {"n", "colour"}
    assert alice.batches() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b"\xff", 400, "bad_request"),
        (b'{"a":1,"a":2}', 400, "bad_request"),
        (b'{"n":' + b"9" * 5000 + b"}", 400, "bad_request"),
        (b'{"custom_id":"a","provider":"bloom","prompt":"a\\u0000b"}', 422, "rows_invalid"),
        (b'{"custom_id":"\\ud800","provider":"bloom","prompt":"a"}', 422, "rows_invalid"),
        (b'{"custom_id":"a","provider":"bloom","prompt":"a","batch":"a\\u0000"}', 422, "request_invalid"),
        (b'{"custom_id":"a","provider":"bloom","prompt":"a","batch":"a/b"}', 422, "request_invalid"),
        (b'{"custom_id":"a","provider":"bloom","prompt":"a","batch":7}', 422, "request_invalid"),
    ],
)
def test_a_body_that_is_no_job_is_a_problem(body: bytes, status: int, code: str, http: Http) -> None:
    response = http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    refused(response, status, code)


def test_a_body_of_another_type_or_beyond_the_limit_is_refused(http: Http, monkeypatch: Any) -> None:
    refused(http.post("/v1/jobs", content=b"a", headers={"content-type": "text/xml"}), 415, "media_type_unsupported")
    monkeypatch.setattr("producer.api.bodies.MOST_JSON_BYTES", 100)
    refused(http.post("/v1/jobs", json={**HARBOUR, "prompt": "a" * 200}), 413, "body_too_large")
    monkeypatch.setattr("producer.api.bodies.MOST_UPLOAD_BYTES", 100)
    csv = {"content-type": "text/csv"}
    refused(http.post("/v1/batches/shop/rows", content=b"a" * 200, headers=csv), 413, "body_too_large")


def test_a_token_is_needed_and_must_live(alice: Client) -> None:
    header = bearer(alice)
    dead = bearer(alice, name="dead")
    alice.revoke_token("dead")
    with serving(alice) as http:
        missing = http.get("/v1/batches/shop")
        refused(missing, 401, "token_missing")
        assert missing.headers["www-authenticate"] == "Bearer"
        refused(http.get("/v1/batches/shop", headers=dead), 401, "token_invalid")
        refused(http.get("/v1/batches/shop", headers={"Authorization": "Bearer nonsense"}), 401, "token_invalid")
        refused(http.get("/v1/batches/shop", headers=header), 404, "no_such_batch")


def test_a_trial_needs_no_token(alice: Client) -> None:
    with serving(alice, open_to_all=True) as http:
        assert http.post("/v1/jobs", json=HARBOUR).status_code == 202
        assert http.post("/v1/jobs", json={**HARBOUR, "batch": None, "custom_id": "b"}).json()["batch"] == "trial"


def test_a_token_sees_only_the_batches_of_its_prefix(alice: Client) -> None:
    with serving(alice) as http:
        job = http.post("/v1/jobs", json=HARBOUR, headers=bearer(alice)).json()["id"]
        other = bearer(alice, prefix="team-", name="other")
        refused(http.get(f"/v1/jobs/{job}", headers=other), 404, "no_such_job")
        refused(http.get(f"/v1/images/{job}/0", headers=other), 404, "no_such_job")
        for path in ("/v1/batches/shop", "/v1/batches/shop/results"):
            refused(http.get(path, headers=other), 403, "batch_not_allowed")
        refused(http.post("/v1/jobs", json=HARBOUR, headers=other), 403, "batch_not_allowed")


def test_a_token_is_refused_what_its_scopes_leave_out(alice: Client) -> None:
    with serving(alice) as http:
        reader = bearer(alice, Scope.JOBS_READ)
        refused(http.post("/v1/jobs", json=HARBOUR, headers=reader), 403, "scope_missing")
        refused(http.get("/v1/batches/shop/results", headers=reader), 403, "scope_missing")


def test_a_token_orders_up_to_its_cap_and_a_repeated_request_costs_nothing(alice: Client) -> None:
    with serving(alice) as http:
        http.headers.update(bearer(alice, caps={"bloom": Decimal(2)}))
        assert http.post("/v1/jobs", json={**HARBOUR, "n": 2}).status_code == 202
        assert http.post("/v1/jobs", json={**HARBOUR, "n": 2}).status_code == 200
        refused(http.post("/v1/jobs", json={**HARBOUR, "custom_id": "b"}), 402, "token_cap_reached")
        unpriced = {**HARBOUR, "provider": "openrouter", "model": "a/b", "custom_id": "c"}
        refused(http.post("/v1/jobs", json=unpriced), 402, "price_unbounded")
    assert alice.totals("shop") == {"queued": 1}


def test_a_cap_holds_under_fifty_connections(alice: Client) -> None:
    with serving(alice) as http, ThreadPoolExecutor(50) as pool:
        http.headers.update(bearer(alice, caps={"bloom": Decimal(10)}, posts=10_000))
        sent = [{**HARBOUR, "custom_id": str(number), "batch": f"shop-{number % 5}"} for number in range(60)] * 2
        answers = list(pool.map(lambda row: http.post("/v1/jobs", json=row), sent))
    assert {one.status_code for one in answers} <= {200, 202, 402}
    assert sum(one.status_code == 202 for one in answers) == 10
    assert sum(sum(alice.totals(row["name"]).values()) for row in alice.batches()) == 10
    assert alice.tokens()[0][1] == {"bloom": 10}


def test_a_new_token_has_one_pace_however_many_requests_come_at_once(alice: Client) -> None:
    with serving(alice) as http, ThreadPoolExecutor(16) as pool:
        header = bearer(alice, posts=1)
        url = f"http://localhost:{http.base_url.port}/v1/batches"
        got = Counter(pool.map(lambda _: httpx.get(url, headers=header).status_code, range(16)))
    assert got[200] <= 4  # two at once, and one a second


def test_a_token_that_sends_too_fast_is_told_to_wait(alice: Client) -> None:
    with serving(alice) as http:
        header = bearer(alice, posts=1)
        answers = [http.get("/v1/batches/shop", headers=header) for _ in range(4)]
        slow = next(one for one in answers if one.status_code == 429)
        refused(slow, 429, "rate_limited")
        assert slow.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.test"}, 421, "host_not_allowed"),
        ({"Host": "localhost.evil.test"}, 421, "host_not_allowed"),
        ({"Host": "["}, 421, "host_not_allowed"),
        ({"Origin": "https://evil.test"}, 403, "origin_not_allowed"),
        ({"Origin": "null"}, 403, "origin_not_allowed"),
    ],
)
def test_no_web_page_reaches_the_api(headers: dict[str, str], status: int, code: str, alice: Client) -> None:
    with serving(alice, open_to_all=True) as http:
        refused(http.post("/v1/jobs", json=HARBOUR, headers=headers), status, code)
    assert alice.batches() == []


def test_the_api_answers_under_the_names_that_are_set(alice: Client) -> None:
    with serving(alice, open_to_all=True, hosts=frozenset({"queue.example"})) as http:
        for host in ("queue.example", "queue.example:8470", "127.0.0.1:9", "[::1]:9"):
            assert http.get("/v1/problems", headers={"Host": host}).status_code == 200
        own = {"Host": "queue.example", "Origin": "https://queue.example"}
        assert http.get("/v1/problems", headers=own).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "no_such_path"),
        ("GET", "/v1/jobs/not-an-id", 422, "request_invalid"),
        ("GET", "/v1/jobs/00000000-0000-0000-0000-000000000000", 404, "no_such_job"),
        ("GET", "/v1/batches/shop%00", 422, "request_invalid"),
        ("GET", "/v1/images/00000000-0000-0000-0000-000000000000/-1", 422, "request_invalid"),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/batches/shop/results?after=x", 422, "request_invalid"),
    ],
)
def test_every_refusal_is_a_problem_document(method: str, path: str, status: int, code: str, http: Http) -> None:
    response = http.request(method, path)
    document = refused(response, status, code)
    assert http.get(document["type"]).json()["title"] == document["title"] == PROBLEMS[code][1]
    assert (status == 405) == ("allow" in response.headers)


def test_a_file_is_added_whole_or_not_at_all(http: Http, alice: Client) -> None:
    csv = {"content-type": "text/csv"}
    wrong = b"custom_id,provider,prompt,n\na,bloom,one,1\nb,bloom,two,99\n"
    document = refused(http.post("/v1/batches/shop/rows", content=wrong, headers=csv), 422, "rows_invalid")
    assert document["errors"] == [{"line": 3, "field": "n", "detail": document["errors"][0]["detail"]}]
    assert alice.batches() == []
    right = wrong.replace(b"99", b"2")
    first = http.post("/v1/batches/shop/rows", content=right, headers=csv)
    again = http.post("/v1/batches/shop/rows", content=right, headers=csv)
    assert (first.status_code, first.json()) == (201, {"batch": "shop", "given": 2, "added": 2})
    assert (again.status_code, again.json()["added"]) == (200, 0)


def test_a_file_may_be_json_lines_text_or_a_workbook(http: Http, alice: Client) -> None:
    lines = "\n".join(json.dumps({**HARBOUR, "custom_id": str(n)} | {"batch": None}) for n in range(3)).encode()
    kind = {"content-type": "application/x-ndjson; charset=utf-8"}
    assert http.post("/v1/batches/shop/rows", content=lines, headers=kind).json()["added"] == 3
    text = b"one\ntwo\n"
    told = http.post("/v1/batches/texts/rows?provider=bloom", content=text, headers={"content-type": "text/plain"})
    assert told.json()["added"] == 2
    book = workbook({1: ("custom_id", "provider", "prompt"), 3: ("a", "bloom", "a harbour"), 4: ("b", "nobody", "x")})
    wrong = http.post("/v1/batches/books/rows", content=book, headers={"content-type": XLSX})
    assert [fault["line"] for fault in refused(wrong, 422, "rows_invalid")["errors"]] == [4]
    refused(http.post("/v1/batches/books/rows", content=text, headers={"content-type": XLSX}), 422, "rows_invalid")
    book = workbook({1: ("custom_id", "provider", "prompt"), 3: ("a", "bloom", "a harbour")})
    assert http.post("/v1/batches/books/rows", content=book, headers={"content-type": XLSX}).json()["added"] == 1
    other = http.post("/v1/batches/shop/rows", content=lines, headers={"content-type": "multipart/form-data"})
    refused(other, 415, "media_type_unsupported")


def test_a_file_beyond_a_tokens_cap_adds_nothing_and_only_new_rows_count(alice: Client) -> None:
    csv = {"content-type": "text/csv", **bearer(alice, caps={"bloom": Decimal(3)})}
    four = b"custom_id,provider,prompt\n" + b"".join(b"%d,bloom,a\n" % n for n in range(4))
    three = four.rpartition(b"3,")[0]
    with serving(alice) as http:
        refused(http.post("/v1/batches/shop/rows", content=four, headers=csv), 402, "token_cap_reached")
        assert alice.batches() == []
        assert http.post("/v1/batches/shop/rows", content=three, headers=csv).json()["added"] == 3
        assert http.post("/v1/batches/shop/rows", content=three, headers=csv).json()["added"] == 0
        refused(http.post("/v1/batches/shop/rows", content=four, headers=csv), 402, "token_cap_reached")


def test_a_batch_tells_its_counts_and_whether_it_has_settled(http: Http, alice: Client, engine: Engine) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    batch = http.get("/v1/batches/shop").json()
    assert (batch["jobs"], batch["settled"], batch["states"]) == (1, False, {"queued": 1})
    alice.cancel(batch="shop")
    batch = http.get("/v1/batches/shop").json()
    assert (batch["settled"], batch["by_provider"]) == (True, {"bloom": {"cancelled": 1}})


def test_images_come_as_links_and_results_as_a_stream_that_resumes(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    with serving(client) as http:
        http.headers.update(bearer(client))
        for name in ("a", "b"):
            http.post("/v1/jobs", json={**HARBOUR, "custom_id": name, "n": 2})
        drain(runtime, ended(client, "shop"))
        lines = [json.loads(line) for line in http.get("/v1/batches/shop/results?links=1").text.splitlines()]
        assert [(one["custom_id"], one["index"], one["state"]) for one in lines] == [
            (name, index, "stored") for name in ("a", "b") for index in (0, 1)
        ]
        assert all(one["url"].startswith("https://bucket.test/") for one in lines)
        rest = http.get(f"/v1/batches/shop/results?after={lines[0]['job_id']}").text.splitlines()
        assert [json.loads(line)["custom_id"] for line in rest] == ["b", "b"]
        assert "url" not in json.loads(rest[0])
        job = http.get(f"/v1/jobs/{lines[0]['job_id']}").json()
        assert (job["state"], job["ended"], job["money"]["settled"]) == ("succeeded", True, "2")
        assert job["images"][0]["url"].endswith("for=3600")
        moved = http.get(f"/v1/images/{job['id']}/1")
        assert (moved.status_code, moved.headers["location"].rpartition("?")[2]) == (303, "for=300")
        refused(http.get(f"/v1/images/{job['id']}/9"), 404, "no_such_image")
        without = http.get(f"/v1/jobs/{job['id']}", headers=bearer(client, Scope.JOBS_READ)).json()
        assert without["images"][0]["url"] is None


def test_an_image_without_a_link_is_a_problem(client: Client, runtime: Runtime) -> None:
    def broken(_key: str, _seconds: int) -> str:
        raise LinkError("no credentials")

    with serving(client, link=broken) as http:
        http.headers.update(bearer(client))
        job = http.post("/v1/jobs", json=HARBOUR).json()["id"]
        drain(runtime, ended(client, "shop"))
        document = refused(http.get(f"/v1/images/{job}/0"), 503, "links_unavailable")
        assert document["detail"] == "no credentials"


def test_a_database_that_is_away_is_no_fault_of_the_caller(http: Http, monkeypatch: Any) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailableError("PostgreSQL cannot be reached")

    monkeypatch.setattr(Client, "add_together", away)
    response = http.post("/v1/jobs", json=HARBOUR)
    refused(response, 503, "database_unavailable")
    assert response.headers["retry-after"] == "5"


def test_a_defect_is_a_problem_without_its_words(http: Http, monkeypatch: Any) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Client, "add_together", broken)
    response = http.post("/v1/jobs", json=HARBOUR)
    refused(response, 500, "internal_error")
    assert "secret" not in response.text


def test_health_asks_nothing_and_readiness_asks_the_database(http: Http, engine: Engine) -> None:
    anywhere = {"Host": "10.0.0.1:8470"}
    assert http.get("/healthz", headers=anywhere).json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    rows.rows(engine, "UPDATE alembic_version SET version_num = '9999'")
    refused(http.get("/readyz"), 503, "schema_unusable")


def test_no_answer_may_be_kept_or_guessed_at(http: Http) -> None:
    headers = http.get("/v1/problems").headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_caller_who_knows_a_version_is_told_only_of_changes(http: Http, alice: Client) -> None:
    job = http.post("/v1/jobs", json=HARBOUR).json()["id"]
    for path in (f"/v1/jobs/{job}", "/v1/batches/shop"):
        first = http.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        unchanged = http.get(path, headers=known)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    alice.cancel(batch="shop")
    for path in (f"/v1/jobs/{job}", "/v1/batches/shop"):
        assert http.get(path, headers=known).status_code == 200


def test_a_caller_may_wait_for_the_end_or_for_a_change(client: Client, runtime: Runtime) -> None:
    with serving(client) as http, ThreadPoolExecutor(3) as pool:
        http.headers.update(bearer(client))
        wait = {"Prefer": "respond-async, wait=60"}
        posted = pool.submit(http.post, "/v1/jobs", json=HARBOUR, headers=wait)
        until(lambda: client.batches() != [])
        read = pool.submit(http.get, f"/v1/jobs/{client.find_job('shop/a')}", headers=wait)
        settled = pool.submit(http.get, "/v1/batches/shop", headers=wait)
        drain(runtime, ended(client, "shop"))
        assert posted.result().status_code == 202
        assert posted.result().headers["preference-applied"] == "wait=60"
        assert [one.result().json()["state"] for one in (posted, read)] == ["succeeded"] * 2
        assert settled.result().json()["settled"]


def test_a_wait_ends_with_what_there_is(http: Http) -> None:
    job = http.post("/v1/jobs", json=HARBOUR, headers={"Prefer": "wait=1"})
    assert (job.status_code, job.json()["state"]) == (202, "queued")
    known = {"If-None-Match": http.get(job.headers["location"]).headers["etag"], "Prefer": "wait=1"}
    assert http.get(job.headers["location"], headers=known).status_code == 304


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE job SET cancel_requested_at = now()",
        "UPDATE job SET priority = 7",
        "UPDATE job SET error = 'another reason', error_code = 'rate_limited'",
        "UPDATE job_metadata SET metadata = '{\"sku\": 2}'",
        "UPDATE image SET state = 'processing'",
        "UPDATE image SET error = 'short', error_code = 'image_short'",
    ],
)
def test_the_etag_of_a_job_changes_with_its_document(http: Http, engine: Engine, change: str) -> None:
    rows.transferring(engine)
    (job,) = rows.rows(engine, "SELECT id FROM job")
    rows.rows(engine, "INSERT INTO job_metadata (job_id, metadata) VALUES (:id, '{}')", id=job.id)
    path = f"/v1/jobs/{job.id}"
    before = http.get(path)
    known = {"If-None-Match": before.headers["etag"]}
    assert http.get(path, headers=known).status_code == 304
    rows.rows(engine, change)
    after = http.get(path, headers=known)
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert after.json() != before.json()


def test_jobs_and_batches_are_listed_a_page_at_a_time(http: Http, alice: Client) -> None:
    for number in range(5):
        http.post("/v1/jobs", json={**HARBOUR, "custom_id": str(number), "batch": f"shop-{number % 2}"})
    first = http.get("/v1/jobs?batch=shop-0&limit=2").json()
    rest = http.get(f"/v1/jobs?batch=shop-0&limit=2&cursor={first['next_cursor']}").json()
    assert [one["custom_id"] for one in first["items"] + rest["items"]] == ["0", "2", "4"]
    assert rest["next_cursor"] is None
    other = http.get(f"/v1/jobs?batch=shop-1&limit=2&cursor={first['next_cursor']}")
    refused(other, 400, "cursor_invalid")
    refused(http.get("/v1/jobs?batch=shop-0&cursor=nonsense"), 400, "cursor_invalid")
    refused(http.get("/v1/jobs?batch=shop-0&state=lost"), 422, "request_invalid")
    assert http.get("/v1/jobs?batch=shop-0&state=failed").json() == {"items": [], "next_cursor": None}
    page = http.get("/v1/batches?limit=1").json()
    assert [one["name"] for one in page["items"]] == ["shop-0"]
    following = http.get(f"/v1/batches?limit=5&cursor={page['next_cursor']}").json()
    assert [(one["name"], one["queued"]) for one in following["items"]] == [("shop-1", 2)]
    mine = bearer(alice, prefix="shop-1", name="one")
    assert [one["name"] for one in http.get("/v1/batches", headers=mine).json()["items"]] == ["shop-1"]


def test_an_operator_pauses_and_reads_money_and_a_backend_does_not(alice: Client, engine: Engine) -> None:
    held.held(engine, 2)
    with serving(alice) as http:
        backend = bearer(alice)
        for path in ("/v1/accounts", "/v1/bill"):
            refused(http.get(path, headers=backend), 403, "scope_missing")
        http.headers.update(bearer(alice, Scope.OPS, Scope.MONEY_READ, name="ops"))
        done = http.post("/v1/accounts/bloom:pause", json={"reason": "invoice in dispute"})
        assert done.json() == {"account": "bloom", "changed": True}
        shown = {one["name"]: one for one in http.get("/v1/accounts").json()["items"]}
        assert shown["bloom"]["paused_reason"] == "invoice in dispute"
        assert http.post("/v1/accounts/bloom:pause").json()["changed"] is False
        assert http.post("/v1/accounts/bloom:resume").json()["changed"] is True
        refused(http.post("/v1/accounts/nobody:pause"), 404, "no_such_account")
        assert [(one["account"], one["held"]) for one in http.get("/v1/bill?batch=b").json()["items"]] == [
            ("bloom", "4")
        ]
        refused(http.get("/v1/bill?batch=other"), 404, "no_such_batch")
        lines = [(row["actor"].split()[0], row["door"], row["act"]) for row in alice.audited()]
        assert lines[:2] == [("ops", "api", "resume"), ("ops", "api", "pause")]
        narrow = bearer(alice, Scope.MONEY_READ, prefix="b", name="narrow")
        refused(http.get("/v1/bill", headers=narrow), 403, "batch_not_allowed")


def test_any_token_reads_what_the_providers_accept(http: Http) -> None:
    listed = {one["name"]: one for one in http.get("/v1/providers").json()["items"]}
    assert set(listed) == set(catalog.names())
    assert {"prompt", "n"} <= {one["field"] for one in listed["bloom"]["parameters"]}


def test_headers_without_an_end_are_refused(http: Http) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        with contextlib.suppress(ConnectionError):  # it hangs up while the rest arrives
            for _ in range(64):
                connection.sendall(b"a" * 65_536)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100).startswith(b"HTTP/1.1 431 ")
    long = http.get("/healthz", headers={"X": "a" * 10_000})
    assert long.status_code == 200
    assert http.get("/healthz").status_code == 200


def test_the_end_of_a_large_body_is_no_head(http: Http) -> None:
    lines = b"".join(
        b'{"provider": "bloom", "prompt": "%s", "custom_id": "%d"}\n' % (b"a" * 900, n) for n in range(300)
    )
    answer = http.post("/v1/batches/large/rows", content=lines, headers={"content-type": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["added"]) == (201, 300)
