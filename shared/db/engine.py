"""The connection pool: every connection has time limits, so that no stuck peer can hold a row forever."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege, InvalidPassword, LockNotAvailable, ReadOnlySqlTransaction
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)

from shared.db import search_path
from shared.db.arrays import ArrayDumper

__all__ = [
    "PLAN_ONCE",
    "Connection",
    "DatabaseUnavailableError",
    "Engine",
    "UnfitServerError",
    "UnreadableJson",
    "connect_arguments",
    "is_forbidden",
    "is_kept_waiting",
    "is_violation",
    "may_pass",
    "open_engine",
    "place",
    "plain_connection",
    "question",
    "transaction",
]

_BOUNDS = {
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}
# Planned for each call anew, our statements took a fifth of PostgreSQL's time. A plan that is kept must be right for
# tables that grow: one that is made for an empty table would read it whole from then on. Where nothing can replace such
# a read, PostgreSQL before 18 takes it for so dear that it compiles each call first, for tens of milliseconds.
PLAN_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}
"""The settings of sessions that ask the same again and again."""
# The last one, in milliseconds, bounds unacknowledged data, which keepalives do not cover.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_UNPREPARED = {"prepare_threshold": None}  # another session does not know a prepared statement
_PREPARED_AFTER = 5  # psycopg's own default
_PREPARED_SOON = {"prepare_threshold": 1}  # what is asked a second time is asked again and again
_SCHEMA = "genqueue_schema"
_USED_AT = "genqueue_used_at"
_RESTED_SECONDS = 1.0  # a ping costs as much as a short statement
_LEAST_VERSION = 150_000
READ_ONLY = "takes no writes: name the primary in GENQUEUE_DATABASE_URL, or take read-only mode away"
"""What is said of a standby, and of a server or a role that is set to read-only."""


class DatabaseUnavailableError(Exception):
    """The database cannot be reached or refuses us; the message says where and what to do, without secrets."""


class UnfitServerError(DatabaseUnavailableError):
    """This server cannot keep what the queue relies on, now or later; the message says why and what to do."""


def connect_arguments(application: str) -> dict[str, Any]:
    """Return libpq's parameters for our connections; times are in PostgreSQL's units.

    There are no `options`, because PgBouncer refuses a connection that has some. `search_path` sets the bounds.
    """
    return {"connect_timeout": 10, "application_name": application, "client_encoding": "UTF8", **_KEEPALIVE}


def open_engine(
    url: SecretStr,
    *,
    application: str,
    pool_size: int = 5,
    schema: str = "",
    may_be_pooled: bool = False,
    plan_once: bool = False,
) -> Engine:
    """Return an engine for `url`; nothing is connected yet.

    `schema` contains our tables; empty: `public` if an older installation uses it, else `genqueue`. `may_be_pooled`
    is for a process that may be behind a pooler which gives each transaction another session. `plan_once` is for a
    process that asks the same statements again and again. Raises `DatabaseUnavailableError` if the URL itself cannot
    be read.
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
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={
            **connect_arguments(application),
            **(_UNPREPARED if may_be_pooled else {}),
            **(_PREPARED_SOON if plan_once else {}),
        },
        execution_options={_SCHEMA: schema},
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=30,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    search_path.attach(engine, schema, _BOUNDS | (PLAN_ONCE if plan_once else {}), may_be_pooled=may_be_pooled)
    event.listen(engine, "connect", _adapt)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ping_if_idle)
    event.listen(engine, "connect", lambda connection, _record: _require_fit(connection), insert=True)
    return engine


def _require_fit(connection: psycopg.Connection[Any]) -> None:
    """Close a connection to a server that we cannot even read from; the server itself says so, unasked."""
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    why = ""
    if 0 < version < _LEAST_VERSION:
        why = f"is version {version // 10_000}: genqueue needs PostgreSQL 15 or newer"
    elif encoding not in (None, "UTF8"):
        why = f"has the encoding {encoding}: make a database with ENCODING 'UTF8' TEMPLATE template0"
    if why:
        where = f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}"
        connection.close()
        raise UnfitServerError(f"PostgreSQL at {where} {why}")


class UnreadableJson(dict[str, Any]):
    """What is read instead of JSON that Python refuses: an empty object, and in words why."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class _AnyTime(TimestamptzLoader):
    """Reads a time beyond Python's range (the year 10000, infinity) as Python's last."""

    def load(self, data: Any) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return datetime.max.replace(tzinfo=UTC)


def _adapt(connection: psycopg.Connection[Any], _record: object) -> None:
    """Let a connection read every value that its server can store, and write lists cheaply."""
    connection.adapters.register_dumper(list, ArrayDumper)
    connection.adapters.register_loader("timestamptz", _AnyTime)
    set_json_loads(_read_json, connection)


def _read_json(data: str | bytes) -> Any:
    """Read JSON as the database stores it: it takes numbers of 131,072 digits, and thousands of levels."""
    try:
        return json.loads(data)
    except RecursionError:
        return UnreadableJson("is JSON nested too deeply")
    except ValueError:
        return UnreadableJson("contains a number with too many digits")


def _note_use(_connection: object, record: Any) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ping_if_idle(connection: psycopg.Connection[Any], record: Any, _proxy: object) -> None:
    """Ask a connection that has rested whether it still lives: a restart of the database leaves dead ones behind."""
    if time.monotonic() - record.info.get(_USED_AT, 0.0) < _RESTED_SECONDS:
        return
    try:
        connection.autocommit = True  # else the ping would begin a transaction and roll it back
        connection.execute("")
        connection.autocommit = False
    except psycopg.Error as error:
        raise DisconnectionError("the connection had died while it rested") from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that commits at the end.

    Raises `DatabaseUnavailableError` if the database cannot be reached; other faults pass through.
    """
    with _named_errors(engine), engine.begin() as connection:
        yield connection


@contextmanager
def question(engine: Engine) -> Iterator[Connection]:
    """Yield a connection on which each statement is a transaction of its own, without BEGIN and COMMIT, and prepared.

    It is for statements that are asked often. Behind a pooler they share one transaction, and are not prepared.
    Raises as `transaction`.
    """
    with _named_errors(engine), engine.connect() as connection:
        if not search_path.has_own_session(connection):
            with connection.begin():
                yield connection
            return
        with _preparing(connection):
            yield connection.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def _preparing(connection: Connection) -> Iterator[None]:
    """Let the server keep the plans of what is asked often, for as long as this lasts.

    A process that may be behind a pooler prepares nothing else: a migration may change what `SELECT job.*` returns,
    and the server refuses such a statement from then on.
    """
    session: Any = connection.connection.driver_connection
    before = session.prepare_threshold
    session.prepare_threshold = _PREPARED_AFTER if before is None else before
    try:
        yield
    finally:
        session.prepare_threshold = before


@contextmanager
def _named_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailableError(_unavailable(engine, error)) from error
    except InternalError as error:
        if isinstance(error.orig, ReadOnlySqlTransaction):
            raise UnfitServerError(f"{place(engine)} {READ_ONLY}") from error
        raise


def plain_connection(engine: Engine, application: str) -> psycopg.Connection[Any]:
    """Return an autocommit connection outside the pool, for LISTEN, session locks and COPY.

    Raises `psycopg.OperationalError` if the database cannot be reached.
    """
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url, autocommit=True, **connect_arguments(application))
    _require_fit(connection)
    try:
        search_path.settle(connection, engine.get_execution_options()[_SCHEMA], _BOUNDS)
    except BaseException:
        connection.close()
        raise
    return connection


def place(engine: Engine) -> str:
    """Return in words where the database is, without secrets."""
    return f"PostgreSQL at {engine.url.host or 'localhost'}:{engine.url.port or 5432}/{engine.url.database}"


def _unavailable(engine: Engine, error: DBAPIError) -> str:
    where = place(engine)
    if isinstance(error.orig, (InvalidPassword, InsufficientPrivilege)) or "authentication" in str(error.orig):
        return f"{where} refuses the user {engine.url.username!r}; check GENQUEUE_DATABASE_URL"
    return f"{where} cannot be reached or gave up: {str(error.orig).strip().splitlines()[0]}"


def is_forbidden(error: BaseException) -> bool:
    """Tell whether PostgreSQL refused a statement because our role lacks the right to it."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, InsufficientPrivilege)


def is_kept_waiting(error: BaseException) -> bool:
    """Tell whether a statement gave up because somebody else's transaction holds what it needs."""
    found = error.__cause__ if isinstance(error, DatabaseUnavailableError) else error
    return isinstance(found, DBAPIError) and isinstance(found.orig, LockNotAvailable)


def is_violation(error: BaseException) -> bool:
    """Tell whether a constraint refused what a statement wrote."""
    return isinstance(error, IntegrityError)


def may_pass(error: BaseException) -> bool:
    """Tell whether the database failed, so that the same may succeed later; not if it cannot store a value."""
    failed = isinstance(error, DatabaseUnavailableError | SQLAlchemyError | psycopg.Error)
    return failed and not isinstance(error, DataError | psycopg.DataError)
