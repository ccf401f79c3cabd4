"""What a worker needs of PostgreSQL, proved before it claims anything: writes, sessions of its own, and wake-ups."""

import secrets
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, text

from shared.db.engine import (
    READ_ONLY,
    DatabaseUnavailableError,
    UnfitServerError,
    place,
    plain_connection,
    transaction,
)

_WRITES: Final = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'")
_HEARD_SECONDS: Final = 3.0
_POOLED: Final = (
    "gives each transaction another session, or keeps no session locks, so that a worker's lock proves nothing: give "
    "workers the address of PostgreSQL itself, or of a pool in session mode; producers can stay"
)
_UNHEARD: Final = (
    "does not pass on NOTIFY, so that nothing wakes a worker: give workers the address of PostgreSQL itself, or of a "
    "pool in session mode"
)


def prove(engine: Engine) -> None:
    """Return where a worker can rely on this server.

    Raises `UnfitServerError` where it cannot, and `DatabaseUnavailableError` where the server cannot be reached.
    """
    with transaction(engine) as connection:
        why = READ_ONLY if _takes_no_writes(connection) else None
    try:
        why = why or fault_of_sessions(lambda: plain_connection(engine, "genqueue start"))
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(f"{place(engine)} cannot be reached: {type(error).__name__}") from error
    if why:
        raise UnfitServerError(f"{place(engine)} {why}")


def _takes_no_writes(connection: Connection) -> bool:
    return bool(connection.execute(_WRITES).scalar_one())


def fault_of_sessions(connect: Callable[[], "psycopg.Connection[Any]"]) -> str | None:
    """Return in words what is wrong with sessions, None where a worker can rely on them.

    A lock is taken on one connection and looked for from another, as workers look whether a sender lives; both must
    meanwhile keep their sessions. Then one must hear the other. `connect` gives a connection in autocommit.
    """
    key = secrets.randbits(62)
    channel = f"genqueue_proof_{key:x}"
    with closing(connect()) as mine, closing(connect()) as other:
        mine.execute("SELECT pg_advisory_lock(%s)", (key,))
        mine.execute(f"LISTEN {channel}".encode())
        try:
            session = _session(mine)
            with other.transaction():
                free = other.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", (key,)).fetchone() == (True,)
                if free or _session(other) == session or _session(mine) != session:
                    return _POOLED
            other.execute("SELECT pg_notify(%s, '')", (channel,))
            heard = any(mine.notifies(timeout=_HEARD_SECONDS, stop_after=1))
            return None if heard else _UNHEARD
        finally:
            # Behind a pooler the session goes on: as little as possible is left in it.
            mine.execute(f"UNLISTEN {channel}".encode())
            mine.execute("SELECT pg_advisory_unlock(%s)", (key,))


def _session(connection: "psycopg.Connection[Any]") -> Any:
    return connection.execute("SELECT pg_backend_pid()").fetchone()
