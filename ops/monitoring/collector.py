"""The state of the whole queue as Prometheus metrics, read from the database at most every few seconds."""

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared.db.engine import Connection, DatabaseUnavailableError, Engine, transaction
from shared.db.jobs.bulk import NIL
from shared.db.payments import drift, spending
from shared.db.payments.drift import BalanceSpan
from shared.db.read import pages, tables
from shared.db.read.pages import FinishedCursor, Row
from shared.db.read.status import QueueStatus, status
from shared.db.read.tables import TableState
from shared.problems import problems
from shared.wait_facts import WaitReason

FRESH_SECONDS: Final = 10.0
"""However often it is asked, the database is read only this often."""
_LATE: Final = frozenset({WaitReason.LINE, WaitReason.IN_BROKER, WaitReason.NO_WORKER, WaitReason.BROKER})
"""Reasons for which due work is late. The others are known: a full window, a pause, a cap."""
_SETTLED_SECONDS: Final = 10.0  # a transaction that began earlier may still commit a job that ended
_MOST_PAGES: Final = 20
_JOB_SECONDS: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600)


class Snapshot(NamedTuple):
    """What is read of the database for one answer."""

    status: QueueStatus
    bill: list[Row]
    spans: list[BalanceSpan]
    tables: list[TableState]
    oldest_transaction_seconds: float


class QueueCollector(Collector):
    """Collects the state from the database of `engine`, and counts in `registry` what ends."""

    def __init__(self, engine: Engine, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._last: list[Metric] = []
        self._read_at = float("-inf")
        self._cursor: FinishedCursor | None = None
        registry.register(self)  # before the counters, which a look makes grow
        self._finished = Counter(
            "genqueue_jobs_finished", "Jobs that ended.", ["provider", "state", "code"], registry=registry
        )
        self._seconds = Histogram(
            "genqueue_job_seconds",
            "From a job's row to its end.",
            ["provider", "state"],
            registry=registry,
            buckets=_JOB_SECONDS,
        )

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the database must not be read for a registration."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; without a database, only that it is away."""
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._last = list(self._collected())
                self._read_at = time.monotonic()
            return list(self._last)

    def _collected(self) -> Iterator[Metric]:
        try:
            with transaction(self._engine) as connection:
                found = _snapshot(connection)
            self._follow(found.status.at)
        except DatabaseUnavailableError:
            yield _gauge("genqueue_database_up", "Whether the database answered.", [], [((), 0.0)])
            return
        yield _gauge("genqueue_database_up", "Whether the database answered.", [], [((), 1.0)])
        yield from _of_work(found.status)
        yield from _of_accounts(found.status)
        yield from _of_money(found)
        yield from _of_tables(found)

    def _follow(self, now: datetime) -> None:
        """Count the jobs that ended since the last look; those before the first look are not counted."""
        until = now - timedelta(seconds=_SETTLED_SECONDS)
        cursor = self._cursor or FinishedCursor(until, NIL)
        for _ in range(_MOST_PAGES):
            with transaction(self._engine) as connection:
                page = pages.finished(connection, cursor)
            rows = [row for row in page if row["finished_at"] <= until]
            for row in rows:
                self._count(row)
            if rows:
                cursor = FinishedCursor(rows[-1]["finished_at"], rows[-1]["id"])
            if len(rows) < pages.SIZE:
                break
        self._cursor = cursor

    def _count(self, row: Row) -> None:
        self._finished.labels(row["provider"], row["state"], row["error_code"] or "").inc()
        seconds = (row["finished_at"] - row["created_at"]).total_seconds()
        self._seconds.labels(row["provider"], row["state"]).observe(max(seconds, 0.0))


def _snapshot(connection: Connection) -> Snapshot:
    return Snapshot(
        status(connection),
        spending.bill(connection),
        [span for span in drift.spans(connection) if span.current],
        tables.tables(connection),
        tables.oldest_transaction_seconds(connection),
    )


Sample = tuple[tuple[str, ...], float]


def _gauge(name: str, words: str, labels: list[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, amount in samples:
        family.add_metric(values, amount)
    return family


def _of_work(state: QueueStatus) -> Iterator[Metric]:
    lines = state.lines
    yield _gauge(
        "genqueue_jobs",
        "Jobs by shown state.",
        ["provider", "state"],
        (((provider, shown), float(n)) for provider, states in state.jobs.items() for shown, n in states.items()),
    )
    yield _gauge(
        "genqueue_oldest_due_seconds",
        "How long the oldest work has been due; hours, in a large batch.",
        ["account", "stage"],
        (((line.account, line.stage.value), line.oldest_due_seconds) for line in lines),
    )
    yield _gauge(
        "genqueue_stalled_seconds",
        "How long due work is not taken; 0 while workers have some in hand, or a known reason holds it up.",
        ["account", "stage"],
        (((x.account, x.stage.value), x.stalled_seconds if x.wait.reason in _LATE else 0.0) for x in lines),
    )
    yield _gauge(
        "genqueue_waiting",
        "1 for what the first job in line waits for.",
        ["account", "stage", "reason"],
        (((line.account, line.stage.value, line.wait.reason.value), 1.0) for line in lines),
    )
    yield _gauge(
        "genqueue_link_margin_seconds",
        "Time until the next link expires, of images that wait for their download.",
        ["account"],
        (((x.account,), (x.link_expires_at - state.at).total_seconds()) for x in lines if x.link_expires_at),
    )
    yield _gauge(
        "genqueue_problem",
        "1 for each problem that `genqueue status` names.",
        ["kind", "subject"],
        (((problem.code, problem.subject), 1.0) for problem in problems(state)),
    )
    held = (state.at - state.held_since).total_seconds() if state.held_since else 0.0
    yield _gauge("genqueue_held_seconds", "How long the oldest held job has waited.", [], [((), held)])
    alive = float(state.live_workers)
    silent = len(state.workers) - alive
    yield _gauge("genqueue_workers", "Workers.", ["state"], [(("alive",), alive), (("silent",), silent)])


def _of_accounts(state: QueueStatus) -> Iterator[Metric]:
    accounts = state.accounts
    yield _gauge(
        "genqueue_account_paused",
        "1 while paid calls of the account are stopped.",
        ["account", "code"],
        (((one.name, one.paused_code or ""), float(one.paused_at is not None)) for one in accounts),
    )
    yield _gauge(
        "genqueue_window_used_ratio",
        "The used part of each rate window.",
        ["account", "window"],
        (((one.name, str(x.window)), x.used / x.window.requests) for one in accounts for x in one.windows),
    )
    calls = (((one.name,), float(one.paying)) for one in accounts)
    yield _gauge("genqueue_calls_in_hand", "Paid calls that are begun.", ["account"], calls)
    most = (((one.name,), float(one.concurrency)) for one in accounts)
    yield _gauge("genqueue_calls_allowed", "Paid calls that may be in the air at once.", ["account"], most)


def _of_money(found: Snapshot) -> Iterator[Metric]:
    accounts = found.status.accounts
    yield _gauge(
        "genqueue_money",
        "Money of all times by kind: settled, elsewhere, reserved now, held now.",
        ["account", "unit", "kind"],
        (
            ((row["account"], row["unit"], kind), float(row[kind]))
            for row in found.bill
            for kind in ("settled", "elsewhere", "reserved", "held")
        ),
    )
    yield _gauge(
        "genqueue_unpriced_calls",
        "Calls of unknown cost, which the sums include as 0.",
        ["account", "kind"],
        (
            ((row["account"], kind), float(row[f"{kind}_unpriced"]))
            for row in found.bill
            for kind in ("settled", "held")
        ),
    )
    today = (((one.name, one.unit), float(one.spent_today)) for one in accounts)
    yield _gauge("genqueue_spent_today", "Spent or set aside since midnight UTC.", ["account", "unit"], today)
    left = (((one.name, one.unit), float(one.balance)) for one in accounts if one.balance is not None)
    yield _gauge("genqueue_balance", "What the provider says is left.", ["account", "unit"], left)
    yield _gauge(
        "genqueue_drift",
        "What the provider took more than the ledger knows.",
        ["account", "unit"],
        (((span.account, span.unit), float(span.drift)) for span in found.spans),
    )


def _of_tables(found: Snapshot) -> Iterator[Metric]:
    rows = (((one.name,), float(one.live)) for one in found.tables)
    yield _gauge("genqueue_table_rows", "Rows, as PostgreSQL's statistics count them.", ["table"], rows)
    dead = (((one.name,), float(one.dead)) for one in found.tables)
    yield _gauge("genqueue_table_dead_rows", "Dead rows that a vacuum will remove.", ["table"], dead)
    age = found.oldest_transaction_seconds
    words = "Age of the oldest transaction, which keeps dead rows."
    yield _gauge("genqueue_oldest_transaction_seconds", words, [], [((), age)])
