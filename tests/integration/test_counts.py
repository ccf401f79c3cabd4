"""Running counts and sums: exact whatever changes the rows, however many change them, and few rows to add up."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from shared.db import folding, migrating
from shared.db.engine import Engine, open_engine, transaction
from shared.db.jobs.insert_rows import CHUNK_ROWS
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments import spending
from shared.db.read import counts
from shared.lifecycle import ImageState, JobState
from tests.support import rows
from tests.support.counted import add_up, check_counts
from tests.support.model_run import empty
from tests.support.servers import Databases

DELTAS = "SELECT * FROM job_count_delta"


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
        yield opened


def fail_all(engine: Engine, code: str) -> None:
    with transaction(engine) as connection:
        waiting = rows.rows(engine, "SELECT id, epoch FROM job WHERE state = 'queued'")
        steps = [Move(Claim(row.id, row.epoch), JobState.QUEUED, JobState.FAILED, code=code) for row in waiting]
        move(connection, steps, actor="a")


def test_a_large_enqueue_adds_one_delta_for_each_kind_of_job_in_a_chunk(engine: Engine, connection: Connection) -> None:
    half = CHUNK_ROWS
    jobs = [rows.new_job(str(number), account=("bloom", "getimg")[number % 2]) for number in range(2 * half)]
    rows.add(engine, jobs)
    assert len(rows.rows(engine, DELTAS)) == 2 * 2
    assert counts.by_state(connection, "b") == {"bloom": {"queued": half}, "getimg": {"queued": half}}


def test_a_statement_that_moves_many_jobs_adds_a_few_deltas_and_a_claim_none(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(500)])
    with transaction(engine) as connection:
        add_up(connection)
    rows.claim(engine, count=100)
    assert rows.rows(engine, DELTAS) == []
    fail_all(engine, "provider_rejected")
    assert sorted(row.jobs for row in rows.rows(engine, DELTAS)) == [-500, 500]


def test_counts_are_exact_before_and_after_deltas_are_added_up(engine: Engine, connection: Connection) -> None:
    rows.transferring(engine, ImageState.READY, ImageState.FAILED)
    rows.add(engine, [rows.new_job(str(number)) for number in range(3)])
    rows.rows(engine, "UPDATE job SET on_hold = true, error_code = 'x' WHERE custom_id = '0'")
    before = counts.by_state(connection, "b"), counts.by_error(connection, "b"), spending.bill(connection, "b")
    check_counts(connection)
    add_up(connection)
    assert rows.rows(engine, DELTAS) == []
    assert before == (counts.by_state(connection, "b"), counts.by_error(connection, "b"), spending.bill(connection))
    assert before[:2] == ({"bloom": {"queued": 2, "on_hold": 1, "transferring": 1}}, {"bloom": {"x": 1}})
    assert counts.by_state(connection) == before[0]
    check_counts(connection)


def test_raw_sql_is_counted_too(engine: Engine, connection: Connection) -> None:
    rows.one_intent(engine)
    rows.add(engine, [rows.new_job("gone")])
    add_up(connection)
    rows.rows(engine, "UPDATE submission SET opened_at = opened_at - interval '3 days', unit = 'USD'")
    rows.rows(engine, "DELETE FROM job WHERE custom_id = 'gone'")
    rows.rows(engine, "UPDATE job SET error_code = 'odd', provider = 'getimg'")
    add_up(connection)
    calls = [row for row in rows.rows(engine, "SELECT * FROM spending WHERE calls <> 0") if row.day or row.batch_id]
    assert {(row.unit, row.reserved_amount) for row in calls} == {("USD", Decimal(2))}
    assert counts.by_state(connection) == {"getimg": {"submitting": 1}}
    empty(engine)
    assert counts.by_state(connection) == {}
    assert spending.bill(connection) == []


def test_what_was_rolled_back_was_never_counted(engine: Engine, connection: Connection) -> None:
    rows.add(engine, [rows.new_job("a")])

    def rolled_back() -> None:
        with transaction(engine) as inside:
            inside.exec_driver_sql("UPDATE job SET on_hold = true, error_code = 'x'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rolled_back()
    assert counts.by_state(connection, "b") == {"bloom": {"queued": 1}}


def test_many_writers_and_folders_at_once_leave_exact_counts(engine: Engine, connection: Connection) -> None:
    over = threading.Event()

    def write(number: int) -> None:
        for turn in range(8):
            rows.add(engine, [rows.new_job(f"{number}-{turn}-{each}") for each in range(3)], batch=f"b{number % 2}")
            rows.rows(
                engine,
                "UPDATE job SET error_code = :code WHERE id IN (SELECT id FROM job ORDER BY id LIMIT 3 "
                "FOR UPDATE SKIP LOCKED)",
                code=str(turn),
            )

    def add_up_until_it_is_over() -> None:
        while not over.is_set():
            with transaction(engine) as inside:
                folding.fold(inside)

    with ThreadPoolExecutor(6) as pool:
        folders = [pool.submit(add_up_until_it_is_over) for _ in range(2)]
        for writer in [pool.submit(write, number) for number in range(4)]:
            writer.result()
        over.set()
        for folder in folders:
            folder.result()
    check_counts(connection)
    assert counts.by_state(connection) == {"bloom": {"queued": 4 * 8 * 3}}


def test_no_writer_waits_for_another_or_for_the_one_who_adds_up(engine: Engine) -> None:
    """Writers of one batch hold their transactions open beside each other, and so does the folder."""
    rows.add(engine, [rows.new_job(str(number)) for number in range(3)])
    ids = [row.id for row in rows.rows(engine, "SELECT id FROM job ORDER BY id")]
    with transaction(engine) as folder, transaction(engine) as first, transaction(engine) as second:
        folding.fold(folder)
        for connection, job in ((first, ids[0]), (second, ids[1])):
            connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            connection.exec_driver_sql("UPDATE job SET error_code = 'x' WHERE id = %s", (job,))
            assert folding.fold(connection) is False
    with engine.connect() as connection:
        assert counts.by_error(connection, "b") == {"bloom": {"x": 2}}


def test_jobs_and_calls_of_before_are_counted_by_the_migration(databases: Databases) -> None:
    with databases.fresh(migrated=False) as url:
        old = open_engine(SecretStr(url), application="tests", pool_size=2)
        migrating.migrate(old, to="0012")
        # Today's code makes the calls of before, and asks for columns of later.
        rows.rows(old, "ALTER TABLE batch ADD held_at timestamptz")
        rows.rows(old, "ALTER TABLE image ADD stated_width integer, ADD stated_height integer")
        for number in range(3):
            rows.transferring(old, ImageState.READY) if number else rows.one_intent(old)
        rows.rows(old, "ALTER TABLE batch DROP held_at")
        rows.rows(old, "ALTER TABLE image DROP stated_width, DROP stated_height")
        migrating.migrate(old)
        with old.connect() as connection:
            assert rows.rows(old, DELTAS) == []
            assert counts.by_state(connection, "b") == {"bloom": {"transferring": 2, "submitting": 1}}
            check_counts(connection)
        old.dispose()
