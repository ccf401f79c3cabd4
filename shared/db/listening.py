"""A separate session that receives wake-ups and holds the lock that proves its worker alive."""

from typing import Any

import psycopg

from shared.db.engine import Engine, plain_connection
from shared.db.waking import WAKE_CHANNEL


class Listener:
    """Waits for wake-ups on one connection that also holds the worker's session lock.

    Use it from one thread. A lost connection shows as `psycopg.OperationalError`; make a new `Listener` then.
    """

    def __init__(self, engine: Engine, lock_key: int) -> None:
        self._connection: psycopg.Connection[Any] = plain_connection(engine, "genqueue dispatcher")
        try:
            self._connection.execute("SELECT pg_advisory_lock(%s)", (lock_key,))
            self._connection.execute(f"LISTEN {WAKE_CHANNEL}")
        except psycopg.Error:
            self._connection.close()
            raise

    def wait(self, seconds: float) -> bool:
        """Return whether a wake-up came within `seconds`."""
        woken = False
        for _notice in self._connection.notifies(timeout=seconds, stop_after=1):
            woken = True
        return woken

    def is_alive(self) -> bool:
        """Tell whether the session still lives, and with it the lock; one that does not is closed."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self._connection.close()
            return False
        return True

    def close(self) -> None:
        """End the session; its lock goes with it."""
        self._connection.close()
