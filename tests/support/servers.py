"""Real PostgreSQL, Redis and S3 for a test run, with a fresh database for each test."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from pydantic import SecretStr

from ops.stack import Endpoints
from shared.db import migrating
from shared.db.engine import open_engine

_TEMPLATE = "genqueue_template"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Databases:
    """Makes databases that have the whole schema already, by copying a template."""

    endpoints: Endpoints

    def prepare(self) -> None:
        # These servers die with the run: nothing has to survive the machine.
        for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            self._admin(f"ALTER SYSTEM SET {name} = off")
        self._admin("SELECT pg_reload_conf()")
        self._admin(f"CREATE DATABASE {_TEMPLATE}")
        engine = open_engine(SecretStr(self._url(_TEMPLATE)), application="tests", pool_size=1)
        migrating.migrate(engine)
        engine.dispose()

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """Yield the URL of a new, empty database, migrated unless told otherwise."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        try:
            yield self._url(name)
        finally:
            self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, name: str) -> str:
        return self.endpoints.database_url.rpartition("/")[0] + f"/{name}"

    def _admin(self, statement: str) -> None:
        plain = self.endpoints.database_url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement)
