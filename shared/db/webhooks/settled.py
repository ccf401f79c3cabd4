"""When a batch is settled: every job has ended or is held. Told once for each state that a batch comes to rest in.

No transition can tell that it was the last, because two may commit at once. So each leaves a line of news, and one
process at a time looks, after the commit, whether the batch has come to rest.
"""

import json
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.read.counts import OF_BATCH, SHOWN

_UNDECIDED: Final = ("queued", "submitting", "pending", "processing", "transferring", "checking")
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
_GOES_ON = text("UPDATE batch_settled SET counts = NULL WHERE batch_id = :batch AND counts IS NOT NULL")
_RESTS = text("""
INSERT INTO batch_settled AS known (batch_id, revision, counts) VALUES (:batch, 1, CAST(:counts AS jsonb))
ON CONFLICT (batch_id) DO UPDATE SET revision = known.revision + 1, counts = excluded.counts
  WHERE known.counts IS DISTINCT FROM excluded.counts
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
    counts = {row.state: row.jobs for row in connection.execute(_COUNTS, {"batch": batch})}
    if any(counts.get(state) for state in _UNDECIDED):
        connection.execute(_GOES_ON, {"batch": batch})
        return
    said: dict[str, Any] = {"batch": batch, "counts": json.dumps(counts)}
    if revision := connection.execute(_RESTS, said).scalar_one_or_none():
        costs = [
            {"unit": row.unit, "settled": f"{row.settled:f}", "held": f"{row.held:f}"}
            for row in connection.execute(_COSTS, {"batch": batch})
        ]
        connection.execute(_TELL, {**said, "revision": revision, "costs": json.dumps(costs)})
