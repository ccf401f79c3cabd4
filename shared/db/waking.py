"""Wakes the dispatchers: they LISTEN on one channel. A lost notice costs one tick."""

from typing import Final

from sqlalchemy import Connection, text

WAKE_CHANNEL: Final = "genqueue_due"
_NOTIFY = text(f"NOTIFY {WAKE_CHANNEL}")


def wake(connection: Connection) -> None:
    """Tell the dispatchers, once this transaction commits, that something is due."""
    connection.execute(_NOTIFY)
