"""When a batch is settled: every job has ended or is held. Told once for each state that a batch comes to rest in.

No transition can tell that it was the last, because two may commit at once. So each leaves a line of news, and one
process at a time looks, after the commit, whether the batch has come to rest.
"""

import json
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.counts import OF_BATCH, SHOWN, UNDECIDED

_MOST: Final = 5000
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('genqueue settled ' || current_schema(), 0))")
_TAKE = text("""
DELETE FROM batch_news WHERE id = ANY(ARRAY(SELECT id FROM batch_news ORDER BY id LIMIT :most)) RETURNING batch_id
""")
_COUNTS = text(f"""
SELECT {SHOWN} AS state, CAST(sum(jobs) AS bigint) AS jobs FROM ({OF_BATCH.format(batch=":batch")}) AS part
GROUP BY 1 HAVING sum(jobs) <> 0
""")
_COSTS = text("""
SELECT unit, sum(settled_amount) AS settled, sum(held_amount) AS held FROM (
  SELECT unit, settled_amount, held_amount FROM spending WHERE batch_id = :batch AND day IS NULL
  UNION ALL SELECT unit, settled_amount, held_amount FROM spending_delta WHERE batch_id = :batch
) AS part GROUP BY unit ORDER BY unit
""")
_ARRIVING = text("""
SELECT EXISTS (SELECT FROM inbox WHERE batch = (SELECT name FROM batch WHERE id = :batch) AND taken_at IS NULL)
""")
_LATER = text("INSERT INTO batch_news (batch_id) VALUES (:batch)")
# Equal counts may be another rest: a job was sent again and failed again between two looks. What makes news is young:
# the newest events have it, and their bound keeps the look short.
_LAST = text("SELECT coalesce(max(id), 0) FROM job_event")
_RESTED = text("""
SELECT CAST(counts ->> 'event' AS bigint) AS event, counts - 'event' = CAST(:counts AS jsonb) AS same
FROM batch_settled WHERE batch_id = :batch AND counts IS NOT NULL
""")
_MOVED = text("""
SELECT EXISTS (
  SELECT FROM (SELECT * FROM job_event WHERE id > :after ORDER BY id DESC LIMIT 20000) AS young
  JOIN job ON job.id = young.job_id WHERE job.batch_id = :batch AND young.from_state <> young.to_state)
""")
_GOES_ON = text("UPDATE batch_settled SET counts = NULL WHERE batch_id = :batch AND counts IS NOT NULL")
_RESTS = text("""
INSERT INTO batch_settled AS known (batch_id, revision, counts)
VALUES (:batch, 1, CAST(:counts AS jsonb) || jsonb_build_object('event', CAST(:event AS bigint)))
ON CONFLICT (batch_id) DO UPDATE SET revision = known.revision + 1, counts = excluded.counts
RETURNING revision
""")
_TELL = text("""
INSERT INTO delivery (id, endpoint_id, event_key, type, data)
SELECT gen_random_uuid(), endpoint.id, 'settled ' || batch.id || ' ' || CAST(:revision AS text), 'batch.settled',
  jsonb_build_object('batch', batch.name, 'revision', CAST(:revision AS integer), 'jobs', CAST(:counts AS jsonb),
    'cost', CAST(:costs AS jsonb))
FROM endpoint JOIN batch ON batch.id = :batch
WHERE endpoint.disabled_at IS NULL AND 'batch.settled' = ANY(endpoint.types)
  AND starts_with(batch.name, endpoint.batch_prefix)
ON CONFLICT (endpoint_id, event_key) DO NOTHING
""")


def tell(connection: Connection) -> int:
    """Look at the batches with news and tell of those that are settled; return how many lines of news were read."""
    if not connection.execute(_TURN).scalar_one():
        return 0
    news = list(connection.execute(_TAKE, {"most": _MOST}).scalars())
    for batch in dict.fromkeys(news):
        _look(connection, batch)
    return len(news)


def _look(connection: Connection, batch: UUID) -> None:
    event = connection.execute(_LAST).scalar_one()  # before the counts: what comes between is news of its own
    counts = {row.state: row.jobs for row in connection.execute(_COUNTS, {"batch": batch})}
    if any(counts.get(state) for state in UNDECIDED):
        connection.execute(_GOES_ON, {"batch": batch})
    elif connection.execute(_ARRIVING, {"batch": batch}).scalar_one():
        connection.execute(_LATER, {"batch": batch})
    else:
        _rest(connection, {"batch": batch, "counts": json.dumps(counts), "event": event})


def _rest(connection: Connection, said: dict[str, Any]) -> None:
    """Tell that a batch rests, unless that was told and nothing moved since."""
    known = connection.execute(_RESTED, said).one_or_none()
    if known is not None and known.same and not _has_moved(connection, said["batch"], known.event):
        return
    revision = connection.execute(_RESTS, said).scalar_one()
    costs = [
        {"unit": row.unit, "settled": f"{row.settled:f}", "held": f"{row.held:f}"}
        for row in connection.execute(_COSTS, said)
    ]
    connection.execute(_TELL, {**said, "revision": revision, "costs": json.dumps(costs)})


def _has_moved(connection: Connection, batch: UUID, after: int | None) -> bool:
    """Tell whether a job changed its state since an event; None: who told of the rest did not note one."""
    return after is not None and bool(connection.execute(_MOVED, {"batch": batch, "after": after}).scalar_one())
