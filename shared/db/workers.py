"""Worker processes: who lives, who ticks, and the lock that proves a sender gone."""

from sqlalchemy import Connection, text

from shared.db.claims import CRASHES

ALIVE_SECONDS = 15.0
"""A worker whose tick is older counts as gone for sharing out work (never for deciding about money)."""

_BEAT = text("""
INSERT INTO worker (name, lock_key, slots) VALUES (:name, :lock_key, :slots)
ON CONFLICT (name) DO UPDATE SET lock_key = excluded.lock_key, slots = excluded.slots, last_tick_at = now()
""")
_FORGET = text("DELETE FROM worker WHERE last_tick_at < now() - interval '1 day'")
_SLOTS = text("""
SELECT coalesce(sum(slots), 0) FROM worker WHERE last_tick_at > now() - :alive * interval '1 second'
""")
_STALE = text("""
SELECT name, lock_key FROM worker WHERE last_tick_at < now() - :alive * interval '1 second' AND name <> :me
  AND pg_try_advisory_xact_lock_shared(lock_key)
""")
_FREE = text(f"""
UPDATE job SET due_at = now(), company = NULL, crashes = {CRASHES}
WHERE claimed_by = :name AND due_at IS NOT NULL RETURNING id, epoch, state, crashes
""")
_BURY = text("DELETE FROM worker WHERE name = :name")
_LIST = text("""
SELECT name, slots, started_at, last_tick_at, extract(epoch FROM now() - last_tick_at) AS tick_age_seconds
FROM worker ORDER BY name
""")


def beat(connection: Connection, *, name: str, lock_key: int, slots: int) -> None:
    """Record that this worker's dispatcher moves; `doctor` and health checks read it."""
    connection.execute(_BEAT, {"name": name, "lock_key": lock_key, "slots": slots})


def leave(connection: Connection, name: str) -> None:
    """Forget a worker that stopped in good order, and any that died long ago."""
    connection.execute(_BURY, {"name": name})
    connection.execute(_FORGET)


def live_slots(connection: Connection) -> int:
    """Return how many batches all living workers together can run at once."""
    return int(connection.execute(_SLOTS, {"alive": ALIVE_SECONDS}).scalar_one())


def bury(connection: Connection, me: str) -> dict[str, int]:
    """Make the claims of workers that are proved gone due at once; return by worker how many jobs it had.

    The proof is the session lock: a frozen process still holds it, a dead one does not.
    """
    found = {}
    for name in [row.name for row in connection.execute(_STALE, {"alive": ALIVE_SECONDS, "me": me})]:
        found[name] = len(connection.execute(_FREE, {"name": name}).all())
        connection.execute(_BURY, {"name": name})
    return found


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return the workers with the age of their last tick in seconds."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
