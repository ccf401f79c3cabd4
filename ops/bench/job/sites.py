"""The servers of a benchmark: PostgreSQL that counts statements, Redis, S3, and the stand-in for a provider."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from ops.bench.job import rival
from ops.cli.join import migrate_quietly
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from shared.settings import load

_ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True)
class Site:
    """What every rival of one run works with."""

    stack: Stack
    url: str
    """The provider."""
    directory: Path

    @property
    def admin_url(self) -> str:
        """The superuser's URL, which psycopg reads."""
        return self.stack.endpoints.admin_url

    @property
    def broker_url(self) -> str:
        """The broker, as kombu names a Unix socket."""
        path = self.stack.endpoints.broker_url.removeprefix("unix://").partition("?")[0]
        return f"redis+socket://{path}"

    def environment(self) -> dict[str, str]:
        """Return the environment of every process."""
        endpoints = self.stack.endpoints
        return {
            **os.environ,
            **endpoints.environment(),
            "PYTHONPATH": str(_ROOT),
            "BENCH_URL": self.url,
            "BENCH_BROKER": self.broker_url,
            "BENCH_DATABASE": self.admin_url,
            "GENQUEUE_HOME": str(self.directory / "worker"),
            "GENQUEUE_BLOOM_BASE_URL": self.url,
            "GENQUEUE_BLOOM_API_KEY": "bench-key",
            "GENQUEUE_BLOOM_BRAND_SESSION_ID": "00000000-0000-0000-0000-000000000000",
            "GENQUEUE_BLOOM_CONCURRENCY": "100",
            "GENQUEUE_BLOOM_LIMITS": "none",
            "GENQUEUE_ALLOW_PRIVATE_URLS": "127.0.0.1",
            "GENQUEUE_POLL_FIRST_SECONDS": "1",
            "GENQUEUE_POLL_MAX_SECONDS": "1.5",
        }

    def reset(self) -> None:
        """Forget the run before this one."""
        urllib.request.urlopen(f"{self.url}/reset", data=b"").close()  # noqa: S310 - our own stand-in
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_statements_reset()")

    def provider(self) -> dict[str, Any]:
        """Return what the stand-in has seen."""
        with urllib.request.urlopen(f"{self.url}/state") as answer:  # noqa: S310 - our own stand-in
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def open_site() -> Iterator[Site]:
    """Start everything that rivals share, and end it afterwards."""
    with TemporaryDirectory(prefix="genqueue-bench-") as place, Stack(Home(Path(place) / "home")) as stack:
        _count_statements(stack)
        migrate_quietly(load(database_url=stack.endpoints.owner_url), {"worker": APP_ROLE})
        with _stand_in() as url:
            yield Site(stack, url, Path(place))


def _count_statements(stack: Stack) -> None:
    url = stack.endpoints.admin_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    stack.restart("postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
        connection.execute(rival.TABLE)


@contextmanager
def _stand_in() -> Iterator[str]:
    command = [sys.executable, "-m", "ops.bench.job.stand_in"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - ours
        try:
            yield next(iter(process.stdout or ())).strip()
        finally:
            process.terminate()
