"""The state of the whole queue: what waits and why, what is held, money today, accounts, workers and servers.

Nothing here counts a table that grows. Jobs are counted from running counts, and of each account's stages only the
first jobs in line are read.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

from shared.db import purpose, workers
from shared.db.jobs.claims import BY_INDEX
from shared.db.payments import drift
from shared.db.payments.drift import BalanceSpan, FigureVerdict
from shared.db.purpose import Purpose
from shared.db.read import counts, waits
from shared.db.webhooks.endpoints import EndpointOff, switched_off
from shared.lifecycle import POLLED, Stage
from shared.wait_facts import STOPPED, AccountState, Around, Trouble, Wait, WaitingJob
from shared.waiting import why

IN_LINE: Final = 50
"""The first jobs of each account's stage that are looked at."""
_HELD_LOOKED_AT: Final = 200
_STATES: Final[Mapping[Stage, AbstractSet[str]]] = {
    Stage.SUBMIT: {"queued", "submitting"},
    Stage.POLL: POLLED,
    Stage.TRANSFER: {"transferring"},
    Stage.RECONCILE: {"submitting", "in_doubt"},
}


def _line(stage: Stage, which: str, order: str) -> str:
    return f"""
SELECT '{stage.value}' AS stage, {waits.ROW}, job.link_expires_at, job.due_at <= now() AS due FROM account
CROSS JOIN LATERAL (SELECT * FROM job WHERE account = account.name AND {which} ORDER BY {order} LIMIT {IN_LINE}) AS job
JOIN batch ON batch.id = job.batch_id"""


_LINES = text(
    " UNION ALL ".join(
        f"({line})"
        for line in (
            _line(Stage.SUBMIT, "state = 'queued' AND NOT on_hold", "priority DESC, fair_position"),
            _line(Stage.POLL, "state IN ('pending', 'processing')", "due_at"),
            _line(Stage.TRANSFER, "state = 'transferring'", "link_expires_at, due_at"),
            _line(Stage.RECONCILE, "state IN ('submitting', 'in_doubt')", "due_at"),
        )
    )
)
_TAKEN = text("""
SELECT account.name AS account,
  extract(epoch FROM now() - (SELECT max(opened_at) FROM submission WHERE account = account.name)) AS last_intent,
  ARRAY(SELECT DISTINCT state FROM job WHERE account = account.name AND claimed_by IS NOT NULL AND due_at > now())
    AS in_hand
FROM account
""")
_HELD = text(f"""
SELECT provider, state, error_code, CAST(sum(jobs) AS bigint) AS jobs FROM ({counts.OF_ALL}) AS part WHERE on_hold
GROUP BY 1, 2, 3 HAVING sum(jobs) <> 0 ORDER BY 4 DESC, 1, 3
""")
# Those that were looked at longest ago come first; one is held since its last event.
_HELD_SINCE = text(f"""
SELECT min(event.at) AS since FROM account CROSS JOIN LATERAL (
  SELECT id FROM job WHERE account = account.name AND state IN ('submitting', 'in_doubt') AND on_hold
  ORDER BY due_at LIMIT {_HELD_LOOKED_AT}
) AS held CROSS JOIN LATERAL (SELECT at FROM job_event WHERE job_id = held.id ORDER BY id DESC LIMIT 1) AS event
""")


@dataclass(frozen=True, slots=True)
class StageLine:
    """The jobs of one account at one stage, judged by the first in line; at most `IN_LINE` are counted.

    `due` counts those that are due and not begun. `oldest_due_seconds` is how long the longest of them has been due:
    in a large batch, hours. `stalled_seconds` is for how long none was taken although some were due; 0 while workers
    have any of this stage in hand.
    """

    account: str
    stage: Stage
    looked_at: int
    due: int
    oldest_due_seconds: float
    stalled_seconds: float
    first: WaitingJob
    wait: Wait
    link_expires_at: datetime | None = None
    """When the next link dies, of the images that wait for their download."""

    @property
    def held_up(self) -> bool:
        """Whether something outside the queue's usual work keeps this line from moving."""
        return self.wait.reason in STOPPED


@dataclass(frozen=True, slots=True)
class HeldLine:
    """Jobs that a person must decide about, or make room for, by provider, state and reason."""

    provider: str
    state: str
    code: str | None
    jobs: int


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One worker process; times in seconds."""

    name: str
    slots: int
    tick_age_seconds: float
    stuck_seconds: float

    @property
    def alive(self) -> bool:
        """Whether it ticks."""
        return self.tick_age_seconds < workers.ALIVE_SECONDS


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The whole queue at one moment, by the database's clock."""

    at: datetime
    purpose: Purpose
    jobs: Mapping[str, Mapping[str, int]]
    """Provider -> shown state -> number of jobs."""
    lines: tuple[StageLine, ...]
    held: tuple[HeldLine, ...]
    held_since: datetime | None
    """When the job was held that waits longest for a person, of those in doubt."""
    accounts: tuple[AccountState, ...]
    workers: tuple[WorkerLine, ...]
    troubles: tuple[Trouble, ...]
    drifts: tuple[BalanceSpan, ...]
    """Accounts whose provider took more than the ledger knows."""
    endpoints_off: tuple[EndpointOff, ...] = ()
    """Webhooks that are switched off."""

    @property
    def live_workers(self) -> int:
        """How many workers tick."""
        return sum(worker.alive for worker in self.workers)

    @property
    def totals(self) -> dict[str, int]:
        """Shown state -> number of jobs."""
        found: dict[str, int] = {}
        for states in self.jobs.values():
            for state, jobs in states.items():
                found[state] = found.get(state, 0) + jobs
        return found

    @property
    def oldest(self) -> StageLine | None:
        """The line whose first job was enqueued first."""
        return min(self.lines, key=lambda line: line.first.created_at, default=None)

    @property
    def spent_today(self) -> dict[str, Decimal]:
        """Unit -> what was spent or set aside since the UTC day began."""
        found: dict[str, Decimal] = {}
        for account in self.accounts:
            if account.spent_today:
                found[account.unit] = found.get(account.unit, Decimal(0)) + account.spent_today
        return found


def status(connection: Connection) -> QueueStatus:
    """Return the state of the whole queue; reads only, in a few short statements."""
    surroundings = waits.around(connection)
    spans = [span for span in drift.spans(connection) if span.current and span.verdict is FigureVerdict.MORE]
    return QueueStatus(
        at=surroundings.now,
        purpose=purpose.of(connection) or Purpose.REAL,
        jobs=counts.by_state(connection),
        held=tuple(HeldLine(*row) for row in connection.execute(_HELD)),
        held_since=connection.execute(_HELD_SINCE).scalar_one_or_none(),
        accounts=tuple(surroundings.accounts.values()),
        workers=tuple(_worker(row) for row in workers.listing(connection)),
        troubles=surroundings.troubles,
        drifts=tuple(spans),
        lines=_lines(connection, surroundings),
        endpoints_off=switched_off(connection),
    )


def _worker(row: Mapping[str, Any]) -> WorkerLine:
    return WorkerLine(row["name"], row["slots"], float(row["tick_age_seconds"]), float(row["stuck_seconds"]))


def _lines(connection: Connection, around: Around) -> tuple[StageLine, ...]:
    connection.execute(BY_INDEX)
    found: dict[tuple[str, Stage], list[Any]] = {}
    for row in connection.execute(_LINES):
        if not row.on_hold:
            found.setdefault((row.account, Stage(row.stage)), []).append(row)
    taken = {row.account: row for row in connection.execute(_TAKEN)}
    lines = (_stage_line(account, stage, rows, around, taken[account]) for (account, stage), rows in found.items())
    return tuple(sorted(lines, key=lambda line: (line.account, list(Stage).index(line.stage))))


def _stage_line(account: str, stage: Stage, rows: list[Any], around: Around, taken: Any) -> StageLine:
    due = [row.due_at for row in rows if row.due and not row.begun]
    first = _first(rows)
    wait = why(first, around)
    longest = max((around.now - min(due)).total_seconds(), 0.0) if due else 0.0
    assert wait is not None, "a job in line has not ended"
    return StageLine(
        account=account,
        stage=stage,
        looked_at=len(rows),
        due=len(due),
        oldest_due_seconds=longest,
        stalled_seconds=_stalled(stage, longest, taken),
        first=first,
        wait=wait,
        link_expires_at=min(filter(None, (row.link_expires_at for row in rows)), default=None),
    )


def _stalled(stage: Stage, longest: float, taken: Any) -> float:
    """Return for how long no worker has taken anything of a line whose oldest job has been due for `longest`."""
    if set(taken.in_hand) & _STATES[stage]:
        return 0.0
    if stage is not Stage.SUBMIT or taken.last_intent is None:
        return longest
    return min(longest, float(taken.last_intent))


def _first(rows: Iterable[Any]) -> WaitingJob:
    """Return the job that shows why the line stands: the oldest that no worker has in hand, or the oldest of all."""
    free = [row for row in rows if row.claimed_by is None]
    return waits.as_waiting(min(free or rows, key=lambda row: row.created_at))
