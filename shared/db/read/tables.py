"""How clean PostgreSQL keeps our tables, and what keeps it from that."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

_TABLES: Final = text("""
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
WHERE schemaname = current_schema() ORDER BY relname
""")
# Of sessions of other roles an ordinary role sees no start.
_OLDEST: Final = text("""
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
""")


@dataclass(frozen=True, slots=True)
class TableState:
    """A table's rows and dead rows, as PostgreSQL's statistics count them."""

    name: str
    live: int
    dead: int


def tables(connection: Connection) -> list[TableState]:
    """Return each of our tables."""
    return [TableState(row.name, row.live, row.dead) for row in connection.execute(_TABLES)]


def oldest_transaction_seconds(connection: Connection) -> float:
    """Return the age of the oldest transaction that keeps dead rows from being cleaned up."""
    return float(connection.execute(_OLDEST).scalar_one())
