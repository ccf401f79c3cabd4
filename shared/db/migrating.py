"""Bringing a database to the schema that this code needs, with alembic."""

from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from shared.db.engine import transaction
from shared.db.schema import VERSIONS, refuse_newer, wanted_revision
from shared.db.tables import metadata

_LOCK = 0x67656E7175657565  # "genqueue": migrations run one at a time


def migrate(engine: Engine, *, to: str = "head") -> str:
    """Bring the database to the newest revision and return it; safe to run by many at once.

    `to` stops at an older one, for tests of the way from there.
    """
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        refuse_newer(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, to)
    return wanted_revision() if to == "head" else to


def differences(engine: Engine) -> list[Any]:
    """Return what alembic sees between the tables in the database and those in `tables`; empty when equal."""
    with transaction(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))
