"""Enqueueing in a transaction of the caller's own: the rows are there if and only if the caller commits.

This sets no timeout, commits nothing, and takes no lock but that of the same custom_id in the same batch.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from producer.client.enqueueing import InvalidRowsError
from producer.money import parse_caps
from producer.prompts import LineFault, read_rows
from shared import catalog
from shared.db.foreign_connections import Call, HandedIn
from shared.db.search_path import DEFAULT
from shared.policies import OnUnknown

_ROWS: Final = 1000  # as many as one call of the SQL function takes


def enqueue_in(  # noqa: PLR0913 - one option each
    connection: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    batch: str,
    provider: str | None = None,
    on_unknown: OnUnknown | None = None,
    max_cost: Sequence[str] = (),
    schema: str = DEFAULT,
) -> list[HandedIn]:
    """Add `rows` to `batch` in the transaction of `connection`, and return each row's job id.

    `connection` is one of psycopg, SQLAlchemy (or a Session), or Django's; its database is that of genqueue. Each row
    needs a `custom_id`: the same row again adds nothing and has the same job id. `schema` contains genqueue's tables.
    `on_unknown` and `max_cost` are for a batch that the call makes; of another one they only lower a cap or set "hold".

    Raises `InvalidRowsError` before anything is sent, `CapError`, and what the driver raises: a custom_id that stands
    for another request is a unique violation (SQLSTATE 23505).
    """
    calls = _calls(rows, batch, provider, _options(on_unknown, max_cost), schema)
    return [one for call in calls for one in call.on(connection)]


async def enqueue_in_async(  # noqa: PLR0913 - one option each
    connection: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    batch: str,
    provider: str | None = None,
    on_unknown: OnUnknown | None = None,
    max_cost: Sequence[str] = (),
    schema: str = DEFAULT,
) -> list[HandedIn]:
    """Do as `enqueue_in` on an asynchronous connection of psycopg, SQLAlchemy (or an AsyncSession) or asyncpg."""
    calls = _calls(rows, batch, provider, _options(on_unknown, max_cost), schema)
    return [one for call in calls for one in await call.on_async(connection)]


def _options(on_unknown: OnUnknown | None, max_cost: Sequence[str]) -> str:
    given: dict[str, Any] = {"on_unknown": on_unknown} if on_unknown else {}
    if max_cost:
        caps = parse_caps(max_cost, providers=catalog.names())
        given["max_cost"] = {name: format(amount, "f") for name, amount in caps.items()}
    return json.dumps(given)


def _calls(
    rows: Iterable[Mapping[str, Any]], batch: str, provider: str | None, options: str, schema: str
) -> list[Call]:
    """Check every row, then return the calls that hand them in."""
    given = [dict(row) for row in rows]
    nameless = [LineFault(at, "custom_id", _NAMELESS) for at, row in enumerate(given, 1) if not row.get("custom_id")]
    if nameless:
        raise InvalidRowsError(nameless[:_ROWS], len(nameless))
    checked = _checked(given, provider)
    return [
        Call(schema, batch, json.dumps(some, ensure_ascii=False), options)
        for some in iter(lambda: list(islice(checked, _ROWS)), [])
    ]


_NAMELESS: Final = "is missing: without one, a repeated call would buy twice"


def _checked(given: list[dict[str, Any]], provider: str | None) -> Iterator[dict[str, Any]]:
    with read_rows(given, default_provider=provider, providers=catalog.names()) as prepared:
        if prepared.fault_count:
            raise InvalidRowsError(prepared.faults, prepared.fault_count)
        for row in prepared.rows():
            named = {"custom_id": row.custom_id, "provider": row.provider, "priority": row.priority}
            yield json.loads(row.request) | named | ({"metadata": json.loads(row.metadata)} if row.metadata else {})
