"""Endpoints: made, listed, rotated, switched off and on, and removed by people."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.ids import new_id

WEBHOOK: Final = "webhook"
CELERY: Final = "celery"
GONE: Final = "gone"
"""The receiver said with 410 that it wants no more."""
FAILING: Final = "failing"
"""It failed for days, without one success."""
REMOVED: Final = "removed"
"""Somebody is removing it."""
_COUNTED: Final = 1000
_ADD = text("INSERT INTO endpoint (id, kind, url, types, batch_prefix) VALUES (:id, :kind, :url, :types, :prefix)")
_COLUMNS: Final = """
id, kind, url, types, batch_prefix, secret_version, rotated_at, created_at, failures, failing_since, held_until,
disabled_at, disabled_code
"""
# Waiting deliveries may be many, so that they are counted up to a bound.
_LIST = text(f"""
SELECT {_COLUMNS},
  (SELECT count(*) FROM (SELECT FROM delivery d WHERE d.endpoint_id = endpoint.id AND d.due_at IS NOT NULL
    LIMIT {_COUNTED}) AS few) AS waiting,
  (SELECT max(d.delivered_at) FROM (SELECT delivered_at FROM delivery WHERE endpoint_id = endpoint.id
    ORDER BY created_at DESC LIMIT {_COUNTED}) AS d) AS delivered_at
FROM endpoint WHERE kind = :kind ORDER BY created_at, id
""")
_FIND: Final = f"SELECT {_COLUMNS} FROM endpoint WHERE (CAST(id AS text) LIKE :beginning OR url = :name) LIMIT 2"
_FIND_AND_KEEP: Final = f"{_FIND} FOR NO KEY UPDATE"
_REMOVE = text("DELETE FROM endpoint WHERE id = :id")
# The row has only the newest rotation. The audit has each, written in the rotation's own transaction.
ROTATIONS: Final = """
CASE WHEN endpoint.rotated_at > now() - interval '1 day' THEN coalesce(nullif(ARRAY(
  SELECT at FROM audit WHERE at > now() - interval '1 day' AND act = 'webhook' AND terms = 'rotate ' || endpoint.id
  ORDER BY at DESC LIMIT 10), '{}'), ARRAY[endpoint.rotated_at]) ELSE '{}' END
"""
"""SQL: when an endpoint got a new secret within a day, the newest ten."""
_ROTATE = text("""
UPDATE endpoint SET secret_version = secret_version + 1, rotated_at = clock_timestamp() WHERE id = :id
RETURNING secret_version
""")
_RESUME = text("""
UPDATE endpoint SET disabled_at = NULL, disabled_code = NULL, failures = 0, failing_since = NULL, held_until = NULL
WHERE id = :id
""")
_DISABLE = text("""
UPDATE endpoint SET disabled_at = clock_timestamp(), disabled_code = :code WHERE id = :id AND disabled_at IS NULL
RETURNING id
""")
_REMOVING = text("""
UPDATE endpoint SET disabled_at = clock_timestamp(), disabled_code = :code WHERE id = :id AND disabled_at IS NULL
""")
_TELL_OTHERS = text("""
INSERT INTO delivery (id, endpoint_id, event_key, type, data)
SELECT gen_random_uuid(), id, 'disabled ' || CAST(:id AS text) || ' ' || clock_timestamp(), 'endpoint.disabled',
  jsonb_build_object('endpoint', CAST(:id AS text), 'code', CAST(:code AS text))
FROM endpoint WHERE disabled_at IS NULL AND kind = 'webhook' AND 'endpoint.disabled' = ANY(types)
""")


_OFF = text("""
SELECT CAST(id AS text) AS id, disabled_at, disabled_code FROM endpoint WHERE disabled_at IS NOT NULL
ORDER BY disabled_at LIMIT 20
""")


class NoSuchEndpointError(LookupError):
    """No endpoint, or more than one, has that id or URL."""


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint as it is stored."""

    id: UUID
    kind: str
    url: str
    types: tuple[str, ...]
    batch_prefix: str
    secret_version: int
    rotated_at: datetime | None
    created_at: datetime
    failures: int
    failing_since: datetime | None
    held_until: datetime | None
    disabled_at: datetime | None
    disabled_code: str | None


@dataclass(frozen=True, slots=True)
class EndpointOff:
    """An endpoint that is switched off: its id, since when, and why (`gone`, `failing` or `removed`)."""

    id: str
    since: datetime
    code: str


def switched_off(connection: Connection) -> tuple[EndpointOff, ...]:
    """Return up to twenty endpoints that are switched off, the oldest first."""
    return tuple(EndpointOff(*row) for row in connection.execute(_OFF))


def add(connection: Connection, url: str, types: Collection[str], *, prefix: str = "", kind: str = WEBHOOK) -> UUID:
    """Make an endpoint that is told `types` of batches whose names begin with `prefix`, and return its id."""
    endpoint = new_id()
    parameters = {"id": endpoint, "kind": kind, "url": url, "types": list(types), "prefix": prefix}
    connection.execute(_ADD, parameters)
    return endpoint


def listing(connection: Connection, kind: str = WEBHOOK) -> list[Mapping[str, Any]]:
    """Return every endpoint, oldest first, with how many deliveries wait (at most 1000) and the last success."""
    return [dict(row) for row in connection.execute(_LIST, {"kind": kind}).mappings()]


def find(connection: Connection, name: str, *, lock: bool = False) -> EndpointRow:
    """Return the endpoint with this id, beginning of an id, or URL; raises `NoSuchEndpointError`.

    A Celery task is found too: `genqueue status` names one that is switched off. With `lock`, nobody else can remove
    or change it until this transaction ends.
    """
    beginning = name.lower() + "%" if name and set(name.lower()) <= set("0123456789abcdef-") else ""
    named = {"beginning": beginning, "name": name}
    rows = connection.execute(text(_FIND_AND_KEEP if lock else _FIND), named).mappings().all()
    if len(rows) != 1:
        what = "several endpoints have" if rows else "no endpoint has"
        raise NoSuchEndpointError(f"{what} the id or URL {name[:80]!r}: `genqueue webhook list` shows them")
    return EndpointRow(**{**rows[0], "types": tuple(rows[0]["types"])})


def begin_removal(connection: Connection, endpoint: UUID) -> None:
    """Tell an endpoint of nothing more, in a transaction before that of `remove`.

    A job whose move would tell it waits for its removal, which may take long, and then fails.
    """
    connection.execute(_REMOVING, {"id": endpoint, "code": REMOVED})


def remove(connection: Connection, endpoint: UUID) -> bool:
    """Delete an endpoint with its deliveries; False if somebody else did."""
    return connection.execute(_REMOVE, {"id": endpoint}).rowcount == 1


def rotation(endpoint: UUID) -> str:
    """Return the terms of a rotation in the audit, by which `ROTATIONS` knows it."""
    return f"rotate {endpoint}"


def rotate(connection: Connection, endpoint: UUID) -> int:
    """Give an endpoint its next secret, and return the secret's version."""
    return int(connection.execute(_ROTATE, {"id": endpoint}).scalar_one())


def resume(connection: Connection, endpoint: UUID) -> None:
    """Switch an endpoint on again: what waited is sent."""
    connection.execute(_RESUME, {"id": endpoint})


def disable(connection: Connection, endpoint: UUID, code: str) -> bool:
    """Switch an endpoint off and tell the others; False if it is off already."""
    if connection.execute(_DISABLE, {"id": endpoint, "code": code}).one_or_none() is None:
        return False
    connection.execute(_TELL_OTHERS, {"id": endpoint, "code": code})
    return True
