"""Money that providers state: paid elsewhere, at an unknown price, or absurd; none of it passes without a word."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import pytest
from PIL import Image

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.db.payments.drift import FigureVerdict
from shared.settings import load
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import BRAND, HASTE, drain, runtime_for
from tests.support.http_stub import Stub, provider
from tests.support.lost import look_up, until_lost
from tests.support.outcome import ended, only
from tests.support.usage import survey
from tests.support.waiting import until
from worker.runtime import Runtime

MODEL: Final = "maker/model"
OTHER_MODEL: Final = "maker/other"
PRICE: Final = Decimal("0.04")
POSTS: Final = {
    "openrouter": "POST /images",
    "getimg": "POST /v2/images/generations",
    "posteverywhere": "POST /ai/generate-image",
}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def openrouter(**usage: Any) -> dict[str, Any]:
    data = [{"b64_json": base64.b64encode(picture()).decode()}]
    return {"created": 1, "data": data, "usage": {"prompt_tokens": 1, **usage}}


def by_own_key(cost: Any) -> dict[str, Any]:
    return openrouter(cost=0, is_byok=True, cost_details={"upstream_inference_cost": cost})


def key(usage: float, elsewhere: float) -> dict[str, Any]:
    return {"data": {"usage": usage, "byok_usage": elsewhere}}


@contextmanager
def working(stub: Stub, name: str, url: str, endpoints: Endpoints, **account: Any) -> Iterator[tuple[Client, Runtime]]:
    """Yield a producer and a worker whose one account speaks to `stub`."""
    told = {"provider": name, "api_key": "key", "base_url": stub.url, "timeout_seconds": 2, "quiet_seconds": 0.1}
    settings = load(
        database_url=url,
        s3_endpoint_url=endpoints.s3_endpoint_url,
        s3_bucket=endpoints.s3_bucket,
        allow_private_urls="127.0.0.1",
        accounts={name: {**told, **account}},
        **HASTE,
    )
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        yield client, runtime


@pytest.fixture
def stub() -> Iterator[Stub]:
    with provider({}) as serving:
        serving.routes |= {"GET /pic": picture(), "GET /credits": {"data": {"total_credits": 10, "total_usage": 0}}}
        yield serving


def buy(client: Client, runtime: Runtime, count: int = 1, *, name: str = "openrouter", batch: str = "b") -> None:
    row = {"provider": name, "model": MODEL, "prompt": "a harbour"}
    client.enqueue([row] * count, batch=batch)
    drain(runtime, ended(client, batch))


def command(url: str, *arguments: str) -> Ran:
    return genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": url})


def test_what_the_owners_own_key_pays_elsewhere_stands_in_the_bill_and_not_in_what_is_settled(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes["POST /images"] = by_own_key(0.03)
    with working(stub, "openrouter", database_url, endpoints, prices={MODEL: str(PRICE)}) as (client, runtime):
        buy(client, runtime, 2)
        (line,) = client.bill("b")
        (result, _) = client.results("b")
    assert (line["settled"], line["elsewhere"], line["held"], line["settled_unpriced"]) == (0, Decimal("0.06"), 0, 0)
    assert (result["cost"], result["cost_elsewhere"]) == (0, Decimal("0.03"))
    shown = command(database_url, "bill", "--json")
    assert json.loads(shown.out.splitlines()[0])["elsewhere"] == "0.06"
    assert "elsewhere" in command(database_url, "bill").out
    assert "elsewhere +0.03" in command(database_url, "explain", "b/row-000001").out


@pytest.mark.parametrize("cap", ["batch", "day"])
def test_a_cap_counts_what_is_paid_elsewhere(stub: Stub, database_url: str, endpoints: Endpoints, cap: str) -> None:
    """At 0.03 each, a cap of 0.10 has room for two and a reserve of 0.04."""
    stub.routes["POST /images"] = by_own_key(0.03)
    daily = {"daily_cap": "0.10"} if cap == "day" else {}
    rows_ = [{"provider": "openrouter", "model": MODEL, "prompt": "a harbour"}] * 6
    with working(stub, "openrouter", database_url, endpoints, prices={MODEL: str(PRICE)}, concurrency=1, **daily) as (
        client,
        runtime,
    ):
        client.enqueue(rows_, batch="b", max_cost=[] if daily else ["0.10"])

        def stands() -> bool:
            totals = client.totals("b")
            return (totals.get("succeeded") == 3 and totals.get("submitting", 0) == 0) or bool(totals.get("on_hold"))

        drain(runtime, stands, seconds=20)
        (line,) = client.bill("b")
    assert line["elsewhere"] <= Decimal("0.10")
    assert stub.asked.count("POST /images") <= 3


def test_an_own_key_whose_price_is_not_stated_counts_with_its_reserve(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes["POST /images"] = by_own_key(None)
    with working(stub, "openrouter", database_url, endpoints, prices={MODEL: str(PRICE)}) as (client, runtime):
        buy(client, runtime)
        (line,) = client.bill("b")
    assert (line["settled"], line["elsewhere"], line["settled_unpriced"]) == (0, PRICE, 0)


@pytest.mark.parametrize(
    "case",
    [
        (1, 0.56, {"succeeded": 1}),
        (1, 0.59, {"in_doubt": 1}),
        (1, 0.5, {"in_doubt": 1}),
        (1.03, 0.5, {"in_doubt": 1}),
        (1.03, 0.56, {"in_doubt": 1}),
    ],
)
def test_a_lost_call_is_unbought_only_if_neither_figure_moved_beyond_what_our_calls_explain(
    stub: Stub, database_url: str, endpoints: Endpoints, engine: Engine, case: Any
) -> None:
    """Between the readings two calls cost 0.03 elsewhere; a lost one under the owner's key moves that figure alone."""
    usage, elsewhere, stands = case
    stub.routes |= {"POST /images": by_own_key(0.03), "GET /key": key(1, 0.47)}
    prices = {MODEL: str(PRICE)}
    young = "SELECT 1 FROM submission WHERE answered_at > clock_timestamp() - interval '0.2 seconds'"
    with working(stub, "openrouter", database_url, endpoints, prices=prices) as (client, runtime):
        drain(runtime, lambda: bool(client.accounts()))
        survey(runtime, "openrouter")
        buy(client, runtime, batch="before")
        # The figure rises by what is stated: only then is it believed.
        until(lambda: not rows.rows(engine, young))
        stub.routes["GET /key"] = key(1, 0.5)
        survey(runtime, "openrouter")
        buy(client, runtime, batch="between")
        stub.routes["POST /images"] = (500, {"error": {"code": 500, "message": "lost"}})
        row = {"provider": "openrouter", "model": MODEL, "prompt": "lost"}
        client.enqueue([row], batch="b", on_unknown="resend")
        until_lost(client, runtime, 1)
        # What is bought later shows in the figure that it moves: the figures are not frozen.
        stub.routes |= {"POST /images": by_own_key(0.03), "GET /key": key(usage, elsewhere)}
        buy(client, runtime, batch="later")
        look_up(runtime, engine, "openrouter")
        drain(runtime, ended(client))
        assert client.totals("b") == stands


@pytest.mark.parametrize(("model", "stands"), [(MODEL, {"succeeded": 1}), (OTHER_MODEL, {"in_doubt": 1})])
def test_where_a_key_does_not_say_what_is_paid_elsewhere_only_a_model_that_it_was_charged_for_is_known_unbought(
    stub: Stub, database_url: str, endpoints: Endpoints, engine: Engine, model: str, stands: dict[str, int]
) -> None:
    """A lost call under the owner's own key at a model provider would move that figure alone."""

    def used(usage: float) -> None:
        stub.routes["GET /key"] = {"data": {"usage": usage}}

    stub.routes["POST /images"] = openrouter(cost=0.03)
    young = "SELECT 1 FROM submission WHERE answered_at > clock_timestamp() - interval '0.2 seconds'"
    prices = dict.fromkeys((MODEL, OTHER_MODEL), str(PRICE))
    with working(stub, "openrouter", database_url, endpoints, prices=prices) as (client, runtime):
        drain(runtime, lambda: bool(client.accounts()))
        used(1)
        survey(runtime, "openrouter")
        buy(client, runtime, batch="before")
        until(lambda: not rows.rows(engine, young))
        used(1.03)
        survey(runtime, "openrouter")
        stub.routes["POST /images"] = (500, {"error": {"code": 500, "message": "lost"}})
        row = {"provider": "openrouter", "model": model, "prompt": "lost"}
        client.enqueue([row], batch="b", on_unknown="resend")
        until_lost(client, runtime, 1)
        used(1.06)
        stub.routes["POST /images"] = openrouter(cost=0.03)
        buy(client, runtime, batch="later")
        look_up(runtime, engine, "openrouter")
        drain(runtime, ended(client))
        assert client.totals("b") == stands
        figures = [one.figure for one in client.figures()]
        assert [one for one in figures if "usage" in one] == ["usage of the key"]


def test_a_charge_of_unknown_price_is_counted_by_itself_everywhere(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes |= {"POST /images": openrouter(), "GET /key": key(0, 0)}
    with working(stub, "openrouter", database_url, endpoints, allow_unknown_price=True) as (client, runtime):
        buy(client, runtime, batch="first")
        survey(runtime, "openrouter")
        buy(client, runtime, 2)
        survey(runtime, "openrouter")
        (line,) = client.bill("b")
        (result, _) = client.results("b")
        (span,) = client.balance_spans()
        job = str(client.jobs("b")[0]["id"])
    assert (line["settled"], line["settled_unpriced"], line["held_unpriced"]) == (0, 2, 0)
    assert result["cost"] is None
    assert (span.difference, span.verdict) == (0, FigureVerdict.OPEN)
    for told in ("bill", "explain"):
        shown = command(database_url, told, *([job] if told == "explain" else []))
        assert "unpriced" in shown.out or "nobody knows what it cost" in shown.out
    assert "the cost of 2 charged calls is unknown" in command(database_url, "watch", "b").err
    assert "the cost of 3 charged calls is unknown" in " ".join(command(database_url, "doctor").out.split())


def test_a_cap_that_comes_after_calls_of_unknown_price_has_no_room(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes["POST /images"] = openrouter()
    with working(stub, "openrouter", database_url, endpoints, allow_unknown_price=True) as (client, runtime):
        buy(client, runtime)
    with working(stub, "openrouter", database_url, endpoints, prices={MODEL: str(PRICE)}) as (client, runtime):
        row = {"provider": "openrouter", "model": MODEL, "prompt": "another", "custom_id": "other"}
        client.enqueue([row], batch="b", max_cost=["100"])
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 1, "on_hold": 1}
        said = client.jobs("b", state="on_hold")[0]["error"]
    assert "the unknown price of 1 call" in said
    assert stub.asked.count("POST /images") == 1


@pytest.mark.parametrize(
    "case",
    [
        ("openrouter", openrouter(cost=1_000_000), 1_000_000, {"prices": {MODEL: "0.04"}}),
        ("openrouter", openrouter(cost=10.5), Decimal("10.5"), {"allow_unknown_price": True}),
        ("openrouter", openrouter(cost=10.5), Decimal("10.5"), {"prices": {MODEL: "0"}}),
        ("openrouter", by_own_key(1_000_000), 1_000_000, {"prices": {MODEL: "0.04"}}),
        ("getimg", 25_000_000, 25_000_000, {"prices": {MODEL: "1"}}),
        ("getimg", 10**14, 10**14, {"prices": {MODEL: "1"}}),
        ("posteverywhere", 25_000_000, 25_000_000, {}),
    ],
)
def test_an_absurd_cost_is_booked_as_stated_and_pauses_the_account_for_a_person(
    stub: Stub, database_url: str, endpoints: Endpoints, case: tuple[str, Any, Any, dict[str, Any]]
) -> None:
    name, answer, cost, account = case
    post = POSTS[name]
    if name == "getimg":
        data = [{"url": f"{stub.url}/pic", "mime_type": "image/png"}]
        answer = {"id": "a", "status": "completed", "data": data, "usage": {"total_cost": answer}}
    elif name == "posteverywhere":
        answer = (201, {"data": {"media_id": "m", "credits_used": answer, "credits_remaining": 1}})
    stub.routes[post] = answer
    row = {"provider": name, "model": "flux-schnell" if name == "posteverywhere" else MODEL, "prompt": "a harbour"}
    with working(stub, name, database_url, endpoints, concurrency=1, **account) as (client, runtime):
        client.enqueue([row, row], batch="b")
        drain(runtime, lambda: bool(client.accounts()[0]["paused_at"]))
        (line,) = client.bill("b")
        (told,) = client.accounts()
        assert client.totals("b").get("queued") == 1
    assert line["settled"] + line["elsewhere"] == cost
    assert (told["paused_code"], told["probe_at"]) == ("cost_unbelievable", None)
    assert f"{cost}" in str(told["paused_reason"])
    assert stub.asked.count(post) == 1
    assert command(database_url, "resume", name).code == 0
    with Client(database_url) as client:
        assert client.accounts()[0]["paused_at"] is None


def test_a_cost_that_was_announced_is_believed(stub: Stub, database_url: str, endpoints: Endpoints) -> None:
    stub.routes["POST /images"] = openrouter(cost=12)
    with working(stub, "openrouter", database_url, endpoints, prices={MODEL: "12"}) as (client, runtime):
        buy(client, runtime)
        assert client.accounts()[0]["paused_at"] is None
        assert only(client)["job"]["state"] == "succeeded"


def test_a_call_that_gave_fewer_images_than_asked_for_costs_one_charge_each(
    stub: Stub, database_url: str, endpoints: Endpoints
) -> None:
    stub.routes["POST /images/generations"] = (202, {"data": {"ids": ["i0", "i1"], "status": "pending"}})
    made = [{"id": one, "status": "completed", "imageUrl": f"{stub.url}/pic?{one}"} for one in ("i0", "i1")]
    stub.routes["GET /images"] = {"data": {"images": made, "hasMore": False, "nextCursor": None}}
    with working(stub, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime):
        client.enqueue([{"provider": "bloom", "prompt": "a harbour", "n": 5}], batch="b")
        drain(runtime, ended(client))
        (line,) = client.bill("b")
        states = [image["state"] for image in client.results("b")]
    assert (line["settled"], line["held"]) == (2, 0)
    assert states == ["stored", "stored", "failed", "failed", "failed"]
