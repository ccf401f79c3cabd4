"""A worker without Celery: dispatches what is due and runs it in this process until nothing more is due soon."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from pydantic import SecretStr

from shared.settings import Settings, load
from worker import event_loop
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.process import STAGES
from worker.runtime import Runtime, open_runtime

BRAND = "11111111-1111-4111-8111-111111111111"
HASTE: dict[str, Any] = {
    "tick_seconds": 0.05,
    "poll_first_seconds": 0.05,
    "poll_max_seconds": 0.2,
    "retry_first_seconds": 0.05,
    "retry_max_seconds": 0.3,
    "fetch_timeout_seconds": 5.0,
    "fetch_connect_seconds": 2.0,
    "fetch_tries": 3,
    "fetch_page_tries": 3,
    "believe_seconds": 0.5,
    "doubts_before_pause": 1000,
    "failures_before_pause": 1000,
    "send_within_seconds": 5.0,
    "lease_slack_seconds": 2.0,
    "s3_timeout_seconds": 5.0,
    "store_wait_seconds": 5.0,
}
_BETWEEN_TICKS = 0.02
_AT_REST_SECONDS = 0.1
_LAST_WORDS_SECONDS = 20.0
_SPOOLS: list[Path] = []


def remove_spools() -> None:
    """Remove the spool directories that `settings_for` made in this process, once nothing uses them any more."""
    while _SPOOLS:
        shutil.rmtree(_SPOOLS.pop(), ignore_errors=True)


def settings_for(
    database_url: str, endpoints: Any, simulator_url: str, *, getimg: dict[str, Any] | None = None, **changes: Any
) -> Settings:
    """Return settings of a worker whose two accounts speak to the simulator; `accounts` replaces both."""
    accounts = {
        "bloom": {
            "provider": "bloom",
            "api_key": "sim-test",
            "base_url": f"{simulator_url}/bloom/api/v1",
            "brand_session_id": BRAND,
            "limits": "100000/minute",
            "timeout_seconds": 5,
            "quiet_seconds": 0.2,
        },
        "getimg": {
            "provider": "getimg",
            "api_key": "sim-test",
            "base_url": f"{simulator_url}/getimg",
            "timeout_seconds": 5,
            "prices": {"seedream-5-lite": "0.035"},
            **(getimg or {}),
        },
    }
    given: dict[str, Any] = {
        "database_url": database_url,
        "s3_endpoint_url": endpoints.s3_endpoint_url,
        "s3_bucket": endpoints.s3_bucket,
        "allow_private_urls": "127.0.0.1",
        "accounts": accounts,
        **HASTE,
        **changes,
    }
    if not given.keys() & {"spool_dir", "home"}:
        given["spool_dir"] = Path(tempfile.mkdtemp(prefix="genqueue-spool-"))
        _SPOOLS.append(given["spool_dir"])
    return load(**given)


@contextmanager
def runtime_for(settings: Settings, endpoints: Any) -> Iterator[Runtime]:
    """Yield a runtime with the bucket's credentials; its loop is started by `drain`."""
    runtime = open_runtime(
        settings,
        access_key=SecretStr(endpoints.s3_access_key),
        secret_key=SecretStr(endpoints.s3_secret_key),
    )
    try:
        yield runtime
    finally:
        runtime.engine.dispose()


def drain(
    runtime: Runtime,
    until: Callable[[], bool],
    *,
    seconds: float = 30,
    seen: Callable[[Parcel], None] = lambda _parcel: None,
) -> None:
    """Dispatch and run until `until()`; raises AssertionError after `seconds`.

    `seen` is told of each parcel before it runs: a place to look, to fault, or to lose a message (by raising
    `LookupError`). Parcels run beside each other and beside the dispatcher, as in a real worker; those begun are
    finished before this returns.
    """
    event_loop.run(_drain, runtime, until, seconds, seen)


def run_stage(runtime: Runtime, *parcels: Parcel) -> None:
    """Run `parcels` beside each other and nothing else: no dispatcher looks."""

    async def work() -> None:
        async with _living(runtime), anyio.create_task_group() as group:
            for parcel in parcels:
                group.start_soon(cast("Any", STAGES[parcel.stage]), runtime, parcel.account, parcel.claims)

    event_loop.run(work)


def on_loop(runtime: Runtime, work: Callable[[], Awaitable[None]]) -> None:
    """Run one thing that a worker does beside its stages, on a loop of its own."""

    async def run() -> None:
        async with _living(runtime):
            await work()

    event_loop.run(run)


@asynccontextmanager
async def _living(runtime: Runtime) -> AsyncIterator[None]:
    """Hold what a worker process has for its whole life: the committer's task group, and connections to close."""
    async with anyio.create_task_group() as group:
        runtime.start(group)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await runtime.fetcher.close()
                await runtime.quick_put.close()
                for account in runtime.accounts.values():
                    await account.get.close()
        group.cancel_scope.cancel()


async def _drain(runtime: Runtime, until: Callable[[], bool], seconds: float, seen: Callable[[Parcel], None]) -> None:
    parcels: list[Parcel] = []
    dispatcher = Dispatcher(runtime, parcels.append, parcels.append)
    await anyio.to_thread.run_sync(dispatcher._register)
    end = time.monotonic() + seconds
    pace = _Pace()
    async with _living(runtime), anyio.create_task_group() as group:
        while not await anyio.to_thread.run_sync(until):
            assert time.monotonic() < end, f"not reached within {seconds} s"
            await anyio.to_thread.run_sync(dispatcher.tick)
            taken, parcels[:] = list(parcels), []
            for parcel in taken:
                _begin(group, runtime, parcel, seen, pace)
            await pace.rest(busy=bool(taken))
        group.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS_SECONDS


class _Pace:
    """How long to rest between two ticks: longer each time that nothing was due, and never beyond a stage's end."""

    def __init__(self) -> None:
        self._seconds = _BETWEEN_TICKS
        self._ended = anyio.Event()

    def stage_ended(self) -> None:
        self._ended.set()

    async def rest(self, *, busy: bool) -> None:
        self._seconds = _BETWEEN_TICKS if busy else min(self._seconds * 1.5, _AT_REST_SECONDS)
        with anyio.move_on_after(self._seconds):
            await self._ended.wait()
            self._seconds = _BETWEEN_TICKS
        self._ended = anyio.Event()


def _begin(group: Any, runtime: Runtime, parcel: Parcel, seen: Callable[[Parcel], None], pace: _Pace) -> None:
    try:
        seen(parcel)
    except LookupError:
        return

    async def run() -> None:
        try:
            await cast("Any", STAGES[parcel.stage])(runtime, parcel.account, parcel.claims)
        finally:
            pace.stage_ended()

    group.start_soon(run)
