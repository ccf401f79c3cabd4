"""The dashboard's reads: a small pool of its own, short time limits, and answers that viewers share for a second."""

import statistics
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from producer.cli.pace import Pace
from shared.db.engine import Connection, Engine, transaction
from shared.db.jobs import model_times
from shared.db.payments import drift, spending
from shared.db.read import batch_page, counts, flow, held, pages, picture_costs
from shared.db.read.batch_page import BatchHead, BatchJobs, Filter
from shared.db.read.flow import HourOfAttempts, StageFlow
from shared.db.read.held import HeldJobs
from shared.db.read.pages import BatchCursor, Row
from shared.db.read.pictures_there import pictures_there
from shared.db.read.status import QueueStatus, status
from shared.db.read.story import story
from shared.db.webhooks import deliveries, endpoints
from shared.lifecycle import Stage

T = TypeVar("T")
FRESH_SECONDS: Final = 1.0
"""How old an answer may be that another viewer has just got."""
ENDED: Final = ("succeeded", "failed", "cancelled")
NEWEST_FAILURES: Final = 500
"""The failed jobs that the page of failures looks at."""
NEWEST_DELIVERIES: Final = 50
_KEPT: Final = 500


@dataclass(slots=True)
class Shared:
    """Answers that several viewers ask for at once: one of them reads, the others wait for the same answer."""

    fresh_seconds: float = FRESH_SECONDS
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: dict[Hashable, tuple[float, "Future[Any]"]] = field(default_factory=dict)

    def get(self, key: Hashable, read: Callable[[], T], *, fresh: float = 1.0) -> T:
        """Return the answer to `key`; what `read` raises is raised for everybody who waits, and not kept.

        The answer may be `fresh` times as old as usual.
        """
        now = self.clock()
        with self._lock:
            until, answer = self._answers.get(key, (now, Future[Any]()))
            mine = until <= now
            if mine:
                answer = Future()
                self._answers[key] = (now + self.fresh_seconds * fresh, answer)
                while len(self._answers) > _KEPT:
                    del self._answers[next(iter(self._answers))]
        if mine:
            self._fill(key, answer, read)
        found: T = answer.result()
        return found

    def forget(self) -> None:
        """Forget every answer, because something was changed."""
        with self._lock:
            self._answers.clear()

    def _fill(self, key: Hashable, answer: "Future[Any]", read: Callable[[], Any]) -> None:
        try:
            answer.set_result(read())
        except BaseException as error:  # noqa: BLE001 - passed on to everybody who waits
            with self._lock:
                self._answers.pop(key, None)
            answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class BatchSums:
    """One batch: its counts, and its money by account."""

    head: BatchHead
    bill: list[Row]
    pace: Pace
    """How fast it has gone lately, as far as somebody looked."""


@dataclass(frozen=True, slots=True)
class MoneyFacts:
    """Spending in all, by day and account, and the providers' own balances."""

    bill: list[Row]
    days: list[Row]
    spans: list[drift.BalanceSpan]

    def per_accepted(self, row: Row) -> Decimal | None:
        """Return what one accepted call of an account cost on average; None without any that was priced."""
        calls = row["accepted"] - row["settled_unpriced"]
        return (row["settled"] + row["elsewhere"]) / calls if calls > 0 else None


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """Jobs by provider and error code, and the newest that failed."""

    by_code: counts.Counts
    newest: list[Row]


class ModelPace(NamedTuple):
    """How long the newest jobs of a model took, in seconds since the purchase."""

    account: str
    model: str
    jobs: int
    half: float
    """Half of them were found ready within this."""
    most: float
    """Nine of ten were."""


@dataclass(frozen=True, slots=True)
class WebhookFacts:
    """Every endpoint, and the newest deliveries of the one that was asked for."""

    endpoints: list[Row]
    deliveries: list[Row]


@dataclass(slots=True)
class Reads:
    """Every question of a page, in at most three statements each but for `status`."""

    engine: Engine
    shared: Shared = field(default_factory=Shared)
    _paces: dict[UUID, Pace] = field(default_factory=dict)

    def status(self) -> QueueStatus:
        """Return the state of the whole queue: some fifteen short statements, shared by all viewers for two seconds."""
        return self.shared.get("status", lambda: self._in_transaction(status), fresh=2.0)

    def flow(self) -> dict[tuple[str, Stage], StageFlow]:
        """Return what passed each stage lately: one statement, shared by all viewers for five seconds."""
        return self.shared.get("flow", lambda: self._in_transaction(flow.stages), fresh=5.0)

    def attempts(self) -> list[HourOfAttempts]:
        """Return how the attempts of the last hours ended: one statement, shared by all viewers for half a minute."""
        return self.shared.get("attempts", lambda: self._in_transaction(flow.attempts), fresh=30.0)

    def batches(self, part: str | None, after: BatchCursor | None, limit: int) -> list[Row]:
        """Return a page of batches, newest first."""
        return self._ask(("batches", part, after, limit), pages.newest_batches, part=part, after=after, limit=limit)

    def batch(self, name: str) -> BatchSums | None:
        """Return one batch, None if there is none of that name."""
        return self._ask(("batch", name), self._batch, name)

    def batch_jobs(self, batch: UUID, which: Filter, after: UUID | None) -> BatchJobs:
        """Return a page of a batch's jobs with their images."""
        return self._ask(("jobs", batch, which, after), batch_page.jobs, batch, which, after=after)

    def job(self, job: UUID) -> dict[str, Any] | None:
        """Return one job's whole story, None if there is no such job."""
        return self._ask(("job", job), _job, job)

    def held(self) -> HeldJobs:
        """Return what waits for a person."""
        return self._ask("held", held.held)

    def money(self) -> MoneyFacts:
        """Return what was spent."""
        return self._ask("money", _money)

    def failures(self) -> FailureFacts:
        """Return failures by reason, and the newest ones."""
        return self._ask("failures", _failures)

    def learned(self) -> list[ModelPace]:
        """Return what was learned of how long each account's models take."""
        return self._ask("learned", _learned)

    def webhooks(self, endpoint: UUID | None, *, only_failed: bool) -> WebhookFacts:
        """Return every endpoint, and the newest deliveries of one."""
        return self._ask(("webhooks", endpoint, only_failed), _webhooks, endpoint, only_failed=only_failed)

    def results(self, name: str) -> Iterator[Row]:
        """Yield one row for each image of a batch, a page of jobs at a time; no transaction is open in between."""
        after: UUID | None = None
        while True:
            page = self._in_transaction(partial(pages.results, name=name, after=after))
            yield from page.rows
            if page.after is None:
                return
            after = page.after

    def pictures_there(self, keys: Collection[str]) -> set[str]:
        """Return those of some keys under which a picture is stored: nothing that was erased."""
        return self._in_transaction(partial(pictures_there, keys=keys))

    def find(self, name: str) -> list[UUID]:
        """Return the jobs that `name` may mean."""
        return self._ask(("find", name), pages.find_jobs, name)

    def _batch(self, connection: Connection, name: str) -> BatchSums | None:
        head = batch_page.head(connection, name)
        if head is None:
            return None
        pace = self._paces.setdefault(head.id, Pace())
        pace.mark(head.now.timestamp(), sum(head.states.get(state, 0) for state in ENDED))
        while len(self._paces) > _KEPT:
            del self._paces[next(iter(self._paces))]
        return BatchSums(head, spending.bill_of(connection, head.id), pace)

    def _ask(self, key: Hashable, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.shared.get(key, lambda: self._in_transaction(lambda connection: work(connection, *args, **kwargs)))

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        with transaction(self.engine) as connection:
            return work(connection)


def _failures(connection: Connection) -> FailureFacts:
    return FailureFacts(counts.by_error(connection), pages.newest_failures(connection, limit=NEWEST_FAILURES))


def _learned(connection: Connection) -> list[ModelPace]:
    known = model_times.everything(connection)
    return [_learned_of(*key, sorted(later for _, later in spans)) for key, spans in sorted(known.items()) if spans]


def _learned_of(account: str, model: str, seconds: list[float]) -> ModelPace:
    nine_of_ten = seconds[max(-(-len(seconds) * 9 // 10) - 1, 0)]
    return ModelPace(account, model, len(seconds), statistics.median(seconds), nine_of_ten)


def _webhooks(connection: Connection, endpoint: UUID | None, *, only_failed: bool) -> WebhookFacts:
    found = [dict(row) for row in endpoints.listing(connection)]
    if not any(row["id"] == endpoint for row in found):
        return WebhookFacts(found, [])
    newest = deliveries.newest(connection, endpoint, only_failed=only_failed, limit=NEWEST_DELIVERIES)  # type: ignore[arg-type]
    return WebhookFacts(found, [dict(row) for row in newest])


def _job(connection: Connection, job: UUID) -> dict[str, Any] | None:
    try:
        return story(connection, job)
    except LookupError:
        return None


def _money(connection: Connection) -> MoneyFacts:
    return MoneyFacts(picture_costs.bill(connection), spending.days(connection), drift.spans(connection))
