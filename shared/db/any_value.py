"""Values that PostgreSQL stores and Python cannot read: each is read as something near, so that a row can be shown."""

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads


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


def read_any(connection: psycopg.Connection[Any]) -> None:
    """Let a connection read every value that its server can store."""
    connection.adapters.register_loader("timestamptz", _AnyTime)
    set_json_loads(read_json, connection)


def read_json(data: str | bytes) -> Any:
    """Read JSON as the database stores it: it takes numbers of 131,072 digits, and thousands of levels."""
    try:
        return json.loads(data)
    except RecursionError:
        return UnreadableJson("is JSON nested too deeply")
    except ValueError:
        return UnreadableJson("contains a number with too many digits")
