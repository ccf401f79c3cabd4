"""Money on the dashboard: an act that buys needs the same rights as over HTTP, whatever its form says."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ops.dashboard.judging import judge
from producer import Client
from shared.db.engine import Engine
from shared.db.jobs.transitions import Move
from shared.db.tokens import TokenTerms
from shared.lifecycle import ImageState, JobState
from shared.settings import load
from shared.tokens import Scope
from tests.support import held, rows
from tests.support.browsing import Browser, browsing

OPERATOR = (Scope.JOBS_READ, Scope.OPS)
SignedIn = Callable[..., Any]


@pytest.fixture
def signed_in(engine: Engine, client: Client, database_url: str, tmp_path: Path) -> SignedIn:
    """Open the pages for whoever has a new token of some scopes."""

    @contextmanager
    def opened(*scopes: Scope, caps: Any = None) -> Iterator[Browser]:
        terms = TokenTerms("person", frozenset(scopes), caps)
        token = client.create_token(terms)[1].get_secret_value()
        judged = judge(engine, "the-dashboards-own-token")
        with browsing(engine, tmp_path, settings=load(database_url=database_url), judge=judged) as browser:
            assert browser.sign_in(token).status_code == 303
            yield browser

    return opened


def collectable(engine: Engine) -> Any:
    """One failed job whose picture its provider can still be asked about, free."""
    intent = held.sent(engine, "bloom", "b")
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="collection_expired", note="late")
    assert rows.settle(engine, intent, rows.accepted(ImageState.PENDING), step)
    return intent.claim.job_id


def test_the_right_to_operate_alone_has_no_job_bought(engine: Engine, signed_in: SignedIn) -> None:
    job = held.refused(engine)
    with signed_in(*OPERATOR, Scope.MONEY_SPEND) as browser:
        page = browser.get("/act", what="retry", job=str(job)).text
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
    wish = {"what": "retry", "job": str(job), "sure": "yes"}
    with signed_in(*OPERATOR) as browser:
        page = browser.get("/act", **wish).text
        assert "1 were never bought" in page
        assert "needs `jobs:write` or `money:spend`" in page
        assert 'name="token"' not in page
        for given in ({}, {"token": token[1]}, {"how": "retry"}):
            assert browser.post("/act", None, **wish, **given).status_code == 409
    assert rows.job(engine, job).state == "failed"


def test_what_is_free_is_tried_again_beside_what_would_be_bought(engine: Engine, signed_in: SignedIn) -> None:
    unbought, bought = held.refused(engine), collectable(engine)
    with signed_in(*OPERATOR) as browser:
        assert browser.act(what="retry", batch="b").status_code == 303
    assert (rows.job(engine, unbought).state, rows.job(engine, bought).state) == ("failed", "pending")


@pytest.mark.parametrize("scope", [Scope.JOBS_WRITE, Scope.MONEY_SPEND])
def test_whoever_may_order_or_spend_has_a_job_bought_that_never_was(
    engine: Engine, signed_in: SignedIn, scope: Scope
) -> None:
    job = held.refused(engine)
    with signed_in(*OPERATOR, scope) as browser:
        page = browser.get("/act", what="retry", job=str(job)).text
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        wish = {"what": "retry", "job": str(job), "token": token[1]}
        assert browser.post("/act", **wish).status_code == 409, "nobody has said yes"
        assert browser.post("/act", **wish, sure="yes").status_code == 303
    assert rows.job(engine, job).state == "queued"


def purchase(engine: Engine, how: str) -> dict[str, str]:
    """Return an act that buys for two credits at most, on a job of its own."""
    if how == "resend":
        return {"what": "resolve", "how": how, "job": str(held.held(engine)[0])}
    if how == "buy-again":
        return {"what": "retry", "how": how, "job": str(held.failed(engine)[0])}
    return {"what": "retry", "job": str(held.refused(engine))}


@pytest.mark.parametrize("how", ["retry", "buy-again", "resend"])
def test_whatever_an_act_buys_counts_against_the_cap_of_the_token(
    engine: Engine, client: Client, signed_in: SignedIn, how: str
) -> None:
    few, many = Decimal("0.5"), Decimal(3)
    wish, spender = purchase(engine, how), (*OPERATOR, Scope.MONEY_SPEND)
    with signed_in(*spender, caps={"bloom": few}) as browser:
        refused = browser.act(**wish)
        assert (refused.status_code, "the token has a cap at bloom" in refused.text) == (409, True)
        assert rows.job(engine, UUID(wish["job"])).state != "queued"
    assert [spent for _, spent in client.tokens()] == [{}]
    with signed_in(*spender, caps={"bloom": many}) as browser:
        assert browser.act(**wish).status_code == 303
        assert rows.job(engine, UUID(wish["job"])).state == "queued"
        counted = [spent for token, spent in client.tokens() if token.caps == {"bloom": many}]
        assert counted == [{"bloom": Decimal(1 if how == "retry" else 2)}]
        assert browser.act(**purchase(engine, how)).status_code == (303 if how == "retry" else 409)


def test_a_held_job_that_is_proved_unbought_counts_at_its_price(
    engine: Engine, client: Client, signed_in: SignedIn
) -> None:
    (job,) = held.held(engine)
    rows.rows(engine, "UPDATE submission SET outcome = 'rejected'")
    with signed_in(*OPERATOR, Scope.MONEY_SPEND, caps={"bloom": Decimal(3)}) as browser:
        assert browser.act(what="resolve", how="resend", job=str(job)).status_code == 303
    assert rows.job(engine, job).state == "queued"
    assert [spent for _, spent in client.tokens()] == [{"bloom": Decimal(1)}]


def test_an_act_that_is_free_needs_no_room_under_a_cap(engine: Engine, signed_in: SignedIn) -> None:
    job = collectable(engine)
    with signed_in(*OPERATOR, caps={"bloom": Decimal(0)}) as browser:
        assert browser.act(what="retry", job=str(job)).status_code == 303
    assert rows.job(engine, job).state == "pending"


def rows_of(count: int) -> str:
    return "custom_id,provider,model,prompt\n" + "".join(f"r{n},bloom,,a harbour {n}\n" for n in range(count))


@pytest.mark.parametrize(
    ("scopes", "asked", "now"),
    [
        ((), "bloom=1000", {"bloom": Decimal(5)}),
        ((), "bloom=2", {"bloom": Decimal(2)}),
        ((), "bloom=1000 getimg=3", {"bloom": Decimal(5), "getimg": Decimal(3)}),
        ((Scope.MONEY_SPEND,), "bloom=1000", {"bloom": Decimal(1000)}),
    ],
)
def test_a_file_raises_the_cap_of_a_batch_only_for_whoever_may_spend(
    client: Client, signed_in: SignedIn, scopes: tuple[Scope, ...], asked: str, now: dict[str, Decimal]
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": "x", "custom_id": "x"}], batch="shop", max_cost=["bloom=5"])
    text = rows_of(9) + ("g,getimg,seedream-5-lite,a tram\n" if "getimg" in asked else "")
    with signed_in(Scope.JOBS_READ, Scope.JOBS_WRITE, *scopes) as browser:
        sent = browser.post("/new", None, batch="shop", format="csv", text=text, provider="bloom", caps=asked)
        page = browser.get(sent.headers["location"]).text
        assert ("without <code>money:spend</code>" in page) == (not scopes)
        assert ("left of the batch&#39;s 5 for bloom" in page) == (now["bloom"] == 5), "the plan goes by the same cap"
        assert browser.post(sent.headers["location"], None, how="all").status_code == 303
    assert client.caps("shop") == now


def test_the_same_file_again_changes_no_cap_of_its_batch(client: Client, signed_in: SignedIn) -> None:
    with signed_in(Scope.JOBS_READ, Scope.JOBS_WRITE) as browser:
        for cap in ("bloom=5", "bloom=1000", "bloom=1"):
            sent = browser.post("/new", None, batch="shop", format="csv", text=rows_of(2), caps=cap)
            assert browser.post(sent.headers["location"], None, how="all").status_code == 303
    assert client.caps("shop") == {"bloom": Decimal(5)}


def test_only_whoever_may_spend_says_on_a_page_that_a_lost_call_bought_nothing(
    engine: Engine, signed_in: SignedIn
) -> None:
    (job,) = held.held(engine)
    wish = {"what": "resolve", "how": "fail", "job": str(job)}
    with signed_in(*OPERATOR, Scope.JOBS_WRITE) as browser:
        token = re.search(r'name="token" value="([^"]+)"', browser.get("/act", **wish).text)
        assert token
        answers = [browser.get("/act", **wish, charged="0"), browser.post("/act", **wish, charged="0", token=token[1])]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert "leave out what was charged" in answers[1].text
        assert rows.job(engine, job).state == "in_doubt"
        assert browser.act(**wish, charged="0.5").status_code == 303
    (other,) = held.held(engine)
    with signed_in(*OPERATOR, Scope.MONEY_SPEND) as browser:
        assert browser.act(**{**wish, "job": str(other)}, charged="0").status_code == 303
    assert (rows.job(engine, job).state, rows.job(engine, other).state) == ("failed", "failed")
