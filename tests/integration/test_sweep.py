"""The sweep: a purchase that nobody owns is reported once it can belong to no call in the air; an owned one never."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client import is_settled
from shared.db.engine import Engine
from shared.lifecycle import Stage
from tests.support import rows
from tests.support.drain import drain
from tests.support.lost import FINDABLE, fast_simulator, make_by_hand, row
from tests.support.sweeping import hasty_runtime, search_now, search_once, unowned, until_found
from tests.support.waiting import until
from worker import event_loop
from worker.claiming import Parcel
from worker.providers import WireSettings
from worker.runtime import Runtime
from worker.upkeep.search_lists import search_lists


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with hasty_runtime(database_url, endpoints, simulated) as made:
        yield made


def buy(client: Client, runtime: Runtime, provider: str) -> None:
    """Own one picture of the account: its first call is where the search begins."""
    client.enqueue([row(provider)], batch="b")
    drain(runtime, lambda: is_settled(client.totals("b")))
    assert client.totals("b") == {"succeeded": 1}


def lists(simulated: Simulator) -> int:
    return len([request for request in simulated.requests(limit=10_000) if request["route"] == "list"])


def swept_until(engine: Engine, provider: str) -> Any:
    return rows.rows(engine, "SELECT swept_until FROM account WHERE name = :name", name=provider)[0].swept_until


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_purchase_that_nobody_owns_is_reported_once_it_can_belong_to_no_call_and_owned_ones_never(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, provider)
    foreign = make_by_hand(simulated, provider)
    search_now(runtime, engine, provider)
    assert unowned(client) == []
    assert until_found(runtime, engine, client, provider) == [foreign]
    (stray,) = client.unowned()
    assert (stray["account"], stray["note"]) == (provider, "no submission owns it")
    assert str(stray["found_at"]) > str(stray["made_at"])
    search_now(runtime, engine, provider)
    assert unowned(client) == [foreign]


def test_each_search_begins_where_the_last_one_ended(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, "bloom")
    first = make_by_hand(simulated, "bloom")
    assert until_found(runtime, engine, client, "bloom") == [first]
    then = swept_until(engine, "bloom")
    second = make_by_hand(simulated, "bloom")
    until(lambda: len(until_found(runtime, engine, client, "bloom")) == 2)
    assert unowned(client) == [first, second]
    assert swept_until(engine, "bloom") > then


def test_an_account_that_never_sent_anything_is_not_searched(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    drain(runtime, lambda: bool(client.accounts()))
    make_by_hand(simulated, "bloom")
    search_now(runtime, engine, "bloom")
    assert lists(simulated) == 0
    assert unowned(client) == []


def test_of_many_workers_one_searches_and_only_when_it_is_due(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, "bloom")
    until(lambda: rows.rows(engine, "SELECT 1 FROM submission WHERE opened_at < now() - interval '2 seconds'"))
    before = lists(simulated)
    search_once(runtime, *["bloom"] * 4)
    assert lists(simulated) == before + 1
    search_once(runtime, "bloom")
    assert lists(simulated) == before + 1


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_list_that_is_refused_is_searched_again_from_where_it_stood(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, provider)
    foreign = make_by_hand(simulated, provider)
    until(lambda: rows.rows(engine, "SELECT 1 FROM submission WHERE opened_at < now() - interval '3 seconds'"))
    simulated.put_faults([{"match": {"route": "list"}, "fault": {"kind": "error_5xx", "status": 503}}])
    search_now(runtime, engine, provider)
    assert swept_until(engine, provider) is None
    assert until_found(runtime, engine, client, provider) == [foreign]


def test_a_search_takes_slots_of_the_rate_windows(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, "bloom")
    make_by_hand(simulated, "bloom")
    rows.rows(engine, "DELETE FROM request_slot")
    before = lists(simulated)
    assert until_found(runtime, engine, client, "bloom")
    taken = rows.rows(engine, "SELECT count(*) AS slots FROM request_slot WHERE kind = 'poll'")[0].slots
    assert taken == lists(simulated) - before > 0


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere"])
def test_what_a_lost_call_bought_is_a_stray_until_it_is_adopted(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    def no_look_up(parcel: Parcel) -> None:
        if parcel.stage is Stage.RECONCILE:
            raise LookupError

    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([row(provider)], batch="b")
    drain(runtime, lambda: client.totals("b") == {"checking": 1}, seen=no_look_up)
    (found,) = until_found(runtime, engine, client, provider)
    assert client.unowned()[0]["note"] == "no submission owns it"
    rows.rows(engine, "UPDATE job SET due_at = now()")
    drain(runtime, lambda: is_settled(client.totals("b")))
    assert client.totals("b") == {"succeeded": 1}
    assert [image.upstream_id for image in rows.rows(engine, "SELECT upstream_id FROM image")] == [found]
    assert unowned(client) == []


def test_one_account_whose_search_fails_keeps_no_other_from_it(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([row("banatie"), row("posteverywhere")], batch="b")
    drain(runtime, lambda: is_settled(client.totals("b")))
    foreign = make_by_hand(simulated, "posteverywhere")
    runtime.settings = runtime.settings.model_copy(update={"sweep_seconds": 0.2})
    runtime.accounts["banatie"] = replace(runtime.accounts["banatie"], wire_settings=cast("WireSettings", None))

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            life.start_soon(search_lists, runtime)
            await anyio.to_thread.run_sync(until, lambda: unowned(client))
            for account in runtime.accounts.values():
                await account.get.close()
            life.cancel_scope.cancel()

    event_loop.run(work)
    assert unowned(client) == [foreign]
    assert swept_until(engine, "banatie") is None
