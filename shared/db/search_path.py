"""Where our tables live: a schema of their own, put on each connection's search path, so that SQL stays unqualified.

Nothing else is on the path. An application that shares the database may have tables of the same names.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, event

DEFAULT: Final = "genqueue"
"""The schema of a new installation. One that lives in `public` already goes on there."""
_EACH_TRANSACTION: Final = "search_path"
# A Unix socket has no port, on either side.
_SEEN_BY_SERVER: Final = "SELECT pg_backend_pid(), inet_client_port()"
# This reads the catalog itself: to_regclass does not find what the role may not use. An application may have a table
# `alembic_version` in `public` too, so that a column which only ours has is asked for as well.
IN_PUBLIC: Final = """
(EXISTS (SELECT FROM pg_class c WHERE c.relname = 'alembic_version' AND c.relnamespace = to_regnamespace('public'))
  AND EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relname = 'submission' AND c.relnamespace = to_regnamespace('public') AND a.attname = 'sender_lock'))
"""
"""SQL: whether an installation of ours lives in `public`."""
_IN_OUR_OWN: Final = f"""
EXISTS (SELECT FROM pg_class c WHERE c.relname = 'alembic_version' AND c.relnamespace = to_regnamespace('{DEFAULT}'))
"""
_CHOOSE: Final = f"""
SELECT CASE WHEN {_IN_OUR_OWN} THEN '{DEFAULT}' WHEN {IN_PUBLIC} THEN 'public' ELSE '{DEFAULT}' END
"""


def attach(engine: Engine, schema: str, bounds: Mapping[str, str], *, may_be_pooled: bool) -> None:
    """Have every connection of `engine` work in `schema`, and within `bounds`; an empty `schema` is looked for.

    Both are set by statements: a pooler may drop what is asked for at the start of a session. Where one is found, with
    `may_be_pooled`, they are set in every transaction, and for that transaction only: it may give each transaction
    another session, and may give this session to an application afterwards.
    """

    def begin_session(connection: psycopg.Connection[Any], record: Any) -> None:
        connection.autocommit = True
        if may_be_pooled and pooler_is_between(connection):
            record.info[_EACH_TRANSACTION] = schema or choose(connection)
        else:
            settle(connection, schema, bounds)
        connection.autocommit = False

    def begin_transaction(connection: Connection) -> None:
        path = connection.info.get(_EACH_TRANSACTION)
        if path is not None:
            statement, values = _settings({"search_path": path, **bounds}, local=True)
            connection.exec_driver_sql(statement, values)

    # First, so that SQLAlchemy itself already asks within the schema.
    event.listen(engine, "connect", begin_session, insert=True)
    if may_be_pooled:
        event.listen(engine, "begin", begin_transaction)


def pooler_is_between(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server sees another peer than us; a forwarder that changes the port counts as a pooler.

    A pooler has connections of its own to the server, and names a process that it invented. The connection must be in
    autocommit. Raises `psycopg.Error`.
    """
    seen = connection.execute(_SEEN_BY_SERVER).fetchone()
    return seen != (connection.info.backend_pid, _own_port(connection.fileno()))


def _own_port(descriptor: int) -> int | None:
    """Return the port at our end of a connection; None for a Unix socket."""
    with socket.socket(fileno=os.dup(descriptor)) as end:
        return None if end.family == socket.AF_UNIX else int(end.getsockname()[1])


def has_own_session(connection: Connection) -> bool:
    """Tell whether what is set in this connection's session stays set: no pooler gives it to others."""
    return _EACH_TRANSACTION not in connection.info


def choose(connection: psycopg.Connection[Any]) -> str:
    """Return the schema in which our tables are, or would be made."""
    return str(connection.execute(_CHOOSE).fetchone()[0])  # type: ignore[index]


def settle(connection: psycopg.Connection[Any], schema: str, bounds: Mapping[str, str]) -> str:
    """Set the search path and `bounds` for a session, and return the schema; the connection must be in autocommit."""
    found = schema or choose(connection)
    statement, values = _settings({"search_path": found, **bounds}, local=False)
    connection.execute(statement.encode(), values)
    return found


def _settings(settings: Mapping[str, str], *, local: bool) -> tuple[str, tuple[str, ...]]:
    """Return one statement that sets them all; `local` until the transaction ends."""
    calls = ", ".join(f"set_config(%s, %s, {str(local).lower()})" for _ in settings)
    return f"SELECT {calls}", tuple(part for pair in settings.items() for part in pair)
