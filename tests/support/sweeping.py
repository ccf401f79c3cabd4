"""Searches of a provider's own list for pictures that nobody owns, when a test wants them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.lost import FINDABLE
from tests.support.waiting import until
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.search_lists import search


@contextmanager
def hasty_runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    """Yield a runtime whose calls are over, and quiet, a good second after they were sent."""
    found = five_accounts(simulated.url)
    accounts = {name: {**found[name], "timeout_seconds": 0.8, "quiet_seconds": 0.1} for name in FINDABLE}
    settings = settings_for(database_url, endpoints, simulated.url, accounts=accounts, send_within_seconds=0.5)
    with runtime_for(settings, endpoints) as made:
        yield made


def search_once(runtime: Runtime, *providers: str) -> None:
    """Search those accounts beside each other, each when it is due."""

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            async with anyio.create_task_group() as group:
                for provider in providers:
                    group.start_soon(search, runtime, runtime.accounts[provider])
            for account in runtime.accounts.values():
                await account.get.close()
            life.cancel_scope.cancel()

    event_loop.run(work)


def search_now(runtime: Runtime, engine: Engine, provider: str) -> None:
    rows.rows(engine, "UPDATE account SET sweep_at = NULL")
    search_once(runtime, provider)


def until_found(runtime: Runtime, engine: Engine, client: Client, provider: str) -> list[Any]:
    def look() -> list[Any]:
        search_now(runtime, engine, provider)
        return unowned(client)

    return list(until(look))


def unowned(client: Client) -> list[Any]:
    return [stray["upstream_id"] for stray in client.unowned()]
