"""A row that comes alone: one statement where its batch and its account are known, and a whole enqueue elsewhere."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event

from producer import Client
from shared.db import engine as engines
from shared.db import search_path
from shared.db.engine import Engine, question, transaction
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.settings import load
from tests.support import rows
from tests.support.tcp_proxy import behind
from tests.support.waiting import until

BATCH = "spring"
# As a file would add it that is on its way.
_THIRD = """
INSERT INTO job SELECT (jsonb_populate_record(job, jsonb_build_object('id', gen_random_uuid(), 'custom_id', 'third'))).*
FROM job WHERE custom_id = 'second'
"""


def row(name: str, prompt: str = "a harbour", **more: Any) -> dict[str, Any]:
    return {"provider": "bloom", "prompt": prompt, "custom_id": name, **more}


def give(client: Client, *given: dict[str, Any]) -> tuple[int, int]:
    done = client.enqueue(given, batch=BATCH)
    return done.given, done.added


@pytest.fixture
def warm(alice: Client) -> Client:
    """A client that has added rows to the batch, and knows it and its account."""
    for name in ("first", "second"):
        give(alice, row(name))
    return alice


@pytest.fixture
def through(database_url: str) -> Iterator[str]:
    """The database behind something that opens connections of its own, as a pooler does."""
    with behind(database_url) as url:
        yield url


def statements(client: Client) -> list[str]:
    found: list[str] = []
    event.listen(client._engine, "before_cursor_execute", lambda _c, _x, statement, *_: found.append(statement))
    return found


def test_it_takes_one_statement(warm: Client, engine: Engine) -> None:
    seen = statements(warm)
    assert give(warm, row("third")) == (1, 1)
    assert len(seen) == 1
    assert rows.states(engine) == {"queued": 3}


def test_the_same_row_again_adds_nothing_and_another_under_its_name_is_refused(warm: Client, engine: Engine) -> None:
    assert give(warm, row("second")) == (1, 0)
    with pytest.raises(EnqueueConflictError, match="already holds second with a different request"):
        give(warm, row("second", "a lighthouse"))
    assert rows.states(engine) == {"queued": 2}


def test_its_metadata_comes_with_it_or_neither_does(warm: Client, engine: Engine) -> None:
    give(warm, row("third", metadata={"sku": "A-1"}))
    assert rows.rows(engine, "SELECT metadata ->> 'sku' FROM job_metadata") == [("A-1",)]
    with transaction(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE job_metadata ADD CONSTRAINT none CHECK (metadata ->> 'sku' <> 'B-2')")
    with pytest.raises(Exception, match="violates check constraint"):
        give(warm, row("fourth", metadata={"sku": "B-2"}))
    assert rows.states(engine) == {"queued": 3}


def test_a_batch_that_left_meanwhile_is_made_again(warm: Client, engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.exec_driver_sql("DELETE FROM job")
        connection.exec_driver_sql("DELETE FROM batch")
    assert give(warm, row("first")) == (1, 1)
    assert rows.rows(engine, "SELECT batch.name, custom_id FROM job JOIN batch ON batch.id = batch_id") == [
        (BATCH, "first")
    ]


def test_it_waits_for_a_file_that_holds_its_name_and_then_for_the_whole_file(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines._BOUNDS, "lock_timeout", "100ms")
    with Client(settings=load(database_url=database_url)) as client, ThreadPoolExecutor(1) as threads:
        give(client, row("second"))
        give(client, row("second"))
        with transaction(engine) as file:
            file.exec_driver_sql(f"SELECT pg_advisory_xact_lock(hashtextextended('enqueue {BATCH}', 0))")
            file.exec_driver_sql(_THIRD)
            later = threads.submit(give, client, row("third"))
            until(lambda: bool(rows.rows(engine, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")))
        assert later.result() == (1, 0)


def test_an_account_that_is_first_used_is_made(warm: Client, engine: Engine) -> None:
    assert warm.enqueue([{**row("third"), "provider": "getimg", "model": "seedream-5-lite"}], batch=BATCH).added == 1
    assert rows.rows(engine, "SELECT account FROM job WHERE custom_id = 'third'") == [("getimg",)]


def test_a_paused_account_gets_no_row_a_second_later(warm: Client, engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO account (name, provider, unit, concurrency, windows, seen_at)"
            " SELECT 'bloom.second', provider, unit, concurrency, windows, now() FROM account"
        )
        connection.exec_driver_sql(
            "UPDATE account SET seen_at = now(), paused_at = now(), paused_code = 'auth', paused_reason = 'x'"
            " WHERE name = 'bloom'"
        )
    numbers = iter(range(1000))

    def goes_to_the_other() -> bool:
        name = f"n{next(numbers)}"
        give(warm, row(name))
        return (name, "bloom.second") in rows.rows(engine, "SELECT custom_id, account FROM job")

    until(goes_to_the_other)
    assert all(goes_to_the_other() for _ in range(20))


def test_threads_on_one_client_wait_in_turn_for_its_two_connections(database_url: str, engine: Engine) -> None:
    added = list[int]()
    with Client(settings=load(database_url=database_url)) as client:

        def many(thread: int) -> None:
            for number in range(10):
                added.append(give(client, row(f"{thread}-{number}"))[1])

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(many, range(16)))
        assert client._engine.pool.checkedin() <= 2  # type: ignore[attr-defined]
    assert sum(added) == 160
    assert rows.states(engine) == {"queued": 160}


def test_behind_another_peer_each_transaction_brings_its_bounds_and_nothing_is_prepared(
    through: str, engine: Engine
) -> None:
    with Client(settings=load(database_url=through)) as client:
        for number in range(8):  # a driver prepares what it has run five times
            assert give(client, row(f"n{number}")) == (1, 1)
        with question(client._engine) as connection:
            prepared = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
            path = connection.exec_driver_sql("SELECT current_setting('search_path')").scalar_one()
    assert (prepared, path) == (0, "genqueue")
    assert rows.states(engine) == {"queued": 8}


def test_only_what_is_asked_often_is_prepared(warm: Client) -> None:
    for number in range(8):
        give(warm, row(f"n{number}"))
        warm.batches()
    with question(warm._engine) as connection:
        (prepared,) = connection.exec_driver_sql("SELECT array_agg(statement) FROM pg_prepared_statements").one()
    assert len(prepared) == 1
    assert "INSERT INTO job" in prepared[0]


def test_a_unix_socket_has_no_port_on_either_side() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert search_path._own_port(ours.fileno()) is None
