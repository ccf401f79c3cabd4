"""Bringing a database to the schema that this code needs, and telling when it is not there."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from shared.db.engine import transaction
from shared.db.tables import metadata

_LOCK = 0x67656E7175657565  # "genqueue": migrations run one at a time


class SchemaError(Exception):
    """The database's schema is older or newer than this code; the message says what to run."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def wanted_revision() -> str:
    """Return the newest revision this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current_revision(connection: Connection) -> str | None:
    """Return the database's revision; None where it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> str:
    """Bring the database to the newest revision and return it; safe to run by many at once."""
    config = _config()
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _refuse_newer(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return wanted_revision()


def check(engine: Engine) -> None:
    """Raise `SchemaError` unless the database stands at exactly the revision of this code."""
    with transaction(engine) as connection:
        _refuse_newer(connection)
        current = current_revision(connection)
    if current != wanted_revision():
        raise SchemaError(
            f"the database's schema is {current or 'empty'}, this code needs {wanted_revision()}: run `genqueue migrate`"
        )


def differences(engine: Engine) -> list[Any]:
    """Return what alembic sees between the tables in the database and those in `tables`; empty when equal."""
    with transaction(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def _refuse_newer(connection: Connection) -> None:
    current = current_revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(f"the database's schema {current} is newer than this code: upgrade genqueue")
