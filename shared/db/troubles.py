"""What is wrong around each worker, as it last said: its bucket, its broker, its disk."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, text

from shared.wait_facts import Trouble

FRESH_SECONDS: Final = 60.0
"""A worker repeats a trouble that goes on every few seconds; one that was last said longer ago is over."""

_SAY = text("""
INSERT INTO trouble (worker, kind, said) SELECT :worker, a.kind, a.said
FROM unnest(CAST(:kinds AS text[]), CAST(:said AS text[])) AS a (kind, said)
ON CONFLICT (worker, kind) DO UPDATE SET said = excluded.said, seen_at = clock_timestamp()
""")
_OVER = text("""
DELETE FROM trouble WHERE (worker = :worker AND NOT kind = ANY(CAST(:kinds AS text[])))
  OR seen_at < now() - interval '1 day'
""")
_LIST = text("""
SELECT kind, min(since) AS since, count(*) AS workers, (array_agg(said ORDER BY seen_at DESC))[1] AS said
FROM trouble WHERE seen_at > now() - :fresh * interval '1 second' GROUP BY kind ORDER BY kind
""")


def record(connection: Connection, worker: str, said: Mapping[str, str]) -> None:
    """Record the troubles of one worker, kind -> words; its other troubles are over."""
    parameters = {"worker": worker, "kinds": list(said), "said": list(said.values())}
    connection.execute(_OVER, parameters)
    if said:
        connection.execute(_SAY, parameters)


def listing(connection: Connection) -> tuple[Trouble, ...]:
    """Return each kind of trouble that a worker has now, with the newest words and the number of workers."""
    rows: Iterable[Any] = connection.execute(_LIST, {"fresh": FRESH_SECONDS})
    return tuple(Trouble(row.kind, row.said, row.since, row.workers) for row in rows)
