"""The survey: each account is asked when its own time has come; one whose windows are full keeps no other from it."""

import anyio
import anyio.to_thread

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import drain
from tests.support.waiting import until
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.balances import survey


def asked(simulated: Simulator, path: str) -> int:
    return sum(1 for entry in simulated.requests(method="GET", limit=1000) if entry["path"].endswith(path))


def test_an_account_without_room_is_asked_soon_and_the_others_no_more_often_for_it(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    drain(runtime, lambda: len(client.accounts()) == 2)
    full = '[{"requests": 1, "seconds": 3600, "scope": "all"}]'
    rows.rows(engine, "UPDATE account SET windows = CAST(:full AS jsonb) WHERE name = 'bloom'", full=full)
    rows.rows(engine, "INSERT INTO request_slot (account, kind) VALUES ('bloom', 'poll')")

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            life.start_soon(survey, runtime)
            await anyio.to_thread.run_sync(until, lambda: asked(simulated, "/billing/balance"))
            assert asked(simulated, "/credits") == 0
            rows.rows(engine, "DELETE FROM request_slot")
            await anyio.to_thread.run_sync(until, lambda: asked(simulated, "/credits"))
            for account in runtime.accounts.values():
                await account.get.close()
            life.cancel_scope.cancel()

    event_loop.run(work)
    assert (asked(simulated, "/billing/balance"), asked(simulated, "/credits")) == (1, 1)
