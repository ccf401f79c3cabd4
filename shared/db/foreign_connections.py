"""Calls SQL's `enqueue` on a connection that is the caller's own: of psycopg, SQLAlchemy, Django or asyncpg.

The drivers are told apart by what their connections can do, so that none of them needs to be installed. Nothing is
committed, rolled back or set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

_CALL: Final = """
SELECT job_id, custom_id, added
FROM {schema}.enqueue({batch}, CAST(CAST({rows} AS text) AS jsonb), CAST(CAST({options} AS text) AS jsonb))
"""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """One row that a transaction took: the id that its job has or will have, and whether it is new."""

    job_id: UUID
    custom_id: str
    added: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `enqueue`: `rows` and `options` are JSON."""

    schema: str
    batch: str
    rows: str
    options: str

    def _sql(self, batch: str, rows: str, options: str) -> str:
        schema = '"' + self.schema.replace('"', '""') + '"'
        return _CALL.format(schema=schema, batch=batch, rows=rows, options=options)

    @property
    def _positional(self) -> tuple[str, tuple[str, str, str]]:
        return self._sql("%s", "%s", "%s"), (self.batch, self.rows, self.options)

    @property
    def _named(self) -> tuple[Any, dict[str, str]]:
        return text(self._sql(":batch", ":rows", ":options")), {
            "batch": self.batch,
            "rows": self.rows,
            "options": self.options,
        }

    def on(self, connection: Any) -> list[HandedIn]:
        """Run it on a connection of psycopg, SQLAlchemy (or its Session), Django, or another with DB-API cursors.

        Raises `TypeError` for any other, and what the driver raises.
        """
        if _is_async(connection):
            raise TypeError(f"{_name(connection)} is asynchronous: await enqueue_in_async instead")
        if _is_sqlalchemy(connection):
            bound = connection.connection() if hasattr(connection, "get_bind") else connection
            return _handed_in(bound.execute(*self._named).all())
        if not hasattr(connection, "cursor"):
            raise TypeError(f"{_name(connection)} is no connection of psycopg, SQLAlchemy or Django")
        with connection.cursor() as cursor:
            cursor.execute(*self._positional)
            return _handed_in(cursor.fetchall())

    async def on_async(self, connection: Any) -> list[HandedIn]:
        """Run it on an asynchronous connection of psycopg, SQLAlchemy (or its AsyncSession) or asyncpg.

        Raises `TypeError` for any other, and what the driver raises.
        """
        if not _is_async(connection):
            raise TypeError(f"{_name(connection)} is no asynchronous connection of psycopg, SQLAlchemy or asyncpg")
        if _is_sqlalchemy(connection):
            bound = await connection.connection() if hasattr(connection, "get_bind") else connection
            return _handed_in((await bound.execute(*self._named)).all())
        if hasattr(connection, "fetch"):
            return _handed_in(await connection.fetch(self._sql("$1", "$2", "$3"), self.batch, self.rows, self.options))
        cursor = await connection.execute(*self._positional)
        return _handed_in(await cursor.fetchall())


def _is_async(connection: Any) -> bool:
    # Each of the three kinds names its classes so; a pool of asyncpg hands out a proxy.
    names = {kind.__name__ for kind in type(connection).__mro__}
    return any(name.startswith("Async") for name in names) or hasattr(connection, "fetchval")


def _is_sqlalchemy(connection: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(connection).__mro__)


def _name(connection: Any) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


def _handed_in(rows: Sequence[Any]) -> list[HandedIn]:
    """Read rows that a connection's own row factory may have made dictionaries."""
    each = [[row["job_id"], row["custom_id"], row["added"]] if isinstance(row, Mapping) else [*row] for row in rows]
    return [HandedIn(UUID(str(job_id)), custom_id, added) for job_id, custom_id, added in each]
