"""Tells whether this code can use a database's schema. It is cheap, because every command asks it.

A migration is marked `expands = True` if it only adds and its code works without the addition. The code before it and
the code after it then both work with the database on either side, so nothing has to stop for it.
"""

import re
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

from shared.db.engine import transaction

VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_REVISION: Final = re.compile(r"(\d{4})_\w+\.py")
_EXPANDS: Final = re.compile(r"^expands = True\b", re.MULTILINE)
_HAS_TABLE: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_CURRENT: Final = text("SELECT version_num FROM alembic_version")
_SERVES: Final = text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")
_UNUSABLE: Final = text("""
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'alembic_version' AND n.nspname = current_setting('search_path')
  AND NOT has_schema_privilege(n.oid, 'USAGE')
""")
SERVES_TOO: Final = "serves code of revision "
"""How the version table's comment begins if the newest migration expands: code from before it may go on."""


class SchemaError(Exception):
    """The database's schema cannot be used by this code; the message says what to run."""


def known_revisions() -> list[str]:
    """Return this code's revisions, oldest first: the numbers at the beginning of their files' names."""
    return sorted(_files())


def wanted_revision() -> str:
    """Return the newest revision this code knows."""
    return known_revisions()[-1]


def expands(revision: str) -> bool:
    """Tell whether the code before a revision and the code after it both work on either side of it."""
    return bool(_EXPANDS.search(_files()[revision].read_text("utf-8")))


def usable_revisions() -> list[str]:
    """Return the revisions that this code works with: its own, and the previous one if its own expands."""
    known = known_revisions()
    return known[-2:] if expands(known[-1]) else known[-1:]


def current_revision(connection: Connection) -> str | None:
    """Return the database's revision; None where it was never migrated."""
    if not connection.execute(_HAS_TABLE).scalar_one():
        return None
    return connection.execute(_CURRENT).scalar_one_or_none()


def is_current(engine: Engine) -> bool:
    """Tell whether nothing has to be migrated; raises `SchemaError` where the schema is newer than this code."""
    with transaction(engine) as connection:
        refuse_newer(connection)
        return current_revision(connection) == wanted_revision() or _is_served(connection)


def check(engine: Engine) -> None:
    """Raise `SchemaError` unless this code works with the database's revision."""
    with transaction(engine) as connection:
        refuse_newer(connection)
        current = current_revision(connection)
        if current in usable_revisions() or _is_served(connection):
            return
        hidden = None if current else connection.execute(_UNUSABLE).scalar_one_or_none()
    if hidden:
        raise SchemaError(f"this role may not use the schema {hidden}: its owner runs `genqueue migrate --grant`")
    needed = wanted_revision()
    raise SchemaError(
        f"the database's schema is {current or 'empty'}, this code needs {needed}: run `genqueue migrate`"
    )


def refuse_newer(connection: Connection) -> None:
    """Raise `SchemaError` where this code does not know the database's schema, and that does not serve it."""
    current = current_revision(connection)
    if current is not None and current not in known_revisions() and not _is_served(connection):
        raise SchemaError(f"the database's schema {current} is newer than this code: upgrade genqueue")


def _is_served(connection: Connection) -> bool:
    """Tell whether the database says that it serves this code too: its newest migration only added to what we need."""
    return bool(connection.execute(_SERVES).scalar_one() == SERVES_TOO + wanted_revision())


def _files() -> dict[str, Path]:
    return {found[1]: path for path in VERSIONS.iterdir() if (found := _REVISION.fullmatch(path.name))}
