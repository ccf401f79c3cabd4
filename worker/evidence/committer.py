"""Commits the results of paid calls and transfers: in groups, and with retries until it succeeds.

A write with a keepsake is evidence of a payment, and is committed at once. Other writes wait for company for a few
hundredths of a second. Whatever arrives while one commit runs goes into the next. A group is one transaction. Where a
write of it fails, the group is done again with a savepoint for each: that write is set aside, and the others are
committed. What could not be committed moves to a second lane, where each write has a transaction and a next try of its
own: one that PostgreSQL does not take holds up nobody else.

PostgreSQL refuses a write permanently only by an SQLSTATE of class 22, 23 or 54, and only after two tries alone.
Everything else is retried, with a warning from the third time on. A write's keepsake is on the disk as soon as the
write has failed once, alone or in a group: a process that dies then loses nothing.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from shared.backoff import delay
from shared.db.group_commit import TryAgainError, WriteRefusedError

_log = structlog.get_logger(__name__)
_MAX_GROUP: Final = 200
_GATHER_SECONDS: Final = 0.03
"""How long a write waits for company. At 25 jobs a second it then shares its transaction with one or two others."""
_GATHER_UNTIL: Final = 16
"""With so many writes, none waits for others: their transaction is cheap already."""
# Two for each lane, one for its commits and one for its keepsakes: other threads' work must not delay evidence.
_THREADS: Final = 4
_WARN_FROM_TRY: Final = 3
_REFUSALS_BEFORE_FINAL: Final = 2
_MAX_AWAY_WAIT_SECONDS: Final = 5.0
_MAX_RETRY_WAIT_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 30.0
STOP_GRACE_SECONDS: Final = 15.0
"""After a stop is requested, callers wait this long for a write; then its evidence lies on the disk."""


class NotCommittedError(Exception):
    """The database has not accepted this write yet, and its caller waits no longer.

    This process, or the next that starts, retries a write with a keepsake. Without a keepsake, the job becomes due
    again when its lease ends.
    """


class Keepsake(Protocol):
    """The evidence in a write, in a form that outlives the process. Both methods run in a thread and raise nothing."""

    @property
    def place(self) -> str | None:
        """Where it is safe; None if it is not safe yet."""
        ...

    def keep(self) -> None:
        """Bring the evidence to a safe place."""
        ...

    def drop(self) -> None:
        """Remove it: it is committed."""
        ...


@dataclass(slots=True, eq=False)
class _Write:
    work: Callable[[Any], Any]
    keepsake: Keepsake | None = None
    since: float = field(default_factory=time.monotonic)
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: Exception | None = None
    tries: int = 0
    """How often it failed, alone or in a group."""
    refusals: int = 0
    """How often it was refused alone, with an SQLSTATE that is final."""
    failing_since: float | None = None

    @property
    def kept(self) -> bool:
        return self.keepsake is not None and self.keepsake.place is not None

    def end(self, error: Exception | None) -> None:
        """Tell the waiting caller the result; the first result counts."""
        if not self.done.is_set():
            self.error = error
            self.done.set()


class Committer:
    """Runs writes on the event loop's behalf. `commit(works)` runs all of them in one transaction, in a thread.

    It returns for each work its result, or the exception that set it aside. It raises if nothing was committed. When
    its task group is cancelled, it accepts nothing new, and commits its remaining writes for `grace_seconds`. If
    PostgreSQL has not accepted a write for `patience_seconds`, the write's caller goes on with other work.
    """

    def __init__(
        self,
        commit: Callable[[list[Callable[[Any], Any]]], list[Any]],
        *,
        random: Random,
        grace_seconds: float = 10.0,
        patience_seconds: float = _PATIENCE_SECONDS,
        gather_seconds: float = _GATHER_SECONDS,
    ) -> None:
        self._commit = commit
        self._random = random
        self._grace_seconds = grace_seconds
        self._patience_seconds = patience_seconds
        self._gather_seconds = gather_seconds
        self._fresh: deque[_Write] = deque()
        self._troubled: list[tuple[float, int, _Write]] = []
        self._in_flight: set[_Write] = set()
        self._order = itertools.count()
        self._arrived = anyio.Event()
        self._trouble = anyio.Event()
        self._hurry = anyio.Event()
        self._hurry_seconds = STOP_GRACE_SECONDS
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._ended = False

    def start(self, group: TaskGroup) -> None:
        """Begin committing; runs until the task group is cancelled."""
        group.start_soon(self._run)

    async def write(self, work: Callable[[Any], Any], keepsake: Keepsake | None = None) -> Any:
        """Commit `work(connection)` and return its result; raises what it raised, after the others are committed.

        The wait is shielded, because a cancelled caller must not lose what was paid for. Raises `NotCommittedError` if
        the committer ended first or the patience is over, and `WriteRefusedError` if PostgreSQL refuses permanently.
        """
        write = _Write(work, keepsake)
        if self._ended:
            with anyio.CancelScope(shield=True):
                await self._keep(write)
            raise NotCommittedError("the committer has ended")
        self._fresh.append(write)
        self._arrived.set()
        with anyio.CancelScope(shield=True):
            await write.done.wait()
        if write.error is not None:
            raise write.error
        return write.result

    def hurry(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Wait for no write longer than `grace_seconds` from now on, because a stop was requested."""
        self._hurry_seconds = grace_seconds
        self._hurry.set()

    @property
    def stuck_seconds(self) -> float:
        """Seconds that the oldest uncommitted write has waited; any thread may ask."""
        return max((time.monotonic() - write.since for write in self._waiting()), default=0.0)

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as lanes:
                lanes.start_soon(self._run_fresh)
                lanes.start_soon(self._run_troubled)
                lanes.start_soon(self._run_hurried)
        finally:
            self._ended = True
            with anyio.move_on_after(self._grace_seconds, shield=True):
                await self._finish()
            with anyio.CancelScope(shield=True):
                await self._give_up()

    async def _run_fresh(self) -> None:
        while True:
            while not self._fresh:
                await self._next_arrival()
            await self._gather()
            await self._attempt([self._fresh.popleft() for _ in range(min(len(self._fresh), _MAX_GROUP))])

    async def _next_arrival(self) -> None:
        # One loop: nothing can arrive between the end of the wait and the new event.
        await self._arrived.wait()
        self._arrived = anyio.Event()

    async def _gather(self) -> None:
        """Wait a moment for further writes, unless many wait already, or one of them is evidence."""
        with anyio.move_on_after(self._gather_seconds):
            while len(self._fresh) < _GATHER_UNTIL and all(write.keepsake is None for write in self._fresh):
                await self._next_arrival()

    async def _run_troubled(self) -> None:
        away = 0
        while True:
            await self._until_due()
            away = await self._attempt_next(away)

    async def _until_due(self) -> None:
        """Wait until a write of the second lane is due."""
        while not self._troubled or self._troubled[0][0] > time.monotonic():
            wait = self._troubled[0][0] - time.monotonic() if self._troubled else float("inf")
            with anyio.move_on_after(wait):
                await self._trouble.wait()
            self._trouble = anyio.Event()

    async def _attempt_next(self, away: int) -> int:
        """Try the next due write alone; return how often in a row the database was unavailable."""
        _, _, write = heapq.heappop(self._troubled)
        if await self._attempt([write]):
            return 0
        await anyio.sleep(self._wait(away + 1, _MAX_AWAY_WAIT_SECONDS))
        return away + 1

    async def _run_hurried(self) -> None:
        """After a stop was requested, let nobody wait for a write beyond the grace period."""
        await self._hurry.wait()
        began, grace = time.monotonic(), self._hurry_seconds
        while True:
            for write in self._waiting():
                if time.monotonic() - max(write.since, began) >= grace:
                    await self._let_go(write, "a stop was asked for")
            await anyio.sleep(min(1.0, grace))

    async def _finish(self) -> None:
        away = 0
        while self._fresh:
            await self._attempt([self._fresh.popleft()])
        while self._troubled:
            await self._until_due()
            away = await self._attempt_next(away)

    async def _give_up(self) -> None:
        left = self._waiting()
        for write in left:
            await self._let_go(write, "the database could not be reached until the end")
        if left:
            _log.error("writes_not_committed", writes=len(left), kept=sum(write.kept for write in left))

    def _waiting(self) -> list[_Write]:
        """Return every write that is not committed; from another thread the result is only approximate."""
        troubled = [write for _, _, write in list(self._troubled)]
        return [*list(self._fresh), *list(self._in_flight), *troubled]

    async def _let_go(self, write: _Write, why: str) -> None:
        """Release the caller that waits for a write. The write's evidence is in a safe place by then."""
        await self._keep(write)
        write.end(NotCommittedError(why))

    def keep_all(self) -> None:
        """Bring every keepsake to a safe place, here and now; any thread may ask."""
        for write in self._waiting():
            if write.keepsake is not None:
                write.keepsake.keep()

    async def _keep(self, write: _Write) -> None:
        if write.keepsake is not None and not write.kept:
            await anyio.to_thread.run_sync(write.keepsake.keep, limiter=self._threads)

    async def _attempt(self, group: list[_Write]) -> bool:
        """Commit `group` once; failed writes go to the second lane. False if the database is unavailable."""
        results: list[Any]
        there = True
        self._in_flight.update(group)
        # Shielded to the end: the results of a commit must reach the callers that wait for them.
        with anyio.CancelScope(shield=True):
            try:
                works = [write.work for write in group]
                results = await anyio.to_thread.run_sync(self._commit, works, limiter=self._threads)
            except Exception as error:  # noqa: BLE001 - whatever keeps the database away, evidence waits for it
                _log.warning("commit_waits", writes=len(group), error=type(error).__name__)
                results, there = [TryAgainError(type(error).__name__)] * len(group), False
            for write, result in zip(group, results, strict=True):
                self._in_flight.discard(write)
                await self._take(write, result, alone=len(group) == 1, there=there)
        return there

    async def _take(self, write: _Write, result: Any, *, alone: bool, there: bool) -> None:
        """Pass a result to the waiting caller; put back a write that must be retried."""
        if isinstance(result, TryAgainError | WriteRefusedError):
            await self._put_back(write, result, alone=alone, there=there)
            return
        if isinstance(result, Exception):
            await self._keep(write)
            write.end(result)
            return
        if write.keepsake is not None and write.kept:
            await anyio.to_thread.run_sync(write.keepsake.drop, limiter=self._threads)
        write.result = result
        write.end(None)

    async def _put_back(
        self, write: _Write, fault: TryAgainError | WriteRefusedError, *, alone: bool, there: bool
    ) -> None:
        now = time.monotonic()
        write.tries += 1
        write.failing_since = write.failing_since or now
        await self._keep(write)
        if alone:
            write.refusals = write.refusals + 1 if isinstance(fault, WriteRefusedError) else 0
        if write.tries >= _WARN_FROM_TRY:
            seconds = round(now - write.failing_since, 1)
            _log.warning("write_waits", sqlstate=fault.sqlstate, tries=write.tries, seconds=seconds, kept=write.kept)
        if write.refusals >= _REFUSALS_BEFORE_FINAL:
            _log.error("write_refused", sqlstate=fault.sqlstate, tries=write.tries, kept=write.kept)
            write.end(fault)
            return
        if there and now - write.failing_since > self._patience_seconds:
            # Its caller holds a slot of this worker that other jobs need.
            await self._let_go(write, f"PostgreSQL does not take it (SQLSTATE {fault.sqlstate})")
            if write.keepsake is None:
                return
        # While the database is unavailable the whole lane waits, and afterwards all of it is due at once.
        wait = self._wait(write.tries, _MAX_RETRY_WAIT_SECONDS) if there else 0.0
        heapq.heappush(self._troubled, (now + wait, next(self._order), write))
        self._trouble.set()

    def _wait(self, tries: int, most: float) -> float:
        return delay(tries, first_seconds=0.1, max_seconds=most, random=self._random)
