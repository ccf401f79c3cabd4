"""Worker processes: which are alive, which tick, and the lock that proves a sender gone."""

from sqlalchemy import Connection, text

from shared.db import troubles
from shared.db.jobs.claims import CRASHES_SQL

ALIVE_SECONDS = 15.0
"""A worker whose tick is older counts as gone for dividing work, never for decisions about money."""
STUCK_SECONDS = 60.0
"""Evidence that the database has not accepted for longer than this is trouble; a restart of PostgreSQL is shorter."""

_BEAT = text("""
INSERT INTO worker (name, lock_key, slots, stuck_since)
VALUES (:name, :lock_key, :slots, CASE WHEN :stuck > 0 THEN now() - :stuck * interval '1 second' END)
ON CONFLICT (name) DO UPDATE SET lock_key = excluded.lock_key, slots = excluded.slots, last_tick_at = now(),
  stuck_since = excluded.stuck_since
""")
_FORGET = text("DELETE FROM worker WHERE last_tick_at < now() - interval '1 day'")
_STALE = text("""
SELECT name, lock_key FROM worker WHERE last_tick_at < now() - :alive * interval '1 second' AND name <> :me
  AND pg_try_advisory_xact_lock_shared(lock_key)
""")
_FREE = text(f"""
UPDATE job SET due_at = now(), begun_together = NULL, crashes = {CRASHES_SQL}
WHERE claimed_by = :name AND due_at IS NOT NULL RETURNING id, epoch, state, crashes
""")
_BURY = text("DELETE FROM worker WHERE name = :name")
_LIST = text("""
SELECT name, slots, started_at, last_tick_at, extract(epoch FROM now() - last_tick_at) AS tick_age_seconds,
  coalesce(extract(epoch FROM now() - stuck_since), 0) AS stuck_seconds
FROM worker ORDER BY name
""")


def heartbeat(connection: Connection, *, name: str, lock_key: int, slots: int, stuck_seconds: float = 0.0) -> None:
    """Record that this worker's dispatcher ticks; `doctor` and health checks read it.

    `stuck_seconds`: how long the oldest thing that it has to record has waited for the database to take it.
    """
    connection.execute(_BEAT, {"name": name, "lock_key": lock_key, "slots": slots, "stuck": stuck_seconds})


def sign_off(connection: Connection, name: str) -> None:
    """Delete a worker that stopped cleanly, and any that died long ago."""
    connection.execute(_BURY, {"name": name})
    connection.execute(_FORGET)
    troubles.record(connection, name, {})


def free_claims_of_dead(connection: Connection, me: str) -> dict[str, int]:
    """Make the claims of workers that are proved gone due at once; return the number of jobs by worker.

    The proof is the session lock: a frozen process still holds it, a dead one does not.
    """
    found = {}
    for name in [row.name for row in connection.execute(_STALE, {"alive": ALIVE_SECONDS, "me": me})]:
        found[name] = len(connection.execute(_FREE, {"name": name}).all())
        connection.execute(_BURY, {"name": name})
    return found


def listing(connection: Connection) -> list[dict[str, object]]:
    """Return the workers with the age in seconds of their last tick and of their oldest unrecorded evidence."""
    return [dict(row) for row in connection.execute(_LIST).mappings()]
