"""A hot standby of the test run's PostgreSQL: a base backup of it that follows it and takes no writes."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ops.stack import services
from ops.stack.identity import choose_identity, give_to
from ops.stack.ports import LOOPBACK, free_port
from ops.stack.postgres import SETTINGS
from ops.stack.process import Command, ServerProcess
from tests.support.waiting import until

_STOP_SECONDS = 10.0


@contextmanager
def standby_of(admin_url: str, place: Path) -> Iterator[int]:
    """Yield the port of a standby that has replayed what was committed before; its users are the primary's."""
    server = services.find_postgres()  # type: ignore[attr-defined] # the one that --postgres replaces
    identity = choose_identity(server, place)
    data, port = identity.base / "standby", free_port(set())
    backup = [str(identity.program.with_name("pg_basebackup")), "-D", str(data), "-d", admin_url, "-R", "-c", "fast"]
    subprocess.run(backup, check=True)
    give_to(data, identity.owner)
    settings = {**SETTINGS, "port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    argv = [str(identity.program), "-D", str(data), *options]
    command = Command(argv, {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, identity.base, identity.how)
    process = ServerProcess("standby", command, place / "standby.log")
    try:
        until(lambda: _follows(admin_url, port))
        yield port
    finally:
        process.stop(signal.SIGINT, _STOP_SECONDS)


def at_port(url: str, port: int) -> str:
    """Return `url` with another port on this machine."""
    head, _, tail = url.rpartition("@")
    return f"{head}@{LOOPBACK}:{port}/{tail.partition('/')[2]}"


def _follows(admin_url: str, port: int) -> bool:
    """Tell whether the standby takes connections and has replayed all that the primary had written by now."""
    with psycopg.connect(admin_url, autocommit=True) as primary:
        written = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert written is not None
    try:
        with psycopg.connect(at_port(admin_url, port), autocommit=True) as standby:
            replayed = standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written).fetchone()
    except psycopg.OperationalError:
        return False
    return replayed is not None and bool(replayed[0])
