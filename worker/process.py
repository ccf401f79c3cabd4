"""One worker process: its runtime, its loop in a thread of its own, and its dispatcher."""

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.from_thread import BlockingPortal

from shared.db import workers
from shared.db.engine import DatabaseUnavailableError, transaction
from shared.db.jobs import claims
from shared.db.jobs.transitions import Claim, give_back
from shared.lifecycle import Stage
from worker import event_loop
from worker.claiming import RELEASABLE, Parcel
from worker.dispatch import Dispatcher, Publish
from worker.evidence.inline_answers import recover_leftovers
from worker.evidence.recommit import recommit_leftovers
from worker.runtime import Runtime
from worker.stages.poll import poll
from worker.stages.reconcile import reconcile
from worker.stages.submit import submit
from worker.stages.transfer import transfer
from worker.upkeep.balances import survey
from worker.upkeep.broker_back import await_broker
from worker.upkeep.high_water import keep_marks
from worker.upkeep.kept_answers import read_kept
from worker.upkeep.leaving import leave
from worker.upkeep.memory_back import return_memory
from worker.upkeep.offers import read_offers
from worker.upkeep.previews import show_candidates
from worker.upkeep.probe import probe
from worker.upkeep.search_lists import search_lists
from worker.upkeep.watching import watch
from worker.upkeep.webhooks import tell as tell_endpoints

_log = structlog.get_logger(__name__)
_BACKGROUND_TASKS: Final = (
    *(recommit_leftovers, recover_leftovers, read_kept, survey, probe, search_lists, read_offers),
    *(leave, watch, tell_endpoints, keep_marks, show_candidates, await_broker, return_memory),
)
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


class WorkerProcess:
    """Starts and stops the parts of one worker process. A Celery task calls `run`, from any thread."""

    def __init__(self, runtime: Runtime, publish: Publish) -> None:
        self.runtime = runtime
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._ended: Future[None] | None = None
        self._stop: asyncio.Event | None = None
        self._idle: asyncio.Event | None = None
        self._running = 0
        self._suspect: Claim | None = None
        self._rejected = 0
        self._counting = threading.Lock()
        self._dispatcher = Dispatcher(runtime, publish, self._run_later)

    def start(self) -> None:
        """Start the loop and the dispatcher; raises what the runtime raises."""
        self._context = event_loop.portal("stages")
        self._portal = self._context.__enter__()
        self._ended, _ = self._portal.start_task(self._live)
        self._dispatcher.start()
        self.runtime.metrics.watch_spool(self.runtime.spool_dir)
        self.runtime.metrics.serve(self.runtime.settings.metrics_address)

    def stop_claiming(self) -> None:
        """Dispatch nothing new, and give waiting writes `STOP_GRACE_SECONDS`.

        Evidence that the database does not accept by then goes to the disk; the next start records it.
        """
        self._dispatcher.stop()
        if self._portal is not None:
            self._portal.start_task_soon(self._hurry)

    def run(self, parcel: Parcel) -> None:
        """Run one parcel on the loop and wait for its end. A stage's defects are logged, never raised."""
        if self._portal is None:
            raise RuntimeError("the worker process has not been started")
        self._portal.call(self._work, parcel)

    def keep_evidence(self) -> None:
        """Write all evidence that the database has not accepted to the disk now: this process is about to end."""
        self.runtime.committer.keep_all()

    def close(self) -> None:
        """Finish and record the work in the air, then close the connections and end the loop.

        When this returns, evidence that the database has not accepted lies on the disk.
        """
        if self._portal is None or self._context is None or self._ended is None:
            return
        self._dispatcher.close()
        self._portal.call(self._hurry)
        self._portal.call(self._finish_work)
        with contextlib.suppress(DatabaseUnavailableError), transaction(self.runtime.engine) as connection:
            workers.sign_off(connection, self.runtime.sender.name)
        self._portal.call(self._end)
        self._ended.result(timeout=_CLOSE_SECONDS)
        self._context.__exit__(None, None, None)
        self._portal = None

    def _run_later(self, parcel: Parcel) -> None:
        if self._portal is not None:
            self._portal.start_task_soon(self._work, parcel)

    def reject(self, stage: Stage, reason: str, *, jobs: int = 1) -> None:
        """Count and log a message that no dispatcher sends; its values are never logged."""
        with self._counting:
            self._rejected += jobs
            total = self._rejected
        self.runtime.metrics.messages_rejected.labels(stage.value).inc(jobs)
        _log.warning("message_rejected", stage=stage.value, reason=reason, jobs=jobs, rejected=total)

    async def _work(self, parcel: Parcel) -> None:
        self._running += 1
        self.runtime.parcels += 1
        try:
            with self.runtime.metrics.stage_seconds.labels(parcel.stage.value, parcel.account).time():
                await self._begin(parcel)
        except Exception as error:  # noqa: BLE001 - a task that fails would only be logged, with values that are secret
            _tell(parcel, error)
            await self._give_back(parcel)
        finally:
            self._running -= 1
            if self._running == 0 and self._idle is not None:
                self._idle.set()

    async def _begin(self, parcel: Parcel) -> None:
        """Begin the parcel's jobs and run their stage. Jobs over which two workers died run one at a time."""
        states, me = RELEASABLE[parcel.stage], self.runtime.sender.name
        lease = self.runtime.leases[parcel.stage]
        taken = await self.runtime.one_statement(
            claims.begin, parcel.account, parcel.claims, states=states, worker=me, lease_seconds=lease
        )
        await self._tell_foreign(parcel, taken)
        if taken.together:
            await STAGES[parcel.stage](self.runtime, parcel.account, taken.together)
        for suspect in taken.suspects:
            await self._run_suspect(parcel, suspect)

    async def _run_suspect(self, parcel: Parcel, suspect: claims.Suspect) -> None:
        """Run one job over which workers died. After the second death it runs beside no other such job."""
        stage, account = STAGES[parcel.stage], parcel.account
        if suspect.crashes < claims.NOT_YET_ITS_OWN:
            await stage(self.runtime, account, [suspect.claim])
        elif self._suspect is not None:
            # Another such job runs here now: this one is given back, so that any worker claims it again in a second.
            states, wait = RELEASABLE[parcel.stage], _ALONE_SECONDS
            await self.runtime.one_statement(
                give_back, [suspect.claim], states=states, account=account, due_seconds=wait
            )
        else:
            self._suspect = suspect.claim
            try:
                await stage(self.runtime, account, [suspect.claim])
            finally:
                self._suspect = None

    async def _tell_foreign(self, parcel: Parcel, taken: claims.Claimed) -> None:
        """Log jobs whose account is not the one that their message named; the other messages only came too late."""
        if len(taken.together) + len(taken.suspects) == len(parcel.claims):
            return
        if count := await self.runtime.one_statement(claims.foreign, parcel.account, parcel.claims):
            self.reject(parcel.stage, "another account's jobs", jobs=count)

    async def _give_back(self, parcel: Parcel) -> None:
        """Make the jobs due again soon, before the end of their lease."""
        wait = self.runtime.settings.retry_first_seconds
        states = RELEASABLE[parcel.stage]
        try:
            await self.runtime.write(give_back, parcel.claims, states=states, account=parcel.account, due_seconds=wait)
        except Exception as error:  # noqa: BLE001 - their lease ends by itself
            _tell(parcel, error)

    async def _hurry(self) -> None:
        self.runtime.committer.hurry()

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
                for task in _BACKGROUND_TASKS:
                    looking.start_soon(task, self.runtime)
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
