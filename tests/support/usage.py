"""Readings of what a key has used up, when a test wants them, and a simulator that bills as it is told."""

from typing import Any, Final

import anyio

from ops.simulator import OpenRouterSettings, Simulator, SimulatorConfig
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.balances import ask

QUICK: Final[dict[str, Any]] = {"timeout_seconds": 1.5}
"""Settings of an account whose lost calls are soon quiet."""


def billing(how: Any) -> Simulator:
    """Return a simulator whose OpenRouter charges on delivery, on completion, or as the work begins."""
    return Simulator(SimulatorConfig(time_scale=200, pixels=64, openrouter=OpenRouterSettings(billing=how)))


def survey(runtime: Runtime, name: str) -> None:
    """Ask an account what it has left and has used up, as a worker does now and then."""
    account = runtime.accounts[name]

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            assert await ask(runtime, account)
            await account.get.close()
            life.cancel_scope.cancel()

    event_loop.run(work)
