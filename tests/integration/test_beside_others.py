"""Our tables beside an application's in one database: neither sees nor touches the other's."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import migrating, schema
from shared.db.engine import Engine, open_engine, plain_connection, transaction
from shared.db.schema import SchemaError
from shared.settings import SettingsError, load
from tests.support import rows
from tests.support.command import genqueue
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import ended
from tests.support.servers import Databases
from tests.support.tcp_proxy import behind

THEIRS = """
CREATE TABLE job (id serial PRIMARY KEY, title text NOT NULL);
CREATE TABLE account (id serial PRIMARY KEY, email text NOT NULL);
CREATE TABLE batch (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE submission (id serial PRIMARY KEY, form text NOT NULL);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO job (title) VALUES ('baker');
INSERT INTO account (email) VALUES ('a@example.com');
INSERT INTO batch (name) VALUES ('spring');
INSERT INTO alembic_version VALUES ('0003');
"""
NAMES = ("job", "account", "batch", "submission", "alembic_version")
IN_SCHEMA = "SELECT tablename FROM pg_tables WHERE schemaname = :name ORDER BY 1"


@pytest.fixture
def shared_url(databases: Databases) -> Iterator[str]:
    """A database in which an application has tables of its own."""
    with databases.fresh(migrated=False) as url:
        with plain(url) as connection:
            connection.execute(THEIRS.encode())
        yield url


@pytest.fixture
def through(shared_url: str) -> Iterator[str]:
    """That database behind a peer with connections of its own, as a pooler is."""
    with behind(shared_url) as url:
        yield url


def plain(url: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(url, autocommit=True, options="-c search_path=public")


def theirs(url: str) -> dict[str, list[Any]]:
    with plain(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        return {str(name): connection.execute(f"TABLE {name}".encode()).fetchall() for (name,) in tables}


def opened(url: str, *, name: str = "", may_be_pooled: bool = False) -> Engine:
    return open_engine(SecretStr(url), application="tests", pool_size=2, schema=name, may_be_pooled=may_be_pooled)


@pytest.fixture
def ours(shared_url: str) -> Iterator[Engine]:
    engine = opened(shared_url)
    migrating.migrate(engine)
    yield engine
    engine.dispose()


def test_a_batch_runs_to_its_end_beside_an_applications_tables_and_touches_none(
    ours: Engine, shared_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    before = theirs(shared_url)
    assert set(before) == set(NAMES)
    settings = settings_for(shared_url, endpoints, simulated.url)
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        client.enqueue([{"provider": "bloom", "prompt": "a harbour"}] * 3, batch="spring")
        drain(runtime, ended(client, "spring"))
        assert client.totals("spring") == {"succeeded": 3}
    assert theirs(shared_url) == before
    assert {row[0] for row in rows.rows(ours, IN_SCHEMA, name="genqueue")} >= {*NAMES, "ledger"}


def test_the_version_table_of_an_application_is_not_taken_for_ours(shared_url: str) -> None:
    engine = opened(shared_url)
    with pytest.raises(SchemaError, match="is empty"):
        schema.check(engine)
    engine.dispose()


def test_our_schema_can_have_another_name(shared_url: str) -> None:
    engine = opened(shared_url, name="pictures")
    migrating.migrate(engine)
    rows.add(engine, [rows.new_job("a")])
    assert rows.states(engine) == {"queued": 1}
    with Client(settings=load(database_url=shared_url, database_schema="pictures")) as client:
        assert client.totals("b") == {"queued": 1}
    with plain_connection(engine, "tests") as connection:
        assert connection.execute("SELECT count(*) FROM job").fetchone() == (1,)
    assert rows.rows(engine, IN_SCHEMA, name="genqueue") == []
    assert migrating.differences(engine) == []
    engine.dispose()


def test_an_installation_in_public_goes_on_there_without_a_setting(databases: Databases) -> None:
    with databases.fresh(migrated=False) as url:
        first = opened(url, name="public")
        migrating.migrate(first, to="0012")
        later = opened(url)
        migrating.migrate(later)
        rows.add(later, [rows.new_job("a")])
        assert rows.states(first) == {"queued": 1}
        assert rows.rows(later, IN_SCHEMA, name="genqueue") == []
        for engine in (first, later):
            engine.dispose()


def test_a_second_queue_is_not_begun_beside_one_in_public(databases: Databases) -> None:
    with databases.fresh(migrated=False) as url:
        first, second = opened(url, name="public"), opened(url, name="genqueue")
        migrating.migrate(first)
        with pytest.raises(SchemaError, match="has a queue in the schema public"):
            migrating.migrate(second)
        for engine in (first, second):
            engine.dispose()


def test_a_session_that_a_pooler_hands_out_anew_still_works_in_our_schema(
    ours: Engine, shared_url: str, through: str
) -> None:
    before = theirs(shared_url)
    engine = opened(through, may_be_pooled=True)
    for _ in range(8):  # a driver prepares what it has run five times: another session knows nothing of that
        with transaction(engine) as connection:
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "5s"
            assert connection.exec_driver_sql("SELECT count(*) FROM submission").scalar_one() == 0
            session = connection.connection.driver_connection
        assert isinstance(session, psycopg.Connection)
        session.autocommit = True
        session.execute("DISCARD ALL")
        session.autocommit = False
    rows.add(engine, [rows.new_job("a")])
    assert rows.states(ours) == {"queued": 1}
    assert theirs(shared_url) == before
    engine.dispose()


def test_a_session_is_bounded_although_a_pooler_drops_what_it_asked_for_at_its_start(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.engine.connect_arguments", lambda _application: {"connect_timeout": 10})
    engine = opened(shared_url)
    with transaction(engine) as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("search_path", "lock_timeout", "statement_timeout", "timezone")
        ]
    assert shown == ["genqueue", "5s", "30s", "UTC"]
    engine.dispose()


@pytest.mark.parametrize("name", ["Pictures", "a-b", 'a"; DROP TABLE job', "9th", "x" * 64])
def test_a_name_that_would_have_to_be_quoted_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="GENQUEUE_DATABASE_SCHEMA"):
        load(database_schema=name)


def test_every_command_finds_the_schema_by_the_setting(shared_url: str) -> None:
    env = {"GENQUEUE_DATABASE_URL": shared_url, "GENQUEUE_DATABASE_SCHEMA": "pictures"}
    assert genqueue("migrate", env=env).code == 0
    assert genqueue("batches", env=env).code == 0
    assert genqueue("batches", env={**env, "GENQUEUE_DATABASE_SCHEMA": ""}).code == 1
    assert set(theirs(shared_url)) == set(NAMES)
