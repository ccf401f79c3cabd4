"""The one question of a dispatcher's tick: what there is to do for it, in the whole database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from shared.db.jobs.claims import OVERDUE_SQL
from shared.db.jobs.leftovers import NOT_A_LEFTOVER
from shared.db.workers import ALIVE_SECONDS
from shared.lifecycle import Stage

_WAITS: Final = {
    "submit": "state = 'queued' AND NOT on_hold",
    "poll": f"state IN ('pending', 'processing') AND {NOT_A_LEFTOVER}",
    "transfer": f"state = 'transferring' AND {NOT_A_LEFTOVER}",
    "reconcile": f"state IN ('submitting', 'in_doubt') AND {NOT_A_LEFTOVER}",
}
# The first due time is the first entry of an index. An EXISTS would be answered from another index, over a long line of
# jobs that are not due.
_FIRST_DUE: Final = "(SELECT min(due_at) FROM job WHERE account = name AND {waits})"
_LOOKED: Final = ",\n  ".join(f"('{stage}', {_FIRST_DUE.format(waits=waits)})" for stage, waits in _WAITS.items())
_QUESTION: Final = text(f"""
WITH everywhere AS MATERIALIZED (
  SELECT (SELECT id {OVERDUE_SQL} LIMIT 1) IS NOT NULL AS overdue,
    (SELECT coalesce(sum(slots), 0) FROM worker WHERE last_tick_at > now() - :alive * interval '1 second') AS slots,
    EXISTS (SELECT FROM worker WHERE last_tick_at < now() - :alive * interval '1 second' AND name <> :me) AS silent,
    EXISTS (SELECT FROM inbox WHERE taken_at IS NULL) AS inbox,
    EXISTS (SELECT FROM job_count_delta) OR EXISTS (SELECT FROM spending_delta) AS deltas
)
SELECT everywhere.*, name, stage, is_due FROM everywhere LEFT JOIN (
  SELECT name, stage, first_due <= now() AS is_due FROM unnest(CAST(:accounts AS text[])) AS served (name),
  LATERAL (VALUES
  {_LOOKED}
  ) AS looked (stage, first_due) WHERE first_due IS NOT NULL
) AS waiting ON true
""")


@dataclass(frozen=True, slots=True)
class ToDo:
    """What there is to do, whether or not it may be done now."""

    due: Mapping[str, set[Stage]]
    """By account of this worker, the stages with due jobs."""
    waits: bool
    """Whether any job of these accounts waits, due or not."""
    live_slots: int
    """How many parcels all living workers together can run at once."""
    overdue: bool
    """Whether a queued job of any account is past its deadline."""
    silent: bool
    """Whether another worker has not ticked for a while."""
    inbox: bool
    """Whether rows that came by SQL wait to be checked."""
    deltas: bool
    """Whether there is anything to add to the running sums."""


def to_do(connection: Connection, served: Iterable[str], *, me: str) -> ToDo:
    """Return what there is to do for the worker `me`, which serves these accounts. One statement."""
    rows = connection.execute(_QUESTION, {"accounts": list(served), "alive": ALIVE_SECONDS, "me": me}).all()
    due: dict[str, set[Stage]] = {}
    for row in rows:
        if row.is_due:
            due.setdefault(row.name, set()).add(Stage(row.stage))
    first = rows[0]
    return ToDo(
        due=due,
        waits=first.name is not None,
        live_slots=int(first.slots),
        overdue=first.overdue,
        silent=first.silent,
        inbox=first.inbox,
        deltas=first.deltas,
    )
