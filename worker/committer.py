"""Commits what paid calls and transfers learned: without a timer, in groups, and again until it is done.

Whatever arrives while one commit runs goes into the next. Each write stands in a savepoint of its own, so that a
conflict sets that one aside and never fails the group. What could not be committed moves to a second lane, where each
write has a transaction of its own: a row that stays locked, or a write that kills its connection, holds up nobody else.
While the database is away, everything stays in memory.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from shared.backoff import delay
from shared.db.engine import TryAgainError

_log = structlog.get_logger(__name__)
_GROUP: Final = 200
_THREADS: Final = 2  # one a lane: other work in threads must not keep evidence waiting


class NotCommittedError(Exception):
    """The committer ended before the database took this write; the job's lease brings it up again."""


@dataclass(slots=True)
class _Write:
    work: Callable[[Any], Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: Exception | None = None


class Committer:
    """Runs writes on the event loop's behalf. `commit(works)` runs all of them in one transaction, in a thread.

    It returns for each work its result or the exception that set it aside, and raises where nothing was committed.
    When its task group is cancelled it takes nothing new, and for `grace_seconds` commits what it still holds.
    """

    def __init__(
        self, commit: Callable[[list[Callable[[Any], Any]]], list[Any]], *, random: Random, grace_seconds: float = 10.0
    ) -> None:
        self._commit = commit
        self._random = random
        self._grace_seconds = grace_seconds
        self._fresh: deque[_Write] = deque()
        self._troubled: deque[_Write] = deque()
        self._arrived = anyio.Event()
        self._trouble = anyio.Event()
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._ended = False

    def start(self, group: TaskGroup) -> None:
        """Begin committing; runs until the task group is cancelled."""
        group.start_soon(self._run)

    async def write(self, work: Callable[[Any], Any]) -> Any:
        """Commit `work(connection)` and return its result; raises what it raised, once others are committed.

        Waiting is shielded: a caller that is cancelled must not lose what was paid for. Raises `NotCommittedError`
        where the committer ended first.
        """
        if self._ended:
            raise NotCommittedError("the committer has ended")
        write = _Write(work)
        self._fresh.append(write)
        self._arrived.set()
        with anyio.CancelScope(shield=True):
            await write.done.wait()
        if write.error is not None:
            raise write.error
        return write.result

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as lanes:
                lanes.start_soon(self._run_fresh)
                lanes.start_soon(self._run_troubled)
        finally:
            self._ended = True
            with anyio.move_on_after(self._grace_seconds, shield=True):
                await self._finish()
            self._give_up()

    async def _run_fresh(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            while self._fresh:
                group = [self._fresh.popleft() for _ in range(min(len(self._fresh), _GROUP))]
                await self._attempt(group)

    async def _run_troubled(self) -> None:
        tries = 0
        while True:
            await self._trouble.wait()
            self._trouble = anyio.Event()
            while self._troubled:
                if await self._attempt([self._troubled.popleft()]):
                    tries = 0
                    continue
                tries += 1
                await anyio.sleep(self._wait(tries))

    async def _finish(self) -> None:
        tries = 0
        while self._fresh or self._troubled:
            if not await self._attempt([(self._fresh or self._troubled).popleft()]):
                tries += 1
                await anyio.sleep(self._wait(tries))

    def _give_up(self) -> None:
        for write in (*self._fresh, *self._troubled):
            write.error = NotCommittedError("the database could not be reached until the end")
            write.done.set()
        if lost := len(self._fresh) + len(self._troubled):
            _log.error("writes_lost", writes=lost)

    async def _attempt(self, group: list[_Write]) -> bool:
        """Commit `group` once; what was not committed goes to the second lane. True if all of it was."""
        results: list[Any]
        # Shielded to the end: the results of a commit that happened must reach those who wait for them.
        with anyio.CancelScope(shield=True):
            try:
                works = [write.work for write in group]
                results = await anyio.to_thread.run_sync(self._commit, works, limiter=self._threads)
            except Exception as error:  # noqa: BLE001 - whatever keeps the database away, evidence waits for it
                _log.warning("commit_waits", writes=len(group), error=type(error).__name__)
                results = [TryAgainError(type(error).__name__)] * len(group)
        waiting = len(self._troubled)
        for write, result in zip(group, results, strict=True):
            if isinstance(result, TryAgainError):
                self._troubled.append(write)
                self._trouble.set()
                continue
            if isinstance(result, Exception):
                write.error = result
            else:
                write.result = result
            write.done.set()
        return len(self._troubled) == waiting

    def _wait(self, tries: int) -> float:
        return delay(tries, first_seconds=0.1, max_seconds=5.0, random=self._random)
