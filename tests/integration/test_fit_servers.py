"""Servers that cannot keep what the queue relies on are refused in one sentence, before anything is claimed."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from ops.stack import Endpoints
from producer import Client
from shared.db import engine as engines
from shared.db import server_checks
from shared.db.engine import Engine, UnfitServerError, open_engine
from shared.settings import load
from tests.support.command import Ran, genqueue
from tests.support.servers import Databases

Run = Callable[..., Ran]


@pytest.fixture
def run(endpoints: Endpoints, tmp_path: Path) -> Run:
    def command(url: str, *arguments: str) -> Ran:
        environment = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": url, "GENQUEUE_HOME": str(tmp_path / "home")}
        return genqueue(*arguments, env=environment, cwd=tmp_path)

    return command


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(SecretStr(database_url), application="tests", pool_size=1)
    yield opened
    opened.dispose()


@pytest.fixture
def read_only(database_url: str, databases: Databases, endpoints: Endpoints) -> str:
    """A database that takes no writes, as a standby takes none; who is connected already does not hear of it."""
    databases.sessions.forget(database_url)
    name = database_url.rpartition("/")[2]
    with psycopg.connect(endpoints.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name)))
    return database_url


@pytest.fixture
def in_ascii(databases: Databases) -> Iterator[str]:
    make = "CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    databases._admin(make, "in_ascii")
    yield databases._url("in_ascii")
    databases._admin("DROP DATABASE {} WITH (FORCE)", "in_ascii")


class Pooled:
    """A connection in autocommit behind a pooler: each statement outside a transaction may meet another session."""

    def __init__(self, sessions: "list[psycopg.Connection[Any]]", turns: Iterator[int]) -> None:
        self._sessions, self._turns = sessions, turns
        self._held: psycopg.Connection[Any] | None = None

    def execute(self, statement: Any, values: Any = ()) -> Any:
        session = self._held or self._sessions[next(self._turns) % len(self._sessions)]
        return session.execute(statement, values or None)

    def transaction(self) -> Any:
        self._held = self._sessions[next(self._turns) % len(self._sessions)]
        return self._held.transaction()

    def notifies(self, **_options: Any) -> Iterator[Any]:
        return iter(())

    def close(self) -> None:
        self._held = None


def test_a_server_itself_is_fit_and_nothing_of_the_proof_is_left(engine: Engine) -> None:
    server_checks.prove(engine)
    left = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
    with engines.transaction(engine) as connection:
        assert connection.exec_driver_sql(f"{left} AND datname = current_database()").scalar_one() == 0


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("first", range(3))
def test_a_pooler_that_gives_each_transaction_another_session_is_refused(
    count: int, first: int, engine: Engine
) -> None:
    sessions = [engines.plain_connection(engine, "tests") for _ in range(count)]
    turns = itertools.count(first)
    words = server_checks.fault_of_sessions(lambda: cast("psycopg.Connection[Any]", Pooled(sessions, turns)))
    for session in sessions:
        session.close()
    assert words is not None
    assert "pool in session mode" in words


def test_a_server_that_passes_on_no_notice_is_refused(engine: Engine) -> None:
    class Deaf(psycopg.Connection[Any]):
        def notifies(self, **_options: Any) -> Any:
            return iter(())

    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    words = server_checks.fault_of_sessions(lambda: Deaf.connect(url, autocommit=True))
    assert (words or "").startswith("does not pass on NOTIFY")


def test_a_server_that_takes_no_writes_is_refused_with_what_to_do(read_only: str, run: Run) -> None:
    engine = open_engine(SecretStr(read_only), application="tests", pool_size=1)
    with pytest.raises(UnfitServerError, match=r"takes no writes: name the primary in GENQUEUE_DATABASE_URL"):
        server_checks.prove(engine)
    engine.dispose()
    for arguments in (("worker",), ("pause", "bloom"), ("cap", "b", "bloom=1")):
        ran = run(read_only, *arguments)
        assert ran.code in (1, 2), arguments
        assert "Traceback" not in ran.err
    assert "takes no writes" in run(read_only, "worker").err
    assert "takes no writes" in run(read_only, "doctor", "--json").out


def test_a_database_in_sql_ascii_is_refused_with_what_to_do(in_ascii: str, run: Run) -> None:
    with pytest.raises(UnfitServerError, match="SQL_ASCII: make a database with ENCODING 'UTF8'"):
        Client(settings=load(database_url=in_ascii))
    assert "has the encoding SQL_ASCII" in run(in_ascii, "doctor", "--json").out
    for arguments in (("worker",), ("migrate",), ("batches",)):
        ran = run(in_ascii, *arguments)
        assert (ran.code, ran.err.count("error:")) == (1, 1), ran
        assert "has the encoding SQL_ASCII" in ran.err


def test_a_server_that_is_too_old_is_refused_with_its_version(
    database_url: str, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr("shared.db.engine._LEAST_VERSION", 10_000_000)
    ran = run(database_url, "batches")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "genqueue needs PostgreSQL 15 or newer" in ran.err
