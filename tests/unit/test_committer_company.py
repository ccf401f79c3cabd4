"""A write that is no evidence waits a moment for company; evidence waits for nobody."""

from typing import Any

import anyio

from tests.support.committing import Database, Keepsake, committing, insert, until, write_all
from worker import event_loop


def test_a_write_waits_for_company_and_evidence_that_comes_takes_it_along_at_once() -> None:
    database = Database()

    async def run() -> None:
        async with committing(database, gather_seconds=60) as committer, anyio.create_task_group() as group:
            group.start_soon(committer.write, insert("plain"))
            group.start_soon(committer.write, insert("another"))
            await until(lambda: len(committer._fresh) == 2)
            assert database.begun == 0
            await committer.write(insert("evidence"), Keepsake())

    event_loop.run(run)
    assert database.groups == [3]
    assert database.committed == {"plain", "another", "evidence"}


def test_sixteen_writes_wait_for_no_more() -> None:
    database = Database()

    async def run() -> list[Any]:
        async with committing(database, gather_seconds=60) as committer:
            return await write_all(committer, [insert(n) for n in range(16)])

    assert event_loop.run(run) == list(range(16))
    assert database.groups == [16]


def test_a_write_alone_is_committed_after_a_moment() -> None:
    database = Database()

    async def run() -> Any:
        async with committing(database) as committer:
            return await committer.write(insert("alone"))

    assert event_loop.run(run) == "alone"
    assert database.groups == [1]
