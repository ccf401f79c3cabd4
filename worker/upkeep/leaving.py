"""Leaving: deletes rows whose retention is over, and objects that a person erased."""

from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import structlog

from shared.db.engine import Connection
from shared.db.leaving import doomed
from shared.db.leaving import prune as pruning
from shared.db.leaving.prune import PruneCursor
from shared.retention import Retention, parse_retention
from worker.runtime import Runtime
from worker.transport.storage_errors import ObjectMissing, StorageError

_log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 30.0
_PRUNE_SECONDS: Final = 3600.0
_BREATH_SECONDS: Final = 0.5
"""The pause between two transactions of a pruning, because paid work has priority."""
_OBJECTS: Final = 50


async def leave(runtime: Runtime) -> None:
    """Prune every hour, and delete doomed objects within half a minute, until cancelled."""
    retention = parse_retention(runtime.settings.retention)
    due = anyio.current_time()
    while True:
        try:
            await delete_doomed(runtime)
            if retention and anyio.current_time() >= due:
                await prune(runtime, retention)
                due = anyio.current_time() + _PRUNE_SECONDS
        except Exception as error:  # noqa: BLE001 - the next round goes on; the work must too
            _log.warning("leaving_failed", error=type(error).__name__)
        await anyio.sleep(_LOOK_SECONDS)


async def prune(runtime: Runtime, retention: Retention, *, breath_seconds: float = _BREATH_SECONDS) -> None:
    """Delete every job that may leave, unless another process does so now."""
    for state in retention:
        cursor, left = PruneCursor(state), 0
        while not cursor.done:
            count = await runtime.in_transaction(partial(_prune_some, cursor, retention))
            if count is None:
                return
            left += count
            await anyio.sleep(breath_seconds)
        if left:
            _log.info("pruned", state=state, jobs=left)
    batches = await runtime.in_transaction(partial(_prune_batches, retention))
    if batches:
        _log.info("pruned", batches=batches)


async def delete_doomed(runtime: Runtime) -> None:
    """Delete the objects that are due. A failed deletion is retried with growing waits."""
    while keys := await runtime.in_transaction(partial(doomed.take, limit=_OBJECTS)):
        gone = [key for key in keys if await _deleted(runtime, key)]
        await runtime.in_transaction(partial(doomed.gone, keys=gone))


async def _deleted(runtime: Runtime, key: str) -> bool:
    try:
        await anyio.to_thread.run_sync(runtime.storage.delete, key, limiter=runtime.transfers_threads)
    except ObjectMissing:
        return True
    except StorageError as error:
        await runtime.in_transaction(partial(doomed.failed, key=key, code=error.code))
        _log.warning("not_erased", error=error.code)
        return False
    return True


def _prune_some(cursor: PruneCursor, retention: Retention, connection: Connection) -> int | None:
    """Prune the next jobs; None if another process prunes."""
    if not pruning.take_turn(connection):
        return None
    return pruning.prune_jobs(connection, cursor, retention)


def _prune_batches(retention: Retention, connection: Connection) -> int:
    return pruning.prune_batches(connection, retention) if pruning.take_turn(connection) else 0
