"""Real PostgreSQL, Redis and S3 for a test run, with a clean database for each test."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from pydantic import SecretStr

from ops.stack import Endpoints
from ops.stack.config import OWNER_ROLE
from shared.db import migrating
from shared.db.engine import open_engine
from tests.support.kept_sessions import KeptSessions, Shelf
from tests.support.waiting import until

_TEMPLATE: Final = "genqueue_template"
_NUMBERS = itertools.count(1)
# Told to wait for their ends, PostgreSQL looks each tenth of a second.
_LEAVE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (%s)
"""
# What a test may have changed besides rows: a database that was changed so is thrown away.
_SHAPE: Final = """
SELECT md5(concat_ws('|',
  (SELECT string_agg(concat_ws(' ', oid, relname, relkind, reloptions, relacl), ',' ORDER BY oid)
    FROM pg_class WHERE relnamespace = 'genqueue'::regnamespace),
  (SELECT string_agg(concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef), ',' ORDER BY attrelid, attnum)
    FROM pg_attribute WHERE attnum > 0 AND attrelid IN (
      SELECT oid FROM pg_class WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'r')),
  (SELECT string_agg(concat_ws(' ', oid, tgname, tgenabled), ',' ORDER BY oid) FROM pg_trigger WHERE NOT tgisinternal),
  (SELECT string_agg(concat_ws(' ', oid, proname, md5(prosrc)), ',' ORDER BY oid) FROM pg_proc
    WHERE pronamespace = 'genqueue'::regnamespace),
  (SELECT string_agg(concat_ws(' ', oid, conname), ',' ORDER BY oid) FROM pg_constraint
    WHERE connamespace = 'genqueue'::regnamespace),
  (SELECT string_agg(version_num, ',') FROM genqueue.alembic_version),
  (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_'),
  (SELECT string_agg(setconfig::text, ',' ORDER BY setrole) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))))
"""
# Deleting a few rows is quicker than new files for a table and its indexes; a table that has grown gets new ones.
_GROWN: Final = """
SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') || ' CASCADE' FROM pg_class
WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
  AND pg_relation_size(oid) > 65536
"""
# One statement for all tables, which its session plans once.
_DELETE_ALL: Final = """
SELECT 'WITH ' || string_agg(format('d%s AS (DELETE FROM %s)', oid, oid::regclass), ', ')
  || ' SELECT ' || (SELECT string_agg(format('setval(%L, 1, false)', oid::regclass), ', ') FROM pg_class
    WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'S')
FROM pg_class WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
"""
# ALTER DATABASE ... RENAME would have nobody connected, not even who empties the database.
_RENAME: Final = "UPDATE pg_database SET datname = %s WHERE datname = %s"


class _Emptier:
    """A superuser's session in one database: it empties it as often as it is given back.

    The session stays, so that its catalogs are read and its statements planned once. Foreign keys and triggers are out
    of force in it.
    """

    def __init__(self, url: str) -> None:
        replica = "-c session_replication_role=replica"
        self._connection = psycopg.connect(url, autocommit=True, options=replica, prepare_threshold=0)
        self.shelf = Shelf()
        self._shape = self._read(_SHAPE)
        self._delete_all = self._read(_DELETE_ALL)

    def empty(self) -> bool:
        """Empty the database; False where it is not as it was made in anything but its rows."""
        try:
            until(lambda: not self._connection.execute(_LEAVE, (self.shelf.processes(),)).fetchall())
            if self._read(_SHAPE) != self._shape:
                return False
            if truncate := self._read(_GROWN):
                self._connection.execute(truncate.encode(), prepare=False)
            self._connection.execute(self._delete_all.encode())
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        self.shelf.close()
        self._connection.close()

    def _read(self, statement: LiteralString) -> str:
        (row,) = self._connection.execute(statement).fetchall()
        return row[0] or ""


@dataclass(frozen=True)
class Databases:
    """Lends databases that have the whole schema already: copies of a template, emptied after each test.

    A copy takes a second of two busy cores, emptying one some milliseconds. A database is lent under a new name each
    time, so that nothing that a test left running reaches the rows of the next. While `sessions` are at work, engines
    have those of the tests before.
    """

    endpoints: Endpoints
    sessions: KeptSessions = field(default_factory=KeptSessions)
    _clean: list[tuple[str, _Emptier]] = field(default_factory=list)
    _admins: "list[psycopg.Connection[Any]]" = field(default_factory=list)

    def prepare(self) -> None:
        for name in ("full_page_writes", "autovacuum"):
            self._admin("ALTER SYSTEM SET {} = off", name)
        self._admin("SELECT pg_reload_conf()")
        self._admin("CREATE DATABASE {} OWNER {}", _TEMPLATE, OWNER_ROLE)
        engine = open_engine(SecretStr(self._url(_TEMPLATE)), application="tests", pool_size=1)
        migrating.migrate(engine)
        engine.dispose()

    def close(self) -> None:
        """End the connections; the databases go with the servers."""
        for _name, emptier in self._clean:
            emptier.close()
        for connection in self._admins:
            connection.close()

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """Yield the URL of an empty database, migrated unless told otherwise."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        emptier = self._lend(name) if migrated else None
        if not migrated:
            self._admin("CREATE DATABASE {} OWNER {} TEMPLATE template0", name, OWNER_ROLE)
        shelf = emptier.shelf if emptier else None
        try:
            with self.sessions.lent(self._url(name), shelf):
                yield self._url(name)
        finally:
            if emptier and emptier.empty():
                self._clean.append((name, emptier))
            else:
                self._drop(name, emptier)

    @contextmanager
    def copy_of(self, url: str) -> Iterator[str]:
        """Yield the URL of a copy of a database that nobody is connected to."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        self._admin("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, OWNER_ROLE, url.rpartition("/")[2])
        try:
            yield self._url(name)
        finally:
            self._drop(name, None)

    def _lend(self, name: str) -> _Emptier:
        if self._clean:
            before, emptier = self._clean.pop()
            self._admin_connection.execute(_RENAME, (name, before))
            return emptier
        self._admin("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, OWNER_ROLE, _TEMPLATE)
        return _Emptier(self.endpoints.admin_url.rpartition("/")[0] + f"/{name}")

    def _drop(self, name: str, emptier: _Emptier | None) -> None:
        if emptier:
            emptier.close()
        self._admin("DROP DATABASE {} WITH (FORCE)", name)

    def _url(self, name: str) -> str:
        return self.endpoints.owner_url.rpartition("/")[0] + f"/{name}"

    def _admin(self, statement: LiteralString, *names: str) -> None:
        self._admin_connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @property
    def _admin_connection(self) -> "psycopg.Connection[Any]":
        if not self._admins:
            self._admins.append(psycopg.connect(self.endpoints.admin_url, autocommit=True))
        return self._admins[0]
