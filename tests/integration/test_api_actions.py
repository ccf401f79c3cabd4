"""What a token may decide over HTTP: shown first, done exactly as shown, and never paid twice by oversight."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from httpx import Client as Http

from producer import Client
from shared.db.engine import Engine
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support import held, rows
from tests.support.api import HARBOUR, bearer, serving

SPENDER = (Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.OPS, Scope.MONEY_SPEND)
DRY = {"dry_run": "true"}


@pytest.fixture
def http(alice: Client) -> Iterator[Http]:
    with serving(alice) as opened:
        opened.headers.update(bearer(alice, *SPENDER, name="spender"))
        yield opened


def test_cancelling_is_shown_then_done_and_doing_it_again_changes_nothing(http: Http, alice: Client) -> None:
    job = http.post("/v1/jobs", json=HARBOUR).json()["id"]
    planned = http.post(f"/v1/jobs/{job}:cancel", params=DRY).json()
    assert (planned["jobs"], planned["second_charge"]) == (1, {})
    assert alice.totals("shop") == {"queued": 1}
    done = http.post(f"/v1/jobs/{job}:cancel", params={"confirm": planned["confirm"]})
    assert done.json() == {"done": {"cancelled": 1}, "changed_meanwhile": 0}
    assert http.post(f"/v1/jobs/{job}:cancel").json()["done"] == {}
    line = alice.audited(1)[0]
    assert (line["actor"].split()[0], line["door"], line["act"]) == ("spender", "api", "cancel")


def test_a_whole_batch_is_cancelled(http: Http, alice: Client) -> None:
    for name in ("a", "b"):
        http.post("/v1/jobs", json={**HARBOUR, "custom_id": name})
    assert http.post("/v1/batches/shop:cancel").json()["done"] == {"cancelled": 2}
    refused(http.post("/v1/batches/other:cancel"), 404, "no_such_batch")


def test_a_confirmation_stands_for_the_jobs_that_were_shown(http: Http, alice: Client, engine: Engine) -> None:
    held.held(engine, 2)
    body = {"decision": "fail"}
    shown = http.post("/v1/batches/b:resolve", params=DRY, json=body).json()
    assert shown["groups"] == [{"account": "bloom", "reason": "answer_lost", "act": "give_up", "jobs": 2}]
    held.held(engine, 1)
    late = http.post("/v1/batches/b:resolve", params={"confirm": shown["confirm"]}, json=body)
    assert "it showed 2" in refused(late, 409, "changed_meanwhile")["detail"]
    wrong = http.post("/v1/batches/b:resolve", params={"confirm": "yes"}, json=body)
    refused(wrong, 409, "changed_meanwhile")
    assert http.post("/v1/batches/b:resolve", json=body).json()["done"] == {"failed": 3}


def test_what_may_pay_twice_needs_a_scope_a_confirmation_and_room_under_the_cap(alice: Client, engine: Engine) -> None:
    held.held(engine, 2, price=Decimal("1.50"))
    body = {"decision": "resend"}
    with serving(alice) as http:
        operator = bearer(alice, Scope.OPS, name="operator")
        shown = http.post("/v1/batches/b:resolve", params=DRY, json=body, headers=operator).json()
        assert shown["second_charge"] == {"credit of bloom": "3"}
        confirmed = {"confirm": shown["confirm"]}
        refused(http.post("/v1/batches/b:resolve", params=confirmed, json=body, headers=operator), 403, "scope_missing")
        poor = bearer(alice, *SPENDER, caps={"bloom": Decimal(2)}, name="poor")
        refused(http.post("/v1/batches/b:resolve", json=body, headers=poor), 409, "confirmation_required")
        refused(http.post("/v1/batches/b:resolve", params=confirmed, json=body, headers=poor), 402, "token_cap_reached")
        assert alice.totals("b") == {"in_doubt": 2}
        rich = bearer(alice, *SPENDER, caps={"bloom": Decimal(3)}, name="rich")
        done = http.post("/v1/batches/b:resolve", params=confirmed, json=body, headers=rich)
        assert done.json()["done"] == {"queued": 2}


def test_a_job_that_is_not_held_cannot_be_resolved(http: Http) -> None:
    job = http.post("/v1/jobs", json=HARBOUR).json()["id"]
    refused(http.post(f"/v1/jobs/{job}:resolve", json={"decision": "fail"}), 409, "not_held")
    amount = {"decision": "fail", "charged": "a lot"}
    refused(http.post(f"/v1/jobs/{job}:resolve", json=amount), 422, "request_invalid")
    refused(http.post(f"/v1/jobs/{job}:resolve", json={"decision": "buy"}), 422, "request_invalid")


def test_a_failed_job_is_retried_and_bought_again_only_on_demand(http: Http, alice: Client, engine: Engine) -> None:
    held.failed(engine, 2)
    shown = http.post("/v1/batches/b:retry", params=DRY).json()
    assert (shown["jobs"], list(shown["left_alone"].values())) == (0, [2])
    again = {"buy_again": True}
    refused(http.post("/v1/batches/b:retry", json=again), 409, "confirmation_required")
    shown = http.post("/v1/batches/b:retry", params=DRY, json=again).json()
    assert shown["second_charge"] == {"credit of bloom": "4"}
    done = http.post("/v1/batches/b:retry", params={"confirm": shown["confirm"]}, json=again)
    assert done.json()["done"] == {"queued": 2}
    (line,) = [row for row in alice.audited() if row["act"] == "retry"]
    assert (line["terms"], line["worst_cost"]) == ("--buy-again", {"credit of bloom": Decimal(4)})


def test_the_terms_of_a_batch_are_changed_by_whoever_may_spend(http: Http, alice: Client) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    changed = http.patch("/v1/batches/shop", json={"max_cost": {"bloom": "5.00"}, "on_unknown": "resend"})
    assert changed.json() == {"name": "shop", "on_unknown": "resend", "max_cost": {"bloom": "5"}}
    refused(http.patch("/v1/batches/shop", json={"max_cost": {"bloom": "lots"}}), 422, "cap_invalid")
    refused(http.patch("/v1/batches/shop", json={"on_unknown": "pay"}), 422, "request_invalid")
    backend = bearer(alice)
    refused(http.patch("/v1/batches/shop", json={"max_cost": {"bloom": "9"}}, headers=backend), 403, "scope_missing")
    refused(http.patch("/v1/batches/shop", json={"uncap": True}, headers=backend), 403, "scope_missing")
    assert http.patch("/v1/batches/shop", json={"priority": 5, "deadline_seconds": 60}, headers=backend).is_success


@pytest.mark.parametrize("caps", [{"bloom": "zz"}, {"nobody": "1"}, {"bloom": "1", "getimg": "-1"}])
def test_new_terms_that_are_refused_change_nothing(http: Http, engine: Engine, caps: dict[str, str]) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    columns = "SELECT job.priority, job.deadline_at, batch.caps, batch.on_unknown FROM job JOIN batch ON true"
    before = rows.rows(engine, columns)
    body = {"priority": 9, "deadline_seconds": 5, "on_unknown": "resend", "max_cost": caps}
    refused(http.patch("/v1/batches/shop", json=body), 422, "cap_invalid")
    assert rows.rows(engine, columns) == before


def test_caps_leave_a_batch_only_if_that_is_said(http: Http) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    http.patch("/v1/batches/shop", json={"max_cost": {"bloom": "5"}})
    refused(http.patch("/v1/batches/shop", json={"max_cost": {}}), 422, "request_invalid")
    refused(http.patch("/v1/batches/shop", json={"max_cost": {"bloom": "6"}, "uncap": True}), 422, "request_invalid")
    assert http.get("/v1/batches/shop").json()["max_cost"] == {"bloom": "5"}
    assert http.patch("/v1/batches/shop", json={"uncap": True}).json()["max_cost"] == {}


def test_a_batch_is_held_and_released(http: Http, alice: Client) -> None:
    http.post("/v1/jobs", json=HARBOUR)
    assert http.post("/v1/batches/shop:hold").json() == {"name": "shop", "held": True, "jobs": 1}
    assert http.get("/v1/batches/shop").json()["held"]
    assert alice.totals("shop") == {"on_hold": 1}
    assert http.post("/v1/batches/shop:release").json()["jobs"] == 1
    assert not http.get("/v1/batches/shop").json()["held"]
    refused(http.post("/v1/batches/other:hold"), 404, "no_such_batch")


def test_the_story_of_a_job_has_every_event_and_no_link(http: Http, engine: Engine, alice: Client) -> None:
    rows.transferring(engine)
    (job,) = rows.rows(engine, "SELECT id FROM job")
    story = http.get(f"/v1/jobs/{job.id}/story").json()
    assert story["job"]["state"] == "transferring"
    assert [one["to_state"] for one in story["events"]]
    assert all("link" not in image for image in story["images"])
    assert story["waits"] is not None


def test_a_plan_of_a_file_adds_nothing(http: Http, alice: Client) -> None:
    csv = b"custom_id,provider,prompt,n\na,bloom,one,2\n"
    kind = {"content-type": "text/csv"}
    plan = http.post("/v1/batches/shop/rows", params=DRY, content=csv, headers=kind).json()
    assert (plan["new"], plan["totals"][0]["high"]) == (1, "2")
    assert alice.batches() == []


def test_a_retry_that_buys_counts_against_the_cap_of_whoever_asks_for_it(
    http: Http, alice: Client, engine: Engine
) -> None:
    for name in ("a", "b"):
        http.post("/v1/jobs", json={**HARBOUR, "custom_id": name})
    rows.rows(
        engine, "UPDATE job SET state = 'failed', error_code = 'deadline_exceeded', due_at = NULL, finished_at = now()"
    )
    one, two = (bearer(alice, caps={"bloom": Decimal(cap)}, name=f"cap {cap}") for cap in (1, 2))
    refused(http.post("/v1/batches/shop:retry", headers=one), 402, "token_cap_reached")
    assert alice.totals("shop") == {"failed": 2}
    assert http.post("/v1/batches/shop:retry", headers=two).json()["done"] == {"queued": 2}
    refused(http.post("/v1/jobs", json={**HARBOUR, "custom_id": "c"}, headers=two), 402, "token_cap_reached")


def test_nothing_counts_of_a_retry_that_does_not_fit_under_the_cap(http: Http, alice: Client, engine: Engine) -> None:
    held.failed(engine)
    http.post("/v1/jobs", json={**HARBOUR, "batch": "b", "custom_id": "unspent"})
    rows.rows(
        engine,
        "UPDATE job SET state = 'failed', error_code = 'deadline_exceeded', due_at = NULL, finished_at = now() "
        "WHERE custom_id = 'unspent'",
    )
    one, body = bearer(alice, *SPENDER, caps={"bloom": Decimal(1)}, name="one"), {"buy_again": True}
    shown = http.post("/v1/batches/b:retry", params=DRY, json=body, headers=one).json()
    assert {group["act"] for group in shown["groups"]} == {"buy", "buy_again"}
    done = http.post("/v1/batches/b:retry", params={"confirm": shown["confirm"]}, json=body, headers=one)
    refused(done, 402, "token_cap_reached")
    assert {token.name: spent for token, spent in alice.tokens()}["one"] == {}


@pytest.mark.parametrize("charged", ["0", "0.000", "-0"])
def test_only_whoever_may_spend_says_that_a_lost_call_bought_nothing(
    alice: Client, engine: Engine, charged: str
) -> None:
    (job,), body = held.held(engine), {"decision": "fail", "charged": charged}
    writer = (Scope.OPS, Scope.JOBS_WRITE, Scope.JOBS_READ)
    with serving(alice) as http:
        operator, spender = bearer(alice, *writer, name="o"), bearer(alice, *writer, Scope.MONEY_SPEND, name="s")
        for path in (f"jobs/{job}", "batches/b"):
            told = http.post(f"/v1/{path}:resolve", json=body, headers=operator)
            assert "a retry buys the job as if for the first time" in refused(told, 403, "scope_missing")["detail"]
        given_up = http.post(f"/v1/jobs/{job}:resolve", json={"decision": "fail"}, headers=operator)
        assert given_up.json()["done"] == {"failed": 1}
        refused(http.post(f"/v1/jobs/{job}:resolve", json=body, headers=operator), 403, "scope_missing")
        assert http.post(f"/v1/jobs/{job}:retry", headers=operator).json()["done"] == {}
        assert http.post(f"/v1/jobs/{job}:resolve", json=body, headers=spender).is_success
        assert http.post(f"/v1/jobs/{job}:retry", headers=operator).json()["done"] == {"queued": 1}


def test_an_operator_says_what_a_lost_call_was_charged_and_it_is_not_bought_again(
    alice: Client, engine: Engine
) -> None:
    (job,), body = held.held(engine), {"decision": "fail", "charged": "0.5"}
    with serving(alice) as http:
        operator = bearer(alice, Scope.OPS, Scope.JOBS_WRITE, name="operator")
        assert http.post(f"/v1/jobs/{job}:resolve", json=body, headers=operator).json()["done"] == {"failed": 1}
        assert http.post(f"/v1/jobs/{job}:retry", headers=operator).json()["done"] == {}
    assert alice.totals("b") == {"failed": 1}


@pytest.mark.parametrize(
    ("path", "body"), [(":resolve", {"decision": "resend"}), (":retry", {"buy_again": True})], ids=["resend", "again"]
)
def test_no_scopes_but_that_for_spending_pay_twice(
    alice: Client, engine: Engine, path: str, body: dict[str, object]
) -> None:
    held.held(engine)
    held.failed(engine)
    before = alice.totals("b")
    with serving(alice) as http:
        all_others = bearer(alice, *(set(Scope) - {Scope.MONEY_SPEND, Scope.ADMIN}), name="others")
        shown = http.post(f"/v1/batches/b{path}", params=DRY, json=body, headers=all_others).json()
        assert shown["jobs"] == 1
        confirmed = {"confirm": shown["confirm"]}
        told = http.post(f"/v1/batches/b{path}", params=confirmed, json=body, headers=all_others)
        assert "money:spend" in refused(told, 403, "scope_missing")["detail"]
        assert alice.totals("b") == before
        spender = bearer(alice, *SPENDER, name="payer")
        done = http.post(f"/v1/batches/b{path}", params=confirmed, json=body, headers=spender)
        assert done.json()["done"] == {"queued": 1}
