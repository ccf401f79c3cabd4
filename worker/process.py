"""One worker process: its runtime, its loop in a thread of its own, and its dispatcher."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import anyio
import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal

from shared.broker import Stage
from shared.db import workers
from shared.db.engine import transaction
from shared.db.transitions import Claim
from worker.dispatch import Dispatcher, Parcel, Publish
from worker.poll import poll
from worker.reconcile import reconcile
from worker.runtime import Runtime
from worker.submit import submit
from worker.transfer import transfer

_log = structlog.get_logger(__name__)

StageFunction = Callable[[Runtime, str, Sequence[Claim]], Awaitable[None]]
STAGES: dict[Stage, StageFunction] = {
    Stage.SUBMIT: submit,
    Stage.POLL: poll,
    Stage.TRANSFER: transfer,
    Stage.RECONCILE: reconcile,
}


class Process:
    """Starts and stops what one worker process needs; `run` is what a task calls, from any thread."""

    def __init__(self, runtime: Runtime, publish: Publish) -> None:
        self.runtime = runtime
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._ended: Future[None] | None = None
        self._stop: asyncio.Event | None = None
        self._dispatcher = Dispatcher(runtime, publish, self._run_later)

    def start(self) -> None:
        """Start the loop and the dispatcher; raises what the runtime raises."""
        self._context = start_blocking_portal("asyncio")
        self._portal = self._context.__enter__()
        self._ended, _ = self._portal.start_task(self._live)
        self._dispatcher.start()

    def stop_claiming(self) -> None:
        """Take on nothing new; what is in the air is finished and recorded."""
        self._dispatcher.stop()

    def run(self, parcel: Parcel) -> None:
        """Run one parcel on the loop and wait for its end."""
        if self._portal is None:
            raise RuntimeError("the worker process has not been started")
        self._portal.call(STAGES[parcel.stage], self.runtime, parcel.account, parcel.claims)

    def close(self) -> None:
        """Stop the dispatcher, finish the writes, close the connections and end the loop."""
        self._dispatcher.close()
        if self._portal is None or self._context is None or self._ended is None:
            return
        with transaction(self.runtime.engine) as connection:
            workers.leave(connection, self.runtime.sender.name)
        if self._stop is not None:
            self._portal.call(self._stop.set)
        self._ended.result(timeout=30)
        self._context.__exit__(None, None, None)
        self._portal = None

    def _run_later(self, parcel: Parcel) -> None:
        if self._portal is not None:
            self._portal.start_task_soon(STAGES[parcel.stage], self.runtime, parcel.account, parcel.claims)

    async def _live(self, *, task_status: Any) -> None:
        self._stop = asyncio.Event()
        async with anyio.create_task_group() as group:
            self.runtime.start(group)
            task_status.started()
            await self._stop.wait()
            await self.runtime.close()
            group.cancel_scope.cancel()
