"""What providers offer, on the whole road: read once for all workers, kept, used for prices and checks, and dated."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from structlog.testing import capture_logs

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client import InvalidRowsError
from shared.db.engine import Engine, transaction
from shared.db.payments import offers
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.http_stub import Stub, provider
from tests.support.outcome import ended, paid_posts
from worker import event_loop
from worker.claiming import Parcel
from worker.runtime import Runtime
from worker.upkeep.offers import ask, look

TRAM: Final = {"provider": "getimg", "model": "sim-photo", "prompt": "a tram", "size": "2K"}
HARBOUR: Final = {"provider": "openrouter", "model": "sim/photo", "prompt": "a harbour", "size": "1K"}


@contextmanager
def unpriced(url: str, endpoints: Endpoints, simulator_url: str, **changes: Any) -> Iterator[tuple[Client, Runtime]]:
    """Yield a producer and a worker of five accounts without any price setting, of which none may be unknown."""
    accounts = five_accounts(simulator_url)
    for name in ("getimg", "openrouter"):
        accounts[name] = {**accounts[name], "allow_unknown_price": False, **changes.get(name, {})}
    settings = settings_for(url, endpoints, simulator_url, accounts=accounts)
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        yield client, runtime


def read_offers(runtime: Runtime, *names: str) -> list[dict[str, Any]]:
    """Ask what accounts are offered, as a worker does; return what it logged."""

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            for name in names:
                account = runtime.accounts[name]
                assert await look(runtime, account) is not None
                await ask(runtime, account)
                await account.get.close()
            life.cancel_scope.cancel()

    with capture_logs() as logs:
        event_loop.run(work)
    return [dict(entry) for entry in logs]


def unreadable(runtime: Runtime, *names: str) -> None:
    """Have a worker ask for prices and get no answer."""
    with transaction(runtime.engine) as connection:
        for name in names:
            assert offers.take_turn(connection, name, often_seconds=60)
            offers.put_off(connection, name, seconds=60, note="provider_unreachable: nobody answers")


def registered(client: Client, runtime: Runtime) -> None:
    drain(runtime, lambda: bool(client.accounts()))


def test_what_waited_for_a_price_is_bought_within_its_cap_once_the_prices_are_read(
    database_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        client.enqueue([TRAM, HARBOUR], batch="b", max_cost=["getimg=1", "openrouter=1"])
        unreadable(runtime, "getimg", "openrouter")
        drain(runtime, ended(client))
        assert client.totals("b") == {"on_hold": 2}
        read_offers(runtime, "getimg", "openrouter")
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 2}
        reserved = {line["account"]: line for line in client.bill("b")}
    assert reserved["getimg"]["settled"] == Decimal("0.06")
    assert paid_posts(simulated) == 2


def test_a_job_whose_prices_are_being_read_for_the_first_time_waits_in_line(
    database_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        client.enqueue([TRAM], batch="b")
        claimed: list[Parcel] = []
        drain(runtime, lambda: bool(claimed) and client.totals("b") == {"queued": 1}, seen=claimed.append)
        read_offers(runtime, "getimg")
        drain(runtime, ended(client))
        assert client.totals("b") == {"succeeded": 1}
    assert paid_posts(simulated) == 1


def test_a_plan_knows_the_prices_that_were_read_and_says_where_nothing_bounds_them(
    database_url: str, endpoints: Endpoints, simulated: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(f"{json.dumps(TRAM)}\n{json.dumps({**TRAM, 'size': '4K', 'custom_id': 'large'})}\n")
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        registered(client, runtime)
        assert client.plan(file, batch="b").accounts[0].share.money.high is None
        read_offers(runtime, "getimg")
        share = client.plan(file, batch="b").accounts[0].share
        assert (share.low, share.high, dict(share.unpriced)) == (Decimal("0.18"), Decimal("0.18"), {})


def test_a_model_priced_by_tokens_is_said_to_have_no_upper_bound(
    database_url: str, endpoints: Endpoints, tmp_path: Path
) -> None:
    pricing = [{"billable": "output_image", "unit": "token", "cost_usd": 0.00003}]
    routes = {
        "GET /images/models": {"data": [{"id": "a/tokens", "supported_parameters": {}}]},
        "GET /images/models/a/tokens/endpoints": {"id": "a/tokens", "endpoints": [{"pricing": pricing}]},
    }
    row = {"provider": "openrouter", "model": "a/tokens", "prompt": "a harbour"}
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(row))
    with (
        provider(routes) as stub,
        unpriced(database_url, endpoints, stub.url, openrouter={"base_url": stub.url}) as (client, runtime),
    ):
        client.enqueue([row], batch="b")
        registered(client, runtime)
        read_offers(runtime, "openrouter")
        drain(runtime, ended(client))
        (remark,) = [one for one in client.plan(file, batch="c").all_remarks() if one.code == "price_unknown"]
        assert "priced by tokens: no upper bound" in remark.seen
        assert "priced by tokens: no upper bound" in client.jobs("b")[0]["error"]
        assert stub.asked.count("POST /images") == 0


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"model": "sim-foto"}, "model", "near: sim-photo"),
        ({"aspect_ratio": "7:1"}, "aspect_ratio", "known: 1:1, 16:9"),
        ({"size": "8K"}, "size", "1K"),
    ],
)
def test_a_row_that_is_not_offered_is_refused_with_its_line_before_anything_is_enqueued(  # noqa: PLR0913 - a case each
    database_url: str,
    endpoints: Endpoints,
    simulated: Simulator,
    tmp_path: Path,
    change: dict[str, Any],
    field: str,
    *,
    says: str,
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(f"{json.dumps(TRAM)}\n{json.dumps({**TRAM, **change})}\n")
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        registered(client, runtime)
        read_offers(runtime, "getimg")
        for attempt in (client.enqueue_file, client.plan):
            with pytest.raises(InvalidRowsError) as caught:
                attempt(file, batch="b")
            (fault,) = caught.value.faults
            assert (fault.line, fault.field) == (2, field)
            assert says in fault.message
        assert client.batches() == []


@pytest.mark.parametrize("state", ["missing", "stale", "not whole", "another account unread"])
def test_without_a_fresh_and_whole_reading_nothing_is_refused(
    database_url: str, endpoints: Endpoints, simulated: Simulator, engine: Engine, state: str
) -> None:
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        registered(client, runtime)
        if state != "missing":
            read_offers(runtime, "getimg")
        if state == "stale":
            rows.rows(engine, "UPDATE offer_reading SET read_at = now() - interval '25 hours'")
        if state == "not whole":
            rows.rows(engine, "UPDATE offer_reading SET whole = false")
        if state == "another account unread":
            rows.rows(
                engine,
                "INSERT INTO account (name, provider, unit, concurrency, windows, seen_at) "
                "VALUES ('second', 'getimg', 'USD', 1, '[]', now())",
            )
        assert client.enqueue([{**TRAM, "model": "brand-new"}], batch="b").added == 1


def test_only_one_worker_asks_within_the_interval(
    database_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    with unpriced(database_url, endpoints, simulated.url) as (client, runtime):
        registered(client, runtime)

        async def work() -> list[bool | None]:
            async with anyio.create_task_group() as life:
                runtime.start(life)
                turns = [await look(runtime, runtime.accounts["getimg"]) for _ in range(3)]
                await runtime.accounts["getimg"].get.close()
                life.cancel_scope.cancel()
            return turns

        assert event_loop.run(work) == [True, False, False]
        asked = [entry for entry in simulated.requests(method="GET", limit=100) if entry["path"].endswith("/models")]
        assert len(asked) == 1


def models(price: Any, *, name: str = "m") -> list[dict[str, Any]]:
    rates = [{"billable_unit": "image", "resolution": None, "unit_price": price}]
    return [{"id": name, "type": "image", "pricing": {"currency": "USD", "rates": rates}}]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with provider({"GET /v2/models": models("0.04")}) as serving:
        yield serving


def command(url: str, *arguments: str) -> Ran:
    return genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": url, "COLUMNS": "200"})


def test_a_price_that_changed_is_an_event_and_a_hostile_one_is_not_used(
    database_url: str, endpoints: Endpoints, engine: Engine, stub: Stub
) -> None:
    with unpriced(database_url, endpoints, stub.url, getimg={"base_url": stub.url}) as (client, runtime):
        registered(client, runtime)
        assert not any(entry["event"] == "price_changed" for entry in read_offers(runtime, "getimg"))
        stub.routes["GET /v2/models"] = models("0.05")
        (entry,) = [one for one in read_offers(runtime, "getimg") if one["event"] == "price_changed"]
        assert (entry["log_level"], entry["before"], entry["after"]) == ("warning", "0.04", "0.05")
        stub.routes["GET /v2/models"] = models("0")
        read_offers(runtime, "getimg")
        told = [(one["before"], one["after"]) for one in client.price_changes()]
        assert told == [(Decimal("0.05"), None), (Decimal("0.04"), Decimal("0.05"))]
        with transaction(engine) as connection:
            assert offers.load(connection)["getimg"].models["m"].unbounded.startswith("a stated price")
    shown = command(database_url, "doctor", "--no-settings").out
    assert "m: 0.04 -> 0.05 USD per image at most" in shown
    assert "m: 0.05 -> no upper bound" in shown


@pytest.mark.parametrize("answer", [(503, {}), (404, {}), b"<html>", {"data": []}, (401, {})])
def test_a_list_that_cannot_be_read_leaves_what_is_known_and_pauses_nothing(
    database_url: str, endpoints: Endpoints, engine: Engine, stub: Stub, answer: Any
) -> None:
    with unpriced(database_url, endpoints, stub.url, getimg={"base_url": stub.url}) as (client, runtime):
        registered(client, runtime)
        read_offers(runtime, "getimg")
        stub.routes["GET /v2/models"] = answer
        read_offers(runtime, "getimg")
        with transaction(engine) as connection:
            assert set(offers.load(connection)["getimg"].models) == {"m"}
        (reading,) = client.offer_readings()
        assert reading["note"]
        assert not any(account["paused_at"] for account in client.accounts())
        due = "SELECT due_at < now() + interval '6 minutes' AS soon FROM offer_reading"
        assert rows.rows(engine, due)[0].soon


def test_a_model_that_is_offered_no_more_is_forgotten_only_by_a_whole_list(
    database_url: str, endpoints: Endpoints, engine: Engine, stub: Stub
) -> None:
    with unpriced(database_url, endpoints, stub.url, getimg={"base_url": stub.url}) as (client, runtime):
        registered(client, runtime)
        for listed, known in ((models("0.04"), {"m"}), ([*models("1", name="n"), 7], {"m", "n"}), (models("1"), {"m"})):
            stub.routes["GET /v2/models"] = listed
            read_offers(runtime, "getimg")
            with transaction(engine) as connection:
                assert set(offers.load(connection)["getimg"].models) == known
