"""Whatever happens to jobs in whatever order, each stays on the road, and none is paid for twice by itself."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.lifecycle import ImageState, JobState, Stage
from tests.support import rows
from tests.support.model_journey import BOUGHT, REFUSALS, Journey
from tests.support.model_money import NOTHING
from tests.support.model_road import Message
from tests.support.model_run import standing_still, walk
from worker.runtime import Runtime

MOST_JOBS = 4
WORKERS = st.sampled_from(["a", "b"])
PRICES = st.sampled_from([None, NOTHING, Decimal(2), Decimal("3.5")])
UPSTREAM = (ImageState.PENDING, ImageState.PROCESSING, ImageState.READY, ImageState.FAILED)
DRAWN = st.lists(st.sampled_from(UPSTREAM), min_size=3, max_size=3)
POLLED = st.lists(st.sampled_from((*UPSTREAM, None)), min_size=3, max_size=3)
COPIED = st.lists(st.sampled_from([ImageState.STORED, ImageState.READY, ImageState.FAILED]), min_size=3, max_size=3)
OVERDUE = """
SELECT id, state FROM job WHERE
(state = 'queued' AND deadline_at <= now() AND (claimed_by IS NULL OR due_at <= now()))
OR (state IN ('pending', 'processing', 'transferring') AND due_at <= now()
  AND collect_until < now() - interval '2 hours')
"""
FATES = st.sampled_from([BOUGHT, BOUGHT, *REFUSALS])


def waits(job: Any) -> bool:
    return job.due_at is not None and not job.due


def has_failed(job: Any) -> bool:
    return bool(job.state == JobState.FAILED)


def is_held(job: Any) -> bool:
    return bool(job.state == JobState.IN_DOUBT)


def is_claimed(job: Any) -> bool:
    return bool(job.claimed_by)


class Lifecycle(RuleBasedStateMachine):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.on = Journey(runtime)

    # Producers

    @initialize(data=st.data(), price=PRICES, fate=FATES, drawn=DRAWN)
    def begin(self, data: st.DataObject, price: Decimal | None, fate: str, drawn: list[ImageState]) -> None:
        """Begin where it becomes interesting: one job is being paid for, one waits."""
        self.enqueue(data)
        self.enqueue(data)
        self.on.tick("a")
        self.on.pay(self.on.messages[0], "a", price, fate, drawn)

    @precondition(lambda self: len(self.on.jobs) < MOST_JOBS)
    @rule(data=st.data())
    def enqueue(self, data: st.DataObject) -> None:
        self.on.enqueue(data.draw(st.integers(1, 3)))

    # The dispatcher

    @precondition(lambda self: any(job and job.due for job in self.on.jobs.values()))
    @rule(worker=WORKERS)
    def tick(self, worker: str) -> None:
        self.on.tick(worker)

    @precondition(lambda self: self.on.messages)
    @rule(data=st.data())
    def broker_is_away(self, data: st.DataObject) -> None:
        self.on.road.give_back(data.draw(st.sampled_from(self.on.messages)))

    @precondition(lambda self: self.on.some(is_claimed))
    @rule(worker=WORKERS)
    def worker_dies(self, worker: str) -> None:
        self.on.road.dies(worker)
        statement = "SELECT 1 FROM job WHERE claimed_by = :name AND due_at > now()"
        assert rows.rows(self.on.road.engine, statement, name=worker) == []

    # Time

    @precondition(lambda self: self.on.some(waits))
    @rule(data=st.data())
    def falls_due(self, data: st.DataObject) -> None:
        self.on.road.falls_due([self.one(data, waits)])

    @rule(data=st.data(), bound=st.sampled_from(["deadline_at", "collect_until"]))
    def bound_passes(self, data: st.DataObject, bound: str) -> None:
        self.on.road.passes(data.draw(st.sampled_from(list(self.on.jobs))), bound)
        self.on.road.sweep()
        assert rows.rows(self.on.road.engine, OVERDUE) == []

    # Workers

    @precondition(lambda self: self.on.live(Stage.SUBMIT))
    @rule(data=st.data(), worker=WORKERS, price=PRICES, fate=FATES, drawn=DRAWN)
    def pay(self, data: st.DataObject, worker: str, price: Decimal | None, fate: str, drawn: list[ImageState]) -> None:
        message = self.message(data, Stage.SUBMIT)
        self.on.road.begin(message, worker)
        self.on.pay(message, worker, price, fate, drawn)

    @precondition(lambda self: self.on.in_the_air())
    @rule(data=st.data(), arrives=st.sampled_from([True, True, False]))
    def answer(self, data: st.DataObject, *, arrives: bool) -> None:
        self.on.answer(data.draw(st.sampled_from(self.on.in_the_air())), arrives=arrives)

    @precondition(lambda self: self.on.sent)
    @rule(data=st.data(), arrives=st.booleans())
    def answer_late_or_twice(self, data: st.DataObject, *, arrives: bool) -> None:
        self.on.answer(data.draw(st.sampled_from(self.on.sent)), arrives=arrives)

    @precondition(lambda self: self.on.unsent())
    @rule(data=st.data())
    def commit_was_not_confirmed(self, data: st.DataObject) -> None:
        self.on.take_back(data.draw(st.sampled_from(self.on.unsent())))

    @precondition(lambda self: self.on.live(Stage.POLL))
    @rule(data=st.data(), worker=WORKERS, said=POLLED)
    def poll(self, data: st.DataObject, worker: str, said: list[ImageState | None]) -> None:
        message = self.message(data, Stage.POLL)
        self.on.road.begin(message, worker)
        self.on.road.poll(message.claim, said)

    @precondition(lambda self: self.on.live(Stage.TRANSFER))
    @rule(data=st.data(), worker=WORKERS, copied=COPIED)
    def copy(self, data: st.DataObject, worker: str, copied: list[ImageState]) -> None:
        message = self.message(data, Stage.TRANSFER)
        self.on.road.begin(message, worker)
        self.on.road.copy(message.claim, copied)

    @precondition(lambda self: self.on.live(Stage.RECONCILE))
    @rule(data=st.data(), worker=WORKERS)
    def reconcile(self, data: st.DataObject, worker: str) -> None:
        message = self.message(data, Stage.RECONCILE)
        self.on.road.begin(message, worker)
        self.on.reconcile(message)

    @precondition(lambda self: self.on.messages)
    @rule(data=st.data(), said=POLLED, copied=COPIED, price=PRICES)
    def wake_up_late(
        self, data: st.DataObject, said: list[ImageState | None], copied: list[ImageState], price: Decimal | None
    ) -> None:
        """A message that came twice, or a worker that was frozen: whatever it holds may be old."""
        message = data.draw(st.sampled_from(self.on.messages))
        if message.stage is Stage.SUBMIT:
            self.on.pay(message, "b", price, BOUGHT, [ImageState.READY])
        elif message.stage is Stage.POLL:
            self.on.road.poll(message.claim, said)
        elif message.stage is Stage.TRANSFER:
            self.on.road.copied(message.claim, data.draw(st.integers(0, 2)), copied[0])
            self.on.road.renew(message.claim)
        else:
            self.on.reconcile(message)

    # People

    @precondition(lambda self: len(self.on.jobs) == MOST_JOBS)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.on.cancel(data.draw(st.sampled_from(list(self.on.jobs))))

    @precondition(lambda self: self.on.some(has_failed))
    @rule(data=st.data(), buy_again=st.booleans())
    def retry(self, data: st.DataObject, *, buy_again: bool) -> None:
        self.on.retry(self.one(data, has_failed), buy_again=buy_again)

    @precondition(lambda self: self.on.some(is_held))
    @rule(data=st.data(), resend=st.booleans(), knows=st.booleans())
    def resolve(self, data: st.DataObject, *, resend: bool, knows: bool) -> None:
        self.on.resolve(self.one(data, is_held), resend=resend, knows=knows)

    @precondition(lambda self: len(self.on.jobs) == MOST_JOBS)
    @rule(pause=st.sampled_from([True, False, False]))
    def pause_or_resume(self, *, pause: bool) -> None:
        self.on.road.pause() if pause else self.on.road.resume()

    def one(self, data: st.DataObject, fits: Callable[[Any], bool]) -> UUID:
        return data.draw(st.sampled_from(self.on.some(fits)))

    def message(self, data: st.DataObject, stage: Stage) -> Message:
        return data.draw(st.sampled_from(self.on.live(stage)))

    @invariant()
    def holds_together(self) -> None:
        self.on.check()

    def teardown(self) -> None:
        try:
            self.on.wait_for_the_end()
        finally:
            self.on.close()


def test_any_order_of_events_leaves_every_job_on_the_road(runtime: Runtime) -> None:
    still = standing_still(runtime)
    walk(lambda: Lifecycle(still), examples=20)
