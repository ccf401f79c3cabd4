"""How a command finds its servers: by URL, else the running stack of this home, else PostgreSQL alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.stack import Endpoints, Home, database_alone
from producer.cli.session import errors
from producer.client import Client
from shared.db import schema
from shared.db.engine import open_engine
from shared.settings import Settings, load

_ADOPTED: set[str] = set()


@contextmanager
def joined() -> Iterator[Settings]:
    """Yield settings whose database answers; a database of ours is brought to the schema first.

    Raises `SettingsError`, `StackError`, `DatabaseUnavailableError` or `SchemaError`.
    """
    settings = load()
    if settings.database_url.get_secret_value():
        yield settings
        return
    home = Home(settings.home.absolute())
    alone = home.running() is None
    with database_alone(home) as endpoints:
        adopt(endpoints)
        settings = load()
        migrate_quietly(settings)
        if alone:
            errors().print(f"nothing runs in {_shown(settings.home)}: using its database alone", markup=False)
        yield settings


def adopt(endpoints: Endpoints) -> None:
    """Make this process, and its children, use the servers at `endpoints`."""
    os.environ.update(endpoints.environment())
    _ADOPTED.update(endpoints.environment())


def adopted() -> frozenset[str]:
    """Return the variables that come from a home's own servers, not from whoever started this process."""
    return frozenset(_ADOPTED)


def migrate_quietly(settings: Settings) -> None:
    """Bring the database to the schema of this code."""
    engine = open_engine(settings.database_url, application="genqueue migrate", pool_size=1)
    try:
        if not schema.is_current(engine):
            from shared.db.migrating import migrate  # noqa: PLC0415 - alembic takes half a second to import

            migrate(engine)
    finally:
        engine.dispose()


@contextmanager
def open_client() -> Iterator[Client]:
    """Yield a client of the servers that this command finds."""
    with joined() as settings, Client(settings=settings) as opened:
        yield opened


def _shown(path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
