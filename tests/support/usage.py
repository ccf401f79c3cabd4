"""Readings of what a key has used up, when a test wants them."""

import anyio

from worker.runtime import Runtime
from worker.survey import ask


def survey(runtime: Runtime, name: str) -> None:
    """Ask an account what it has left and has used up, as a worker does now and then."""
    account = runtime.accounts[name]

    async def work() -> None:
        async with anyio.create_task_group() as life:
            runtime.start(life)
            assert await ask(runtime, account)
            await account.get.close()
            life.cancel_scope.cancel()

    anyio.run(work)
