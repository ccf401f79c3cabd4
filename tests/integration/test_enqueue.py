"""Enqueueing: all rows or none, the same rows once, and memory that does not grow with the file."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import event

from shared.db.engine import Engine, open_engine
from shared.db.jobs.enqueue import EnqueueConflictError, NewJob
from shared.db.jobs.insert_rows import CHUNK_CHARS, CHUNK_ROWS, in_chunks
from tests.support import rows
from tests.support.waiting import until


def test_the_same_rows_again_add_nothing(engine: Engine) -> None:
    jobs = [rows.new_job("a"), rows.new_job("b")]
    first, again = rows.add(engine, jobs), rows.add(engine, [*jobs, rows.new_job("c")])
    assert (first.given, first.added) == (2, 2)
    assert (again.given, again.added, again.batch_id) == (3, 1, first.batch_id)
    assert rows.states(engine) == {"queued": 3}


def test_a_custom_id_that_stands_for_another_request_is_refused_and_nothing_is_written(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    with pytest.raises(EnqueueConflictError, match="already holds b with a different request") as refused:
        rows.add(engine, [rows.new_job("new"), rows.new_job("b", prompt="another")])
    assert refused.value.custom_ids == ["b"]
    assert rows.states(engine) == {"queued": 2}


def test_the_same_custom_id_in_another_batch_is_another_job(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")], batch="one")
    rows.add(engine, [rows.new_job("a", prompt="another")], batch="two")
    assert rows.states(engine) == {"queued": 2}


def test_rows_of_several_chunks_stand_in_line_as_they_came_behind_those_that_wait(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("first")], batch="earlier")
    given = [rows.new_job(f"row-{number}") for number in range(2 * CHUNK_ROWS + 1)]
    assert rows.add(engine, given).added == len(given)
    places = rows.rows(engine, "SELECT custom_id, fair_position FROM job WHERE custom_id <> 'first' ORDER BY 2")
    assert [name for name, _ in places] == [job.custom_id for job in given]
    assert [place for _, place in places] == list(range(places[0][1], places[0][1] + len(given)))


def test_a_conflict_in_a_late_chunk_takes_the_earlier_chunks_back(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("b")])
    given = [*(rows.new_job(f"row-{number}") for number in range(CHUNK_ROWS)), rows.new_job("b", prompt="another")]
    with pytest.raises(EnqueueConflictError, match="already holds b"):
        rows.add(engine, given)
    assert rows.states(engine) == {"queued": 1}


def test_requests_of_many_characters_end_their_chunk(engine: Engine) -> None:
    long = [rows.new_job(f"row-{number}", prompt="x" * (CHUNK_CHARS // 2)) for number in range(3)]
    assert [len(chunk) for chunk in in_chunks((job, job.provider) for job in long)] == [2, 1]
    assert rows.add(engine, long).added == len(long)


def test_rows_that_break_off_in_the_middle_leave_nothing_behind(engine: Engine) -> None:
    def broken() -> Iterator[NewJob]:
        yield rows.new_job("a")
        raise OSError("the disk with the prompts is gone")

    with pytest.raises(OSError, match="prompts"):
        rows.add(engine, broken())
    assert rows.rows(engine, "SELECT 1 FROM job") == []
    assert rows.rows(engine, "SELECT 1 FROM batch") == []
    assert rows.add(engine, [rows.new_job("a")]).added == 1


def test_a_hundred_thousand_rows_are_added_in_the_memory_of_a_few(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("first")])
    process, most = psutil.Process(), [0]
    before = process.memory_info().rss

    def many() -> Iterator[NewJob]:
        for number in range(100_000):
            if number % 1000 == 0:
                most[0] = max(most[0], process.memory_info().rss)
            yield rows.new_job(f"c{number}", prompt="x" * 300)

    assert rows.add(engine, many(), batch="large").added == 100_000
    assert most[0] - before < 12 * 2**20
    (found,) = rows.rows(
        engine,
        "SELECT count(*) AS jobs, max(fair_position) - min(fair_position) AS span FROM job WHERE fair_position > 1",
    )
    assert (found.jobs, found.span) == (100_000 - 1, 100_000 - 2)


def test_two_producers_that_enqueue_the_same_file_at_once_add_it_once(engine: Engine, database_url: str) -> None:
    meet = threading.Barrier(2)

    def jobs() -> Iterator[NewJob]:
        for number in range(3000):
            yield rows.new_job(f"c{number}")

    def one(_number: int) -> int:
        mine = open_engine(SecretStr(database_url), application="tests", pool_size=1)
        meet.wait(10)
        try:
            return rows.add(mine, jobs()).added
        finally:
            mine.dispose()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(one, range(2))) == [0, 3000]
    assert rows.states(engine) == {"queued": 3000}


def test_a_twin_waits_for_the_first_however_long_that_takes(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def impatient(connection: Any, _record: Any) -> None:
        connection.execute("SET lock_timeout = '50ms'")
        connection.commit()

    begun, waited = threading.Event(), threading.Event()

    def slowly() -> Iterator[NewJob]:
        begun.set()
        waited.wait(10)
        yield rows.new_job("a")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(rows.add, engine, slowly())
        assert begun.wait(10)
        second = pool.submit(rows.add, engine, [rows.new_job("a")])
        until(
            lambda: rows.rows(
                engine,
                "SELECT 1 FROM pg_stat_activity WHERE clock_timestamp() - query_start > interval '150 ms' "
                "AND wait_event_type = 'Lock'",
            )
        )
        waited.set()
        assert (first.result(20).added, second.result(20).added) == (1, 0)


def test_producers_that_name_new_accounts_in_different_order_do_not_lock_each_other_out(engine: Engine) -> None:
    names = ["bloom", "getimg"]
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(
            lambda number: rows.add(
                engine, [rows.new_job("a")], batch=f"b{number}", accounts=names[:: 1 if number % 2 else -1]
            ),
            range(24),
        )
        assert sum(enqueued.added for enqueued in done) == 24


def test_a_job_waits_in_the_database_while_no_worker_lives(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", n=3, priority=7)])
    (job,) = rows.rows(engine, "SELECT * FROM job")
    assert (job.state, job.images, job.priority, job.epoch, job.claimed_by) == ("queued", 3, 7, 0, None)
    assert rows.rows(engine, "SELECT 1 FROM worker") == []
