"""Debian's PgBouncer before a real PostgreSQL: producers work in every mode, workers in session mode alone.

Not part of `make test`, for it needs the package: `make poolers`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from ops.stack.ports import free_port
from producer import Client
from shared.db import server_checks
from shared.db.engine import UnfitServerError, open_engine
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import ended
from tests.support.waiting import until


@contextmanager
def pgbouncer(directory: Path, database_url: str, mode: str) -> Iterator[str]:
    """Yield the URL of `database_url` behind a PgBouncer in `mode`, with its defaults otherwise."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    assert program, "PgBouncer is not installed: apt-get install pgbouncer"
    parts = urlsplit(database_url)
    port = free_port(set())
    name = parts.path.lstrip("/")
    users = directory / "users.txt"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host={parts.hostname} port={parts.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {users}\npool_mode = {mode}\n"
        "default_pool_size = 6\n"
    )
    url = database_url.replace(parts.netloc, f"{parts.username}:{parts.password}@127.0.0.1:{port}")
    process = subprocess.Popen([program, "-q", *_as_somebody(directory), str(config)])
    try:
        until(lambda: answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _as_somebody(directory: Path) -> list[str]:
    """PgBouncer does not run as root: give it another user, who may read what was written for it."""
    if os.geteuid() != 0:
        return []
    for path in (directory, *directory.parents[:2]):
        path.chmod(0o755)
    return ["-u", "nobody"]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pooled(mode: str, tmp_path: Path, database_url: str) -> Iterator[str]:
    with pgbouncer(tmp_path, database_url, mode) as url:
        yield url


def test_producers_work_while_an_application_shares_their_pool(
    pooled: str, database_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    """The application's search path, bounds and statements stay its own; so do ours."""
    settings = settings_for(database_url, endpoints, simulated.url)
    through = settings.model_copy(update={"database_url": SecretStr(pooled)})
    now = "SELECT current_setting('search_path'), current_setting('statement_timeout')"
    theirs = psycopg.connect(pooled, autocommit=True, prepare_threshold=None)
    before = theirs.execute(now).fetchone()
    with runtime_for(settings, endpoints) as runtime, Client(settings=through) as client, theirs:
        for number in range(8):  # a driver prepares what it has run five times
            client.enqueue([{"provider": "bloom", "prompt": "a harbour", "custom_id": f"n{number}"}], batch="spring")
            assert theirs.execute(now).fetchone() == before
        drain(runtime, ended(client, "spring"))
        assert client.totals("spring") == {"succeeded": 8}
        assert len(list(client.results("spring"))) == 8
        with client._connection() as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "30s"
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one() == "30s"


def test_workers_are_refused_behind_transactions_and_work_behind_sessions(
    mode: str, pooled: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    engine = open_engine(SecretStr(pooled), application="tests", pool_size=2)
    if mode == "transaction":
        for _ in range(5):  # PgBouncer deals out its sessions in another order each time
            with pytest.raises(UnfitServerError, match="a pool in session mode; producers can stay"):
                server_checks.prove(engine)
        engine.dispose()
        return
    server_checks.prove(engine)
    engine.dispose()
    settings = settings_for(pooled, endpoints, simulated.url)
    with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
        client.enqueue([{"provider": "bloom", "prompt": f"harbour {number}"} for number in range(3)], batch="spring")
        drain(runtime, ended(client, "spring"))
        assert client.totals("spring") == {"succeeded": 3}
