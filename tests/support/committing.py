"""A committer on a database made of a set, and evidence that tells what became of it."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio

from worker.evidence.committer import Committer

Work = Callable[[Any], Any]


class Database:
    """A database made of a set: runs works as `commit_all` does, and can be away or slow."""

    def __init__(self) -> None:
        self.committed: set[Any] = set()
        self.groups: list[int] = []
        self.away = 0
        self.begun = 0
        self.gate = threading.Event()
        self.gate.set()

    def commit(self, works: list[Work]) -> list[Any]:
        self.begun += 1
        assert self.gate.wait(10)
        self.groups.append(len(works))
        if self.away:
            self.away -= 1
            raise ConnectionError("the database is away")
        results: list[Any] = []
        for work in works:
            try:
                results.append(work(self.committed))
            except DeadConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - as the real one does
                results.append(error)
        return results


class DeadConnectionError(Exception):
    """What a write that kills its connection looks like: the whole transaction is gone."""


def insert(key: Any) -> Work:
    def work(committed: set[Any]) -> Any:
        committed.add(key)
        return key

    return work


@asynccontextmanager
async def committing(database: Database, **options: Any) -> AsyncIterator[Committer]:
    async with anyio.create_task_group() as group:
        committer = Committer(database.commit, random=Random(1), **options)
        committer.start(group)
        with anyio.fail_after(10):
            yield committer
        group.cancel_scope.cancel()


async def write_all(committer: Committer, works: list[Work]) -> list[Any]:
    """Write at the same time; return each one's result or exception."""
    results: list[Any] = [None] * len(works)

    async def write(index: int, work: Work) -> None:
        try:
            results[index] = await committer.write(work)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            results[index] = error

    async with anyio.create_task_group() as group:
        for index, work in enumerate(works):
            group.start_soon(write, index, work)
    return results


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is another thread's
        await anyio.sleep(0.002)


class Keepsake:
    """Evidence that tells in which order it was kept, and what had been committed or told by then."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.place: str | None = None

    def keep(self) -> None:
        self.said.append("kept")
        self.place = "disk"

    def drop(self) -> None:
        self.said.append("dropped")
