"""What people do on the dashboard: nothing before they saw it, nothing that they may not, and each act in the audit."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.dashboard.judging import judge
from ops.dashboard.proxies import ProxyError, TrustedProxies
from ops.dashboard.sessions import EVERYTHING, JUDGED_SECONDS, Right, Sessions
from producer import Client
from shared.db import pauses
from shared.db.engine import Engine, transaction
from shared.db.tokens import TokenTerms
from shared.settings import Settings, load
from shared.tokens import Scope
from tests.support import held, rows
from tests.support.browsing import Browser, browsing, signed_in

Opened = Callable[..., Any]


@pytest.fixture
def opened(engine: Engine, database_url: str, tmp_path: Path) -> Opened:
    settings = load(database_url=database_url)

    @contextmanager
    def open_one(**options: Any) -> Iterator[Browser]:
        with signed_in(engine, tmp_path, settings=settings, **options) as browser:
            yield browser

    return open_one


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings without any account: nothing here speaks to a provider."""
    return load(database_url=database_url)


def audited(client: Client) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("actor", "door", "act", "terms", "changed")) for row in client.audited()]


def test_a_held_job_is_sent_again_only_after_its_cost_was_shown_and_accepted(
    engine: Engine, client: Client, opened: Opened
) -> None:
    (job,) = held.held(engine, account="getimg")
    wish = {"what": "resolve", "how": "resend", "job": str(job), "back": "/held"}
    with opened() as browser:
        page = browser.get("/act", **wish).text
        assert re.search(r"Worst second charge: <strong>2 USD", page)
        assert f"genqueue resolve --resend {job}" in page
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        refused = browser.post("/act", **wish, token=token[1])
        assert (refused.status_code, "say yes to what it may cost" in refused.text) == (409, True)
        assert rows.job(engine, job).state == "in_doubt"
        done = browser.act(**wish)
        assert (done.status_code, done.headers["location"]) == (303, "/held")
        assert "1 in line again" in browser.get("/held").text
        assert "1 in line again" not in browser.get("/held").text
    assert rows.job(engine, job).state == "queued"
    assert audited(client) == [("somebody", "dashboard", "resolve", "--resend", 1)]


def test_many_are_given_up_at_once_with_what_the_history_shows(engine: Engine, client: Client, opened: Opened) -> None:
    held.held(engine, 3, account="getimg")
    held.held(engine, 1, account="bloom")
    with opened() as browser:
        done = browser.act(what="resolve", how="fail", account="getimg", code="answer_lost", charged="0.5")
        assert done.status_code == 303
    assert rows.states(engine) == {"failed": 3, "in_doubt": 1}
    (bill,) = [row for row in client.bill() if row["account"] == "getimg"]
    assert (bill["settled"], bill["held"]) == (Decimal("1.5"), 0)


def test_jobs_that_changed_since_they_were_shown_are_left_alone(engine: Engine, opened: Opened) -> None:
    held.held(engine, 1)
    wish = {"what": "resolve", "how": "fail", "batch": "b"}
    with opened() as browser:
        token = re.search(r'name="token" value="([^"]+)"', browser.get("/act", **wish).text)
        assert token
        held.held(engine, 1)
        answer = browser.post("/act", **wish, token=token[1])
    assert answer.status_code == 409
    assert "1 began to match" in answer.text
    assert rows.states(engine) == {"in_doubt": 2}


@pytest.mark.parametrize(
    ("rights", "wish", "status"),
    [
        (EVERYTHING - {Right.SPEND}, {"what": "resolve", "how": "resend", "batch": "b"}, 403),
        (EVERYTHING - {Right.OPERATE}, {"what": "resolve", "how": "fail", "batch": "b"}, 403),
        (EVERYTHING - {Right.SPEND}, {"what": "resolve", "how": "fail", "batch": "b"}, 200),
        (EVERYTHING - {Right.SPEND}, {"what": "retry", "how": "buy-again", "batch": "b"}, 403),
        (EVERYTHING - {Right.SPEND}, {"what": "cap", "batch": "b", "provider": "bloom", "amount": "5"}, 403),
        (EVERYTHING - {Right.SPEND}, {"what": "policy", "batch": "b", "policy": "resend"}, 403),
        (EVERYTHING - {Right.SPEND}, {"what": "policy", "batch": "b", "policy": "hold"}, 200),
        ({Right.SEE}, {"what": "cancel", "batch": "b"}, 403),
        ({Right.SEE}, {"what": "pause", "account": "bloom"}, 403),
        (EVERYTHING, {"what": "drop tables"}, 404),
        (EVERYTHING, {"what": "cancel", "batch": "none"}, 400),
        (EVERYTHING, {"what": "cancel"}, 400),
        (EVERYTHING, {"what": "cancel", "job": "x"}, 400),
        (EVERYTHING, {"what": "resolve", "how": "fail", "batch": "b", "charged": "-1x"}, 400),
        (EVERYTHING, {"what": "cap", "batch": "b", "provider": "bloom", "amount": "much"}, 400),
    ],
)
def test_an_act_needs_its_right_and_a_form_that_makes_sense(
    engine: Engine, opened: Opened, rights: frozenset[Right], wish: dict[str, str], status: int
) -> None:
    held.held(engine, 1)
    with opened(rights=rights) as browser:
        assert browser.get("/act", **wish).status_code == status
        if status != 200:
            assert browser.post("/act", **wish, sure="yes").status_code == status
    assert rows.states(engine) == {"in_doubt": 1}


def test_a_paused_account_is_resumed_and_a_cap_is_raised(engine: Engine, client: Client, opened: Opened) -> None:
    rows.add(engine, [rows.new_job("a", account="getimg")], caps={"getimg": Decimal(1)})
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="account_out_of_credit", reason="no credit", action_url=None)
    with opened() as browser:
        assert "no credit" in browser.get("/").text
        assert browser.act(what="resume", account="bloom").status_code == 303
        assert "no credit" not in browser.get("/").text
        wish = {"what": "cap", "batch": "b", "provider": "getimg", "amount": "7.5", "back": "/batch?name=b"}
        assert "genqueue cap b getimg=7.5" in browser.get("/act", **wish).text
        assert browser.post("/act", **wish, sure="yes").headers["location"] == "/batch?name=b"
        assert "b may spend 7.5 at getimg" in browser.get("/batch?name=b").text
    assert [act for _, _, act, _, _ in audited(client)] == ["cap", "resume"]


def test_failed_jobs_are_tried_again_and_the_rest_is_cancelled(engine: Engine, opened: Opened) -> None:
    held.refused(engine, code="deadline_exceeded")
    rows.add(engine, [rows.new_job("z")])
    with opened() as browser:
        page = browser.get("/act", what="retry", batch="b", code="deadline_exceeded").text
        assert "bought for the first time" in page
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        again = {"what": "retry", "batch": "b", "code": "deadline_exceeded", "token": token[1], "sure": "yes"}
        assert browser.post("/act", **again).status_code == 303
        assert rows.states(engine) == {"queued": 2}
        assert browser.act(what="cancel", batch="b").status_code == 303
    assert rows.states(engine) == {"cancelled": 2}


def test_a_batch_is_held_released_and_put_before_others(engine: Engine, client: Client, opened: Opened) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    with opened() as browser:
        assert "what=hold" in browser.get("/batch?name=b").text
        browser.act(what="hold", batch="b")
        page = browser.get("/batch?name=b").text
        assert "what=release" in page
        assert "‖ held" in page
        assert client.totals("b") == {"on_hold": 2}
        browser.act(what="release", batch="b")
        browser.act(what="priority", batch="b", amount="7")
        assert browser.get("/act", what="priority", batch="b", amount="70000").status_code == 400
    assert client.totals("b") == {"queued": 2}
    assert [row.priority for row in rows.rows(engine, "SELECT priority FROM job")] == [7, 7]
    assert [act for _, _, act, _, _ in audited(client)] == ["priority", "release", "hold"]


def test_a_dashboard_without_settings_only_reads(engine: Engine, tmp_path: Path) -> None:
    held.held(engine, 1)
    with signed_in(engine, tmp_path) as browser:
        assert browser.get("/act", what="cancel", batch="b").status_code == 403


def test_a_token_has_the_rights_of_its_scopes_until_it_is_revoked(
    client: Client, engine: Engine, tmp_path: Path
) -> None:
    def made(name: str, *scopes: Scope, prefix: str = "") -> str:
        return client.create_token(TokenTerms(name, frozenset(scopes), None, prefix))[1].get_secret_value()

    viewer, payer = made("viewer", Scope.JOBS_READ), made("payer", Scope.MONEY_SPEND, Scope.OPS)
    bound = made("bound", Scope.ADMIN, prefix="shop-")
    judged = judge(engine, "the-dashboards-own-token")
    assert judged(bound) is None, "every page shows all batches"
    assert judged(viewer[:-1] + ("y" if viewer.endswith("x") else "x")) is None
    assert judged(made("chief", Scope.ADMIN)).rights == EVERYTHING  # type: ignore[union-attr]
    assert judged(viewer).rights == {Right.SEE}  # type: ignore[union-attr]
    assert judged(payer).rights == {Right.SEE, Right.MONEY, Right.SPEND, Right.OPERATE}  # type: ignore[union-attr]
    now = [0.0]
    sessions = Sessions(judged, clock=lambda: now[0])
    word = sessions.sign_in(viewer)
    client.revoke_token("viewer")
    now[0] = JUDGED_SECONDS - 1
    assert sessions.person(word)
    now[0] = JUDGED_SECONDS
    assert sessions.person(word) is None
    with browsing(engine, tmp_path, judge=judged) as browser:
        assert browser.sign_in(viewer).status_code == 403
        assert browser.sign_in(payer).status_code == 303
        assert browser.get("/money").status_code == 200


def test_a_listed_proxy_names_the_person_and_nobody_else_does(
    engine: Engine, client: Client, settings: Settings, tmp_path: Path
) -> None:
    (job,) = held.held(engine, 1)
    named = {"X-Forwarded-User": "anna\n"}
    trusted = TrustedProxies.of("X-Forwarded-User", ["192.0.2.0/24"], ["ops", "results:read"])
    with browsing(engine, tmp_path, settings=settings, proxies=trusted) as browser:
        assert browser.get("/").status_code == 303
        browser.client.headers.update(named)
        assert browser.get("/").status_code == 200
        assert browser.get("/money").status_code == 403
        assert browser.act(what="resolve", how="fail", job=str(job), back="/held").status_code == 303
        assert "1 given up" in browser.get("/held").text
        browser.client.headers["X-Forwarded-User"] = "berta"
        assert "1 given up" not in browser.get("/held").text
    assert [row[:3] for row in audited(client)] == [("anna", "dashboard", "resolve")]
    others = TrustedProxies.of("X-Forwarded-User", ["198.51.100.1"], ["admin"])
    with browsing(engine, tmp_path, settings=settings, proxies=others) as browser:
        browser.client.headers.update(named)
        assert browser.get("/").status_code == 303


@pytest.mark.parametrize(("addresses", "scopes"), [([], ["ops"]), (["x"], ["ops"]), (["127.0.0.1"], ["nothing"])])
def test_a_proxy_that_is_not_well_described_is_refused(addresses: list[str], scopes: list[str]) -> None:
    assert TrustedProxies.of("", addresses, scopes) is None
    with pytest.raises(ProxyError):
        TrustedProxies.of("X-Forwarded-User", addresses, scopes)
