"""Whether a database stands at the schema that this code needs; light, for every command asks it."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

from shared.db.engine import transaction

VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_REVISION: Final = re.compile(r"(\d{4})_\w+\.py")
_HAS_TABLE: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_CURRENT: Final = text("SELECT version_num FROM alembic_version")


class SchemaError(Exception):
    """The database's schema is older or newer than this code; the message says what to run."""


def known_revisions() -> list[str]:
    """Return the revisions this code has, oldest first: the numbers that their files begin with."""
    return sorted(found[1] for path in VERSIONS.iterdir() if (found := _REVISION.fullmatch(path.name)))


def wanted_revision() -> str:
    """Return the newest revision this code knows."""
    return known_revisions()[-1]


def current_revision(connection: Connection) -> str | None:
    """Return the database's revision; None where it was never migrated."""
    if not connection.execute(_HAS_TABLE).scalar_one():
        return None
    return connection.execute(_CURRENT).scalar_one_or_none()


def is_current(engine: Engine) -> bool:
    """Tell whether nothing has to be migrated; raises `SchemaError` where the schema is newer than this code."""
    with transaction(engine) as connection:
        refuse_newer(connection)
        return current_revision(connection) == wanted_revision()


def check(engine: Engine) -> None:
    """Raise `SchemaError` unless the database stands at exactly the revision of this code."""
    with transaction(engine) as connection:
        refuse_newer(connection)
        current = current_revision(connection)
    if current != wanted_revision():
        needed = wanted_revision()
        raise SchemaError(
            f"the database's schema is {current or 'empty'}, this code needs {needed}: run `genqueue migrate`"
        )


def refuse_newer(connection: Connection) -> None:
    """Raise `SchemaError` where the database's schema is one that this code does not know."""
    current = current_revision(connection)
    if current is not None and current not in known_revisions():
        raise SchemaError(f"the database's schema {current} is newer than this code: upgrade genqueue")
