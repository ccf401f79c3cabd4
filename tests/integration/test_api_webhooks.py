"""Webhooks over HTTP: a program manages the endpoints of its own batches, and of no others."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from httpx import Client as Http
from pydantic import SecretStr
from sqlalchemy import text

from producer import Client
from shared.db.engine import Connection, DatabaseUnavailableError, Engine, transaction
from shared.db.webhooks import endpoints
from shared.db.webhooks.endpoints import EndpointRow, NoSuchEndpointError
from shared.settings import load
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support.api import bearer, serving

URL = "https://shop.example/hooks"
SPAN = {"since": "2026-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url, webhook_key=SecretStr("k" * 40)), connections=4) as opened:
        yield opened


@pytest.fixture
def http(alice: Client) -> Iterator[Http]:
    with serving(alice) as opened:
        opened.headers.update(bearer(alice, Scope.HOOKS, name="hooks"))
        yield opened


def test_an_endpoint_is_added_listed_rotated_and_removed_and_each_change_is_audited(http: Http, alice: Client) -> None:
    made = http.post("/v1/webhooks", json={"url": URL, "events": ["job.*"], "batch_prefix": "shop-"})
    assert made.status_code == 201
    one = made.json()
    (listed,) = http.get("/v1/webhooks").json()["items"]
    assert (listed["id"], listed["url"], listed["batch_prefix"], listed["disabled_at"]) == (
        one["id"],
        URL,
        "shop-",
        None,
    )
    again = http.post(f"/v1/webhooks/{one['id']}:rotate").json()
    assert again["secret"].startswith("whsec_")
    assert again["secret"] != one["secret"]
    assert http.post(f"/v1/webhooks/{one['id']}:resume").json() == {"id": one["id"]}
    assert http.delete(f"/v1/webhooks/{one['id']}").json() == {"id": one["id"]}
    assert http.get("/v1/webhooks").json() == {"items": []}
    refused(http.delete(f"/v1/webhooks/{one['id']}"), 404, "no_such_webhook")
    assert [line["act"] for line in alice.audited(10)][:4] == ["webhook"] * 4
    assert {line["door"] for line in alice.audited(4)} == {"api"}


def test_deliveries_are_listed_and_a_span_of_them_is_sent_again(http: Http, alice: Client) -> None:
    one = http.post("/v1/webhooks", json={"url": URL, "events": ["job.cancelled"]}).json()["id"]
    alice.enqueue([{"provider": "bloom", "prompt": "a harbour", "custom_id": "a"}], batch="shop")
    alice.cancel(batch="shop")
    (delivery,) = http.get(f"/v1/webhooks/{one}/deliveries").json()["items"]
    assert (delivery["type"], delivery["tries"], delivery["delivered_at"]) == ("job.cancelled", 0, None)
    assert http.get(f"/v1/webhooks/{one}/deliveries", params={"failed": "true"}).json() == {"items": []}
    assert http.post(f"/v1/webhooks/{one}:replay", json=SPAN).json() == {"again": 0}
    refused(http.post(f"/v1/webhooks/{one}:replay", json={"since": "yesterday"}), 422, "request_invalid")


def test_a_token_of_some_batches_manages_endpoints_of_these_alone(alice: Client) -> None:
    with serving(alice) as http:
        everybody, team = (
            bearer(alice, Scope.HOOKS, name="all"),
            bearer(alice, Scope.HOOKS, prefix="team-", name="team"),
        )
        other = http.post("/v1/webhooks", json={"url": URL}, headers=everybody).json()["id"]
        mine = http.post("/v1/webhooks", json={"url": URL}, headers=team)
        assert mine.status_code == 201
        (listed,) = http.get("/v1/webhooks", headers=team).json()["items"]
        assert (listed["id"], listed["batch_prefix"]) == (mine.json()["id"], "team-")
        assert {one.partition(".")[0] for one in listed["types"]} <= {"job", "batch"}
        refused(http.delete(f"/v1/webhooks/{other}", headers=team), 404, "no_such_webhook")
        refused(http.get(f"/v1/webhooks/{other}/deliveries", headers=team), 404, "no_such_webhook")
        for body in ({"batch_prefix": ""}, {"batch_prefix": "shop-"}, {"events": ["account.paused"]}):
            refused(http.post("/v1/webhooks", json={"url": URL, **body}, headers=team), 403, "batch_not_allowed")


@pytest.mark.parametrize("url", ["ftp://shop.example/x", "shop.example", "https://shop .example", "https://"])
def test_what_is_no_url_of_the_web_is_refused(http: Http, url: str) -> None:
    refused(http.post("/v1/webhooks", json={"url": url}), 422, "request_invalid")


def test_an_unknown_event_is_named_with_those_that_exist(http: Http) -> None:
    document = refused(http.post("/v1/webhooks", json={"url": URL, "events": ["job.exploded"]}), 422, "request_invalid")
    assert "known: job.succeeded" in document["detail"]


def test_without_a_key_for_secrets_nothing_is_added(database_url: str) -> None:
    with Client(settings=load(database_url=database_url), connections=4) as keyless, serving(keyless) as http:
        header = bearer(keyless, Scope.HOOKS, name="hooks")
        refused(http.post("/v1/webhooks", json={"url": URL}, headers=header), 409, "webhooks_off")


@pytest.mark.parametrize(
    "url", ["https://[::1", "https://a.example:99999/", "https:///x", "https://%zz/", "https://me:secret@a.example/"]
)
def test_a_webhook_that_can_never_be_posted_to_is_refused_and_not_quoted(http: Http, url: str) -> None:
    told = refused(http.post("/v1/webhooks", json={"url": url}), 422, "request_invalid")
    assert "secret" not in str(told)
    assert http.get("/v1/webhooks").json() == {"items": []}


def test_a_webhooks_prefix_is_text_that_begins_a_name(http: Http) -> None:
    refused(http.post("/v1/webhooks", json={"url": URL, "batch_prefix": "a\0b"}), 422, "request_invalid")


@pytest.mark.parametrize("act", ["rotate", "resume", "replay"])
def test_whoever_removes_an_endpoint_waits_for_a_change_of_it_and_no_change_is_told_of_a_removed_one(
    act: str, http: Http, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = http.post("/v1/webhooks", json={"url": URL}).json()["id"]
    find, waited = endpoints.find, []

    def then_somebody_removes_it(connection: Connection, name: str, **how: bool) -> EndpointRow:
        found = find(connection, name, **how)
        try:
            with transaction(engine) as other:
                other.execute(text("SET LOCAL lock_timeout = '50ms'"))
                endpoints.remove(other, found.id)
        except DatabaseUnavailableError:
            waited.append(name)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(endpoints, "find", then_somebody_removes_it)
        changed = http.post(f"/v1/webhooks/{one}:{act}", json=SPAN if act == "replay" else None)
    assert (changed.status_code, waited) == (200, [one])
    assert len(http.get("/v1/webhooks").json()["items"]) == 1


def test_a_test_of_an_endpoint_that_is_removed_meanwhile_says_so(
    http: Http, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = http.post("/v1/webhooks", json={"url": URL}).json()["id"]
    monkeypatch.setattr("producer.client.webhooks.time.sleep", lambda _seconds: alice.remove_webhook(one))
    with pytest.raises(NoSuchEndpointError, match="was removed"):
        alice.test_webhook(one)


def test_a_job_moves_while_somebody_removes_the_endpoint_that_would_be_told(
    http: Http, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = http.post("/v1/webhooks", json={"url": URL, "events": ["job.cancelled"]}).json()["id"]
    alice.enqueue([{"provider": "bloom", "prompt": "a harbour", "custom_id": "a"}], batch="shop")
    (job,) = alice.jobs("shop")
    remove, cancelled = endpoints.remove, []

    def then_a_job_is_cancelled(connection: Connection, endpoint: UUID) -> bool:
        removed = remove(connection, endpoint)
        cancelled.append(http.post(f"/v1/jobs/{job['id']}:cancel", headers=bearer(alice)).json())
        return removed

    monkeypatch.setattr(endpoints, "remove", then_a_job_is_cancelled)
    assert http.delete(f"/v1/webhooks/{one}").status_code == 200
    assert cancelled == [{"done": {"cancelled": 1}, "changed_meanwhile": 0}]


def test_of_two_who_remove_an_endpoint_at_once_one_is_told_that_it_is_gone(
    http: Http, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = http.post("/v1/webhooks", json={"url": URL}).json()["id"]
    remove = endpoints.remove

    def after_somebody_else(connection: Connection, endpoint: UUID) -> bool:
        with transaction(engine) as other:
            assert remove(other, endpoint)
        return remove(connection, endpoint)

    monkeypatch.setattr(endpoints, "remove", after_somebody_else)
    refused(http.delete(f"/v1/webhooks/{one}"), 404, "no_such_webhook")
