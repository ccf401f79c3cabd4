"""The sums of ledger lines whose jobs have left. Every sum over lines adds them.

A database before the migration has nothing rolled up. A statement is written once, with `{ledger_day}` in place of the
table, and runs in both.
"""

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import Connection, CursorResult, Engine, text

_HAS: Final = text("SELECT to_regclass('ledger_day') IS NOT NULL")
_NOTHING: Final = """(SELECT NULL::text AS account, NULL::date AS day, NULL::text AS kind, NULL::text AS unit,
  NULL::text AS provider, NULL::uuid AS batch_id, NULL::bigint AS lines, NULL::numeric AS reserved,
  NULL::numeric AS settled, NULL::numeric AS held, NULL::numeric AS elsewhere, NULL::bigint AS submissions,
  NULL::bigint AS accepted, NULL::bigint AS unpriced, NULL::timestamptz AS first_opened_at WHERE false) AS ledger_day"""
_NO_BATCH: Final = """(SELECT NULL::uuid AS batch_id, NULL::text AS name, NULL::timestamptz AS created_at,
  NULL::timestamptz AS left_at WHERE false) AS past_batch"""
_migrated: Final[WeakSet[Engine]] = WeakSet()


class RollingStatement:
    """A statement over `{ledger_day}` (and `{past_batch}`), for a database with these tables and for one without."""

    def __init__(self, statement: str) -> None:
        self._with = text(statement.replace("{ledger_day}", "ledger_day").replace("{past_batch}", "past_batch"))
        without = statement.replace("{ledger_day}", _NOTHING).replace("{past_batch}", _NO_BATCH)
        self._without = text(without)

    def execute(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """Run it where the connection's database stands."""
        return connection.execute(self._with if is_there(connection) else self._without, parameters or {})


def is_there(connection: Connection) -> bool:
    """Tell whether lines may have been rolled up; asked for each engine until they may."""
    if connection.engine not in _migrated and connection.execute(_HAS).scalar_one():
        _migrated.add(connection.engine)
    return connection.engine in _migrated
