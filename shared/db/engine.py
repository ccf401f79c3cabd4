"""The connection pool: every connection is bounded, so that no stuck peer can hold a row for ever."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege, InvalidPassword
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

__all__ = [
    "Connection",
    "DatabaseUnavailableError",
    "Engine",
    "TryAgainError",
    "commit_all",
    "connect_arguments",
    "open_engine",
    "plain_connection",
    "transaction",
]

_BOUNDS = {
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


class DatabaseUnavailableError(Exception):
    """The database cannot be reached or refuses us; the message says where and what to do, without secrets."""


def connect_arguments(application: str) -> dict[str, Any]:
    """Return libpq's parameters for a connection of ours; times are in the units of PostgreSQL."""
    options = " ".join(f"-c {name}={value}" for name, value in _BOUNDS.items())
    return {"connect_timeout": 10, "application_name": application, "options": options, **_KEEPALIVE}


def open_engine(url: SecretStr, *, application: str, pool_size: int = 5) -> Engine:
    """Return an engine for `url`; nothing is connected yet.

    Raises `DatabaseUnavailableError` where the URL itself cannot be read.
    """
    if not url.get_secret_value():
        raise DatabaseUnavailableError(
            "GENQUEUE_DATABASE_URL is not set; `genqueue env` prints that of a running stack"
        )
    try:
        parsed = make_url(url.get_secret_value())
    except ArgumentError:
        raise DatabaseUnavailableError(
            "GENQUEUE_DATABASE_URL is not a URL such as postgresql://user:password@host/name"
        ) from None
    if parsed.get_backend_name() != "postgresql":
        raise DatabaseUnavailableError(
            f"GENQUEUE_DATABASE_URL names {parsed.get_backend_name()}; genqueue needs PostgreSQL 15 or newer"
        )
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args=connect_arguments(application),
        pool_size=pool_size,
        max_overflow=2,
        pool_pre_ping=True,
        pool_timeout=30,
        hide_parameters=True,
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that commits at the end.

    Raises `DatabaseUnavailableError` where the database cannot be reached; other faults pass through.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailableError(_unavailable(engine, error)) from error


def plain_connection(engine: Engine, application: str) -> psycopg.Connection[Any]:
    """Return an autocommit connection outside the pool, for LISTEN, session locks and COPY.

    Raises `psycopg.OperationalError` where the database cannot be reached.
    """
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True, **connect_arguments(application))


def _unavailable(engine: Engine, error: DBAPIError) -> str:
    where = f"PostgreSQL at {engine.url.host or 'localhost'}:{engine.url.port or 5432}/{engine.url.database}"
    if isinstance(error.orig, (InvalidPassword, InsufficientPrivilege)) or "authentication" in str(error.orig):
        return f"{where} refuses the user {engine.url.username!r}; check GENQUEUE_DATABASE_URL"
    return f"{where} cannot be reached or gave up: {str(error.orig).strip().splitlines()[0]}"


class TryAgainError(Exception):
    """One write met a lock, a deadlock or a full disk while the connection lives on: it may pass."""


def commit_all(engine: Engine, works: list[Callable[[Connection], Any]]) -> list[Any]:
    """Run `works` in one transaction, each in a savepoint, and return each one's result or exception.

    Raises where the connection was lost, so that nothing or everything may have been committed: works must be safe
    to repeat. What may pass by itself comes back as `TryAgainError`.
    """
    results: list[Any] = []
    with engine.begin() as connection:
        for work in works:
            try:
                with connection.begin_nested():
                    results.append(work(connection))
            except (OperationalError, InterfaceError) as error:
                if error.connection_invalidated or connection.invalidated:
                    raise
                results.append(TryAgainError(type(error.orig).__name__))
            except Exception as error:  # noqa: BLE001 - handed back to the one who asked for this write
                results.append(error)
    return results
