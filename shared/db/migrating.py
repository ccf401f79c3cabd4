"""Migrates a database to the schema that this code needs, with alembic."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from shared import catalog
from shared.db.engine import transaction
from shared.db.rows import metadata
from shared.db.schema import (
    SERVES_TOO,
    VERSIONS,
    SchemaError,
    current_revision,
    expands,
    known_revisions,
    refuse_newer,
    wanted_revision,
)
from shared.db.search_path import IN_PUBLIC
from shared.db.workers import ALIVE_SECONDS

_LOCK: Final = 0x67656E7175657565  # "genqueue": migrations run one at a time
_NAME: Final = text("SELECT current_setting('search_path')")
_HAS_SCHEMA: Final = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = current_setting('search_path'))")
_IN_PUBLIC: Final = text(f"SELECT {IN_PUBLIC}")
_TICKING: Final = text("""
SELECT name FROM worker WHERE last_tick_at > now() - :alive * interval '1 second' ORDER BY name
""")
_OTHER_PROVIDERS: Final = text("""
SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'known_providers'
  AND pronamespace = to_regnamespace(quote_ident(current_schema()))
  AND prosrc <> format('SELECT CAST(%L AS text[])', CAST(:names AS text[])))
""")
_PROVIDERS: Final = """
CREATE OR REPLACE FUNCTION known_providers() RETURNS text[] LANGUAGE sql STABLE AS
$$SELECT CAST('{{{names}}}' AS text[])$$
"""
_NAMED: Final = 5
_NOT_OWNER: Final = "this role may not change the tables: run `genqueue migrate` as their owner"


def migrate(engine: Engine, *, to: str = "head") -> str:
    """Migrate the database to the newest revision and return it. Several processes may run it at once.

    `to` stops at an older revision, for tests of upgrades. Raises `SchemaError` if running workers would break, if the
    schema may not be created, or if another schema already holds an installation.
    """
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        refuse_newer(connection)
        _make_schema(connection)
        goal = wanted_revision() if to == "head" else to
        # A newer revision that also serves this code is left alone.
        if (current_revision(connection) or "") < goal:
            _refuse_beside_workers(connection, goal)
            with _as_owner():
                _upgrade(connection, goal)
        _name_providers(connection)
    return goal


def _upgrade(connection: Connection, goal: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    config.attributes["connection"] = connection
    command.upgrade(config, goal)
    before = known_revisions()[max(known_revisions().index(goal) - 1, 0)]
    said = f"'{SERVES_TOO}{before}'" if expands(goal) else "NULL"
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS {said}"))


def _name_providers(connection: Connection) -> None:
    """Tell the SQL function `enqueue` which providers this code knows, if it knows others."""
    given = {"names": list(catalog.names())}
    if connection.execute(_OTHER_PROVIDERS, given).scalar_one():
        # The names are those of files in `shared/catalog`: a letter, then letters, digits and underscores.
        with _as_owner():
            connection.execute(text(_PROVIDERS.format(names=",".join(given["names"]))))


def _make_schema(connection: Connection) -> None:
    """Create the connection's schema if it is missing."""
    name = connection.execute(_NAME).scalar_one().strip('"')
    if connection.execute(_HAS_SCHEMA).scalar_one():
        return
    if connection.execute(_IN_PUBLIC).scalar_one():
        raise SchemaError(
            f"this database has a queue in the schema public, and GENQUEUE_DATABASE_SCHEMA names {name}: unset it, or "
            "move the tables there first (docs/leaving.md)"
        )
    how = f"an administrator runs CREATE SCHEMA {name} AUTHORIZATION ROLE"
    with _as_owner(f"this role may not make the schema {name}: {how}"):
        connection.execute(text(f'CREATE SCHEMA "{name}"'))


@contextmanager
def _as_owner(otherwise: str = _NOT_OWNER) -> Iterator[None]:
    """Raise a `SchemaError` with `otherwise` if the role lacks the right to do this."""
    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise SchemaError(otherwise) from None


def _refuse_beside_workers(connection: Connection, goal: str) -> None:
    """Raise `SchemaError` if a pending migration would remove something that a running worker uses."""
    current = current_revision(connection)
    if current is None:
        return
    breaking = [one for one in known_revisions() if current < one <= goal and not expands(one)]
    names = connection.execute(_TICKING, {"alive": ALIVE_SECONDS}).scalars().all() if breaking else []
    if names:
        shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        raise SchemaError(
            f"migration {breaking[0]} changes what running workers use: stop all workers first ({len(names)} run: "
            f"{shown}), then run `genqueue migrate` again"
        )


def differences(engine: Engine) -> list[Any]:
    """Return the differences that alembic sees between the database and `tables`; empty if there are none."""
    with transaction(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))
