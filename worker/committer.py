"""Commits what paid calls and transfers learned: without a timer, in groups, and again until it is done.

Whatever arrives while one commit runs goes into the next. Each write stands in a savepoint of its own, so that a
conflict sets that one aside and never fails the group. While the database is away, everything stays in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from shared.backoff import delay
from shared.db.engine import TryAgainError

_log = structlog.get_logger(__name__)
_GROUP: Final = 200


@dataclass(slots=True)
class _Write:
    work: Callable[[Any], Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: Exception | None = None


class Committer:
    """Runs writes on the event loop's behalf. `commit(works)` runs all of them in one transaction, in a thread.

    It returns for each work its result or the exception that set it aside, and raises where nothing was committed.
    """

    def __init__(self, commit: Callable[[list[Callable[[Any], Any]]], list[Any]], *, random: Random) -> None:
        self._commit = commit
        self._random = random
        self._waiting: list[_Write] = []
        self._arrived = anyio.Event()

    def start(self, group: TaskGroup) -> None:
        """Begin committing; runs until the task group is cancelled."""
        group.start_soon(self._run)

    async def write(self, work: Callable[[Any], Any]) -> Any:
        """Commit `work(connection)` and return its result; raises what it raised, once others are committed.

        Waiting is shielded: a caller that is cancelled must not lose what was paid for.
        """
        write = _Write(work)
        self._waiting.append(write)
        self._arrived.set()
        with anyio.CancelScope(shield=True):
            await write.done.wait()
        if write.error is not None:
            raise write.error
        return write.result

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            while self._waiting:
                group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
                await self._commit_until_done(group)

    async def _commit_until_done(self, group: list[_Write]) -> None:
        tries = 0
        while True:
            try:
                results = await anyio.to_thread.run_sync(self._commit, [write.work for write in group])
            except Exception as error:  # noqa: BLE001 - whatever keeps the database away, evidence waits for it
                tries += 1
                wait = delay(tries, first_seconds=0.2, max_seconds=5.0, random=self._random)
                _log.warning("commit_waits", writes=len(group), error=type(error).__name__, seconds=round(wait, 2))
                await anyio.sleep(wait)
                continue
            break
        for write, result in zip(group, results, strict=True):
            if isinstance(result, TryAgainError):
                self._waiting.append(write)
                await anyio.sleep(0.05)
                continue
            if isinstance(result, Exception):
                write.error = result
            else:
                write.result = result
            write.done.set()
