"""One worker process: its runtime, its loop in a thread of its own, and its dispatcher."""

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal

from shared.broker import Stage
from shared.db import claims, workers
from shared.db.engine import DatabaseUnavailableError, transaction
from shared.db.transitions import Claim, release
from worker.dispatch import CLAIMED, Dispatcher, Parcel, Publish
from worker.inline import recover_leftovers
from worker.poll import poll
from worker.probe import probe
from worker.reconcile import reconcile
from worker.runtime import Runtime
from worker.submit import submit
from worker.survey import survey
from worker.sweep import sweep
from worker.transfer import transfer

_log = structlog.get_logger(__name__)
_CLOSE_SECONDS: Final = 30.0
_FRAMES: Final = 4
_ALONE_SECONDS: Final = 1.0

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
        self._idle: asyncio.Event | None = None
        self._running = 0
        self._suspect: Claim | None = None
        self._dispatcher = Dispatcher(runtime, publish, self._run_later)

    def start(self) -> None:
        """Start the loop and the dispatcher; raises what the runtime raises."""
        self._context = start_blocking_portal("asyncio", name="stages")
        self._portal = self._context.__enter__()
        self._ended, _ = self._portal.start_task(self._live)
        self._dispatcher.start()

    def stop_claiming(self) -> None:
        """Take on nothing new; what is in the air is finished and recorded."""
        self._dispatcher.stop()

    def run(self, parcel: Parcel) -> None:
        """Run one parcel on the loop and wait for its end; a stage's defects are logged, never raised."""
        if self._portal is None:
            raise RuntimeError("the worker process has not been started")
        self._portal.call(self._work, parcel)

    def close(self) -> None:
        """Finish and record what is in the air, then close the connections and end the loop.

        Waits as long as the database is away: what a provider answered is in memory alone until it is committed. Who
        started this process bounds that with SIGKILL.
        """
        if self._portal is None or self._context is None or self._ended is None:
            return
        self._dispatcher.close()
        self._portal.call(self._finish_work)
        with contextlib.suppress(DatabaseUnavailableError), transaction(self.runtime.engine) as connection:
            workers.leave(connection, self.runtime.sender.name)
        self._portal.call(self._end)
        self._ended.result(timeout=_CLOSE_SECONDS)
        self._context.__exit__(None, None, None)
        self._portal = None

    def _run_later(self, parcel: Parcel) -> None:
        if self._portal is not None:
            self._portal.start_task_soon(self._work, parcel)

    async def _work(self, parcel: Parcel) -> None:
        self._running += 1
        try:
            await self._begin(parcel)
        except Exception as error:  # noqa: BLE001 - a task that fails would only be logged, with values that are secret
            _tell(parcel, error)
            await self._give_back(parcel)
        finally:
            self._running -= 1
            if self._running == 0 and self._idle is not None:
                self._idle.set()

    async def _begin(self, parcel: Parcel) -> None:
        """Take the parcel's jobs in hand and run their stage; those over which two workers died run one at a time."""
        states, me = CLAIMED[parcel.stage], self.runtime.sender.name
        taken = await self.runtime.sql(partial(claims.begin, claims=parcel.claims, states=states, worker=me))
        stage = partial(STAGES[parcel.stage], self.runtime, parcel.account)
        if taken.together:
            await stage(taken.together)
        for suspect in taken.suspects:
            if suspect.crashes < claims.IN_COMPANY:
                await stage([suspect.claim])
                continue
            if self._suspect is not None:
                await self.runtime.sql(
                    partial(release, claims=[suspect.claim], states=states, due_seconds=_ALONE_SECONDS)
                )
                continue
            self._suspect = suspect.claim
            try:
                await stage([suspect.claim])
            finally:
                self._suspect = None

    async def _give_back(self, parcel: Parcel) -> None:
        """Make the jobs due again soon: they need not wait for the end of their lease."""
        wait = self.runtime.settings.retry_first_seconds
        states = CLAIMED[parcel.stage]
        try:
            await self.runtime.write(partial(release, claims=parcel.claims, states=states, due_seconds=wait))
        except Exception as error:  # noqa: BLE001 - their lease ends by itself
            _tell(parcel, error)

    async def _finish_work(self) -> None:
        while self._running:
            _log.info("finishing", parcels=self._running)
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def _live(self, *, task_status: Any) -> None:
        self._stop = asyncio.Event()
        async with anyio.create_task_group() as group:
            self.runtime.start(group)
            async with anyio.create_task_group() as looking:
                for look in (recover_leftovers, survey, probe, sweep):
                    looking.start_soon(look, self.runtime)
                task_status.started()
                await self._stop.wait()
                looking.cancel_scope.cancel()
            await self.runtime.close()
            group.cancel_scope.cancel()


def _tell(parcel: Parcel, error: Exception) -> None:
    """Log a stage's end by its error's kind and place: messages and variables may hold prompts, links or keys."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    _log.error(
        "stage_failed",
        stage=parcel.stage.value,
        account=parcel.account,
        jobs=len(parcel.claims),
        error=type(error).__name__,
        where=[f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-_FRAMES:]],
    )
