"""Tells whether a pooler stands between us and PostgreSQL, which may give each transaction another session."""

import os
import socket
from typing import Any, Final

import psycopg

# A Unix socket has no port, on either side.
_SEEN_BY_SERVER: Final = "SELECT pg_backend_pid(), inet_client_port()"


def is_between(connection: psycopg.Connection[Any]) -> bool:
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
