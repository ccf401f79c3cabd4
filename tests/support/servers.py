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

_TEMPLATE: Final = "genqueue_template"
_NUMBERS = itertools.count(1)
_LEAVE: Final = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
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
# Foreign keys and triggers are out of force meanwhile.
_EMPTY: Final = """
DO $$
DECLARE
  found regclass;
  grown regclass[] := '{}';
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR found IN SELECT oid FROM pg_class
    WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
      AND pg_relation_size(oid) > 0
  LOOP
    IF pg_relation_size(found) > 65536 THEN grown := grown || found;
    ELSE EXECUTE format('DELETE FROM %s', found);
    END IF;
  END LOOP;
  IF cardinality(grown) > 0 THEN
    EXECUTE 'TRUNCATE ' || array_to_string(grown, ', ') || ' CASCADE';
  END IF;
  FOR found IN SELECT oid FROM pg_class WHERE relnamespace = 'genqueue'::regnamespace AND relkind = 'S' LOOP
    PERFORM setval(found, 1, false);
  END LOOP;
END $$
"""


@dataclass(frozen=True)
class Databases:
    """Lends databases that have the whole schema already: copies of a template, emptied after each test.

    A copy takes a second of two busy cores, emptying one some milliseconds. A database is lent under a new name each
    time, so that nothing that a test left running reaches the rows of the next.
    """

    endpoints: Endpoints
    _clean: list[tuple[str, str]] = field(default_factory=list)
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
        """End the connection; the databases go with the servers."""
        for connection in self._admins:
            connection.close()

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """Yield the URL of an empty database, migrated unless told otherwise."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        shape = self._lend(name) if migrated else ""
        if not migrated:
            self._admin("CREATE DATABASE {} OWNER {} TEMPLATE template0", name, OWNER_ROLE)
        try:
            yield self._url(name)
        finally:
            if migrated and self._emptied(name, shape):
                self._clean.append((name, shape))
            else:
                self._admin("DROP DATABASE {} WITH (FORCE)", name)

    def _lend(self, name: str) -> str:
        if self._clean:
            before, shape = self._clean.pop()
            self._admin("ALTER DATABASE {} RENAME TO {}", before, name)
            return shape
        self._admin("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, OWNER_ROLE, _TEMPLATE)
        with self._connect(name) as connection:
            return _shape(connection)

    def _emptied(self, name: str, shape: str) -> bool:
        """Empty a database; False where it is not as it was made in anything but its rows."""
        try:
            with self._connect(name) as connection:
                connection.execute(_LEAVE)
                if _shape(connection) != shape:
                    return False
                connection.execute(_EMPTY)
        except psycopg.Error:
            return False
        return True

    def _url(self, name: str) -> str:
        return self.endpoints.owner_url.rpartition("/")[0] + f"/{name}"

    def _connect(self, name: str) -> "psycopg.Connection[Any]":
        """Return a superuser's connection: only one may put triggers out of force."""
        url = self.endpoints.admin_url.rpartition("/")[0] + f"/{name}"
        return psycopg.connect(url, autocommit=True)

    def _admin(self, statement: LiteralString, *names: str) -> None:
        if not self._admins:
            plain = self.endpoints.admin_url
            self._admins.append(psycopg.connect(plain, autocommit=True))
        self._admins[0].execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _shape(connection: "psycopg.Connection[Any]") -> str:
    (row,) = connection.execute(_SHAPE).fetchall()
    return str(row[0])
