"""Tokens of some batches: they learn nothing of the batches of others, nor of what an account spends for them."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from httpx import Client as Http

from producer import Client
from shared.db import workers
from shared.db.engine import Engine, transaction
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support import held, rows
from tests.support.api import HARBOUR, bearer

NOBODY = "00000000-0000-0000-0000-000000000000"
OTHER = {**HARBOUR, "batch": "other"}
CSV = {"content-type": "text/csv"}


@pytest.fixture
def mine(alice: Client) -> dict[str, str]:
    """The header of a token that is bound to the batches whose names begin with `shop`."""
    return bearer(alice, prefix="shop", name="mine")


def spent_for_others(engine: Engine) -> None:
    """Let the account have bought for another batch today, up to its cap of the day."""
    held.failed(engine, batch="other")
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="w1", lock_key=1, slots=4)
    rows.rows(
        engine, "UPDATE account SET daily_cap = 2, balance = 77, not_before = now() + interval '20 s', seen_at = now()"
    )


def story(http: Http, header: dict[str, str]) -> dict[str, Any]:
    job = http.post("/v1/jobs", json=HARBOUR, headers=header).json()["id"]
    found: dict[str, Any] = http.get(f"/v1/jobs/{job}/story", headers=header).json()
    return found


@pytest.mark.parametrize("more", [(), (Scope.ADMIN,)])
def test_a_story_tells_a_token_of_some_batches_nothing_of_what_its_account_spends(
    http: Http, alice: Client, engine: Engine, more: tuple[Scope, ...]
) -> None:
    spent_for_others(engine)
    told = story(http, bearer(alice, Scope.JOBS_WRITE, Scope.JOBS_READ, *more, prefix="shop"))
    assert {"spent_today", "daily_cap"} & set(told["job"]) == set()
    assert told["waits"]["words"] == "account bloom starts no paid call: its daily cap is reached"
    assert "sums" not in told["waits"]


def test_a_story_tells_what_an_account_spends_to_whoever_may_read_money(
    http: Http, alice: Client, engine: Engine
) -> None:
    spent_for_others(engine)
    told = story(http, bearer(alice, Scope.JOBS_WRITE, Scope.JOBS_READ, Scope.MONEY_READ))
    assert Decimal(told["job"]["daily_cap"]) == 2
    assert told["waits"]["words"].endswith("its daily cap is reached (2 of 2 credit are spent or set aside)")


def test_a_plan_tells_a_token_of_some_batches_nothing_of_what_its_account_has(
    http: Http, alice: Client, engine: Engine, mine: dict[str, str]
) -> None:
    spent_for_others(engine)
    text = b"custom_id,provider,prompt\n" + b"".join(b"r%d,bloom,x\n" % n for n in range(90))
    ask: dict[str, Any] = {"params": {"dry_run": "true"}, "content": text}
    told = http.post("/v1/batches/shop/rows", headers=mine | CSV, **ask).json()
    assert [one["balance"] for one in told["accounts"]] == [None]
    short = {one["code"]: one for one in told["remarks"]}
    assert {"balance_short", "daily_cap_short"} <= set(short)
    assert not any("77" in str(one) or "13" in str(one) for one in short.values())
    reader = bearer(alice, Scope.JOBS_WRITE, Scope.MONEY_READ, name="reader")
    told = http.post("/v1/batches/shop/rows", headers=reader | CSV, **ask).json()
    assert [one["balance"] for one in told["accounts"]] == ["77"]


@pytest.mark.parametrize("path", ["", "/story"])
def test_a_job_of_another_reads_as_no_job(http: Http, mine: dict[str, str], path: str) -> None:
    theirs = http.post("/v1/jobs", json=OTHER).json()["id"]
    said = [
        refused(http.get(f"/v1/jobs/{one}{path}", headers=mine), 404, "no_such_job")["detail"].replace(one, "")
        for one in (theirs, NOBODY)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("act", ["cancel", "retry", "resolve"])
def test_an_act_on_a_job_of_another_reads_as_on_no_job(http: Http, alice: Client, act: str) -> None:
    theirs = http.post("/v1/jobs", json=OTHER).json()["id"]
    chief = bearer(alice, Scope.ADMIN, prefix="shop", name="chief")
    body = {"decision": "fail"} if act == "resolve" else {}
    said = [
        refused(http.post(f"/v1/jobs/{one}:{act}", json=body, headers=chief), 404, "no_such_job")["detail"]
        for one in (theirs, NOBODY)
    ]
    assert said[0].replace(theirs, "") == said[1].replace(NOBODY, "")


def test_a_list_of_batches_and_its_cursors_name_only_those_of_the_token(
    http: Http, engine: Engine, mine: dict[str, str]
) -> None:
    for batch in ("other-1", "shop-1", "other-2", "shop-2", "other-3"):
        http.post("/v1/jobs", json={**HARBOUR, "batch": batch}).raise_for_status()
    own = {str(row.id) for row in rows.rows(engine, "SELECT id FROM batch WHERE name LIKE 'shop%'")}
    seen, query = [], {"limit": "1"}
    while True:
        page = http.get("/v1/batches", params=query, headers=mine).json()
        seen += [one["name"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        _, _, named = json.loads(base64.urlsafe_b64decode(page["next_cursor"] + "=="))
        assert named in own
        query["cursor"] = page["next_cursor"]
    assert seen == ["shop-1", "shop-2"]


def test_an_accounts_balance_and_cap_are_for_whoever_reads_the_money_of_all_batches(
    http: Http, alice: Client, engine: Engine
) -> None:
    spent_for_others(engine)
    for header, sees in (
        (bearer(alice, Scope.OPS), False),
        (bearer(alice, Scope.OPS, Scope.MONEY_READ, prefix="shop"), False),
        (bearer(alice, Scope.ADMIN, prefix="shop"), False),
        (bearer(alice, Scope.OPS, Scope.MONEY_READ), True),
    ):
        found = {one["name"]: one for one in http.get("/v1/accounts", headers=header).json()["items"]}["bloom"]
        assert (found["balance"], found["daily_cap"]) == (("77", "2") if sees else (None, None))
