"""Objects that nothing names any more, as after an erasure: recorded here, and deleted by a worker with retries."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

MOST_DAYS: Final = 1
"""Days: the longest wait between two tries."""
_DOOM = text("""
INSERT INTO doomed_object (key) SELECT DISTINCT unnest(CAST(:keys AS text[])) ON CONFLICT (key) DO NOTHING
""")
# Taking keys postpones them. If the worker dies, its keys become due again.
_TAKE = text(f"""
UPDATE doomed_object SET tries = tries + 1,
  due_at = now() + least(interval '1 minute' * 2 ^ least(tries, 12), interval '{MOST_DAYS} day')
WHERE key IN (SELECT key FROM doomed_object WHERE due_at <= now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING key
""")
_GONE = text("DELETE FROM doomed_object WHERE key = ANY(CAST(:keys AS text[]))")
_FAILED = text("UPDATE doomed_object SET error_code = :code WHERE key = :key")
_WAITING = text("SELECT count(*), max(error_code) FROM doomed_object")


def doom(connection: Connection, keys: Sequence[str]) -> None:
    """Mark these objects for deletion; repeating it does no harm."""
    connection.execute(_DOOM, {"keys": list(keys)})


def take(connection: Connection, limit: int) -> Sequence[str]:
    """Return keys that are due, postponed so that nobody else takes them now."""
    found: Any = connection.execute(_TAKE, {"limit": limit}).scalars()
    return list(found)


def gone(connection: Connection, keys: Sequence[str]) -> None:
    """Take the marks away: these are deleted, or recorded after all."""
    connection.execute(_GONE, {"keys": list(keys)})


def failed(connection: Connection, key: str, code: str) -> None:
    """Record why one could not be deleted; it is tried again."""
    connection.execute(_FAILED, {"key": key, "code": code})


def waiting(connection: Connection) -> tuple[int, str | None]:
    """Return how many still wait for deletion, and why one of them could not be deleted yet."""
    count, code = connection.execute(_WAITING).one()
    return count, code
