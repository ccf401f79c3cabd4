"""How work flows: what passed each stage within the last minute, what workers have in hand, and how attempts ended.

Each reading looks at a bounded number of rows, the newest ones, however many there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from shared.lifecycle import Stage

HOURS: Final = 12
_MOST_EVENTS: Final = 1000
_MOST_ATTEMPTS: Final = 1500
"""Attempts of one hour that are looked at, shared among the accounts; at least twenty of each."""
_STAGES: Final[Mapping[str, Stage]] = {
    "submitting": Stage.SUBMIT,
    "pending": Stage.POLL,
    "processing": Stage.POLL,
    "transferring": Stage.TRANSFER,
    "in_doubt": Stage.RECONCILE,
}
_STAGES_NOW = text(f"""
WITH newest AS MATERIALIZED (
  SELECT job_id, from_state, to_state, at FROM job_event ORDER BY id DESC LIMIT {_MOST_EVENTS}
)
SELECT job.account, newest.from_state AS state, false AS in_hand, count(*) AS jobs,
  (SELECT CASE WHEN count(*) < {_MOST_EVENTS} THEN 60
    ELSE least(greatest(extract(epoch FROM now() - min(at)), 1), 60) END FROM newest) AS seconds
FROM newest JOIN job ON job.id = newest.job_id
WHERE newest.from_state <> newest.to_state AND newest.at > now() - interval '1 minute'
GROUP BY 1, 2
UNION ALL
SELECT account, state, true, count(*), 60 FROM job WHERE claimed_by IS NOT NULL AND due_at > now() GROUP BY 1, 2
""")
# Of each hour and account the newest attempts, by the index of both.
_ATTEMPTS = text(f"""
SELECT hour.began, CASE WHEN attempt.number IS NOT NULL THEN coalesce(attempt.outcome, 'in_air') END AS outcome,
  count(*) AS attempts,
  bool_or(attempt.number = few.most) AS more
FROM generate_series(date_trunc('hour', now()) - interval '{HOURS - 1} hours', now(), interval '1 hour') AS hour (began)
CROSS JOIN (SELECT greatest(20, {_MOST_ATTEMPTS} / greatest(count(*), 1)) AS most FROM account) AS few
LEFT JOIN account ON true LEFT JOIN LATERAL (
  SELECT outcome, row_number() OVER () AS number FROM (
    SELECT outcome FROM submission WHERE account = account.name AND opened_at >= hour.began
      AND opened_at < hour.began + interval '1 hour' ORDER BY opened_at DESC LIMIT few.most
  ) AS newest
) AS attempt ON true GROUP BY 1, 2 ORDER BY 1
""")


class StageFlow(NamedTuple):
    """Jobs of one account's stage: those that passed it, for each minute, and those in workers' hands."""

    per_minute: float = 0.0
    in_hand: int = 0


@dataclass(frozen=True, slots=True)
class HourOfAttempts:
    """How the attempts that began in one hour ended, `in_air` for those that have not.

    `more`: only the newest of them were looked at.
    """

    began: datetime
    outcomes: Mapping[str, int]
    more: bool


def stages(connection: Connection) -> dict[tuple[str, Stage], StageFlow]:
    """Return the flow of each account's stages, by the newest events, in one statement."""
    found: dict[tuple[str, Stage], StageFlow] = {}
    for row in connection.execute(_STAGES_NOW):
        if stage := _STAGES.get(row.state):
            before = found.get((row.account, stage), StageFlow())
            rate, hand = (0.0, row.jobs) if row.in_hand else (row.jobs * 60 / float(row.seconds), 0)
            found[row.account, stage] = StageFlow(before.per_minute + rate, before.in_hand + hand)
    return found


def attempts(connection: Connection) -> list[HourOfAttempts]:
    """Return how the attempts of the last hours ended, by the hour in which they began, oldest first."""
    hours: dict[datetime, dict[str, int]] = {}
    more: set[datetime] = set()
    for row in connection.execute(_ATTEMPTS):
        outcomes = hours.setdefault(row.began, {})
        if row.outcome:
            outcomes[row.outcome] = row.attempts
        if row.more:
            more.add(row.began)
    return [HourOfAttempts(began, outcomes, began in more) for began, outcomes in hours.items()]
