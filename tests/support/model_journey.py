"""Several jobs on the road, and beside them a plain model of what was paid, learned and allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.db.jobs.resolve import NotHeldError
from shared.db.jobs.retry import claims_of
from shared.db.payments.intents import Intent
from shared.ids import new_id
from shared.lifecycle import FINAL, ImageState, JobState, Outcome, Stage
from tests.support import rows
from tests.support.counted import check_counts
from tests.support.model_money import NOTHING, REPEATABLE, Call, check_books
from tests.support.model_road import ACCOUNT, Message, Road, upstream
from tests.support.model_run import empty
from tests.support.model_watch import Watch, waits_in_vain
from worker.claiming import RELEASABLE
from worker.providers.contract import Accepted, Refused, RetryRule
from worker.runtime import Runtime

BOUGHT = "bought"
NOT_SENT = Refused(Outcome.NOT_SENT, RetryRule.AFTER, "provider_unreachable", "no connection", after_seconds=0)
REFUSALS = {
    "not sent": NOT_SENT,
    "refused": Refused(Outcome.REJECTED, RetryRule.NEVER, "provider_rejected", "no"),
    "slowed": Refused(Outcome.REJECTED, RetryRule.AFTER, "rate_limited", "later"),
    "unpayable": Refused(Outcome.REJECTED, RetryRule.RESUME, "account_out_of_credit", "empty"),
}
_MINUTE = text("UPDATE job SET due_at = now() WHERE due_at BETWEEN now() AND now() + interval '1 minute'")
_LOST = Refused(Outcome.UNKNOWN, RetryRule.NEVER, "answer_lost", "lost")


@dataclass(frozen=True)
class Sent:
    """A paid call: what our books make of it, and what its provider answers, if that ever arrives."""

    intent: Intent
    call: Call
    answer: Accepted | Refused

    def __repr__(self) -> str:
        answer = self.answer
        images = [image.state.value for image in answer.images] if isinstance(answer, Accepted) else answer.outcome
        return f"<call of {self.call.reserved}: {images}, {self.call.outcome} to us>"


class Journey:
    """Each step changes the rows through the product and the model by itself; `check` compares the two."""

    def __init__(self, runtime: Runtime) -> None:
        empty(runtime.engine)
        self.road = Road(runtime)
        self.connection = runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.watch = Watch(self.connection)
        self.jobs: dict[UUID, Any] = {}
        self.messages: list[Message] = []
        self.sent: list[Sent] = []

    def close(self) -> None:
        self.connection.close()

    def enqueue(self, count: int) -> None:
        self.jobs[self.road.add(str(new_id()), count)] = None

    def tick(self, worker: str) -> None:
        messages, poison = self.road.tick(worker)
        self.messages += messages
        for job in poison:
            for call in self._calls(job)[-1:]:
                call.learn(call.outcome or Outcome.UNKNOWN)

    def pay(self, message: Message, worker: str, price: Decimal | None, fate: str, drawn: list[ImageState]) -> None:
        """Open the intent and decide what the provider makes of the call; the answer arrives in a step of its own."""
        earlier = self._calls(message.claim.job_id)
        intent = self.road.intend(message.claim, new_id(), price, worker)
        if intent is None:
            return
        assert all(call.allowed_again or call.outcome in REPEATABLE for call in earlier), "paid again by itself"
        charge = NOTHING if fate != BOUGHT else Decimal(1) if price is None else price
        call = Call(intent.submission_id, message.claim.job_id, ACCOUNT, price, charge)
        pictures = tuple(upstream(state) for state in drawn[: len(intent.missing)])
        known = charge if price is None else None
        accepted = Accepted(200, pictures, upstream_id=str(intent.submission_id), settled=known)
        self.sent.append(Sent(intent, call, REFUSALS.get(fate, accepted)))

    def answer(self, sent: Sent, *, arrives: bool) -> None:
        answer = sent.answer if arrives else _LOST
        going_on = self.road.answer(sent.intent, answer)
        if isinstance(answer, Accepted):
            sent.call.learn(Outcome.ACCEPTED, answer.settled)
        else:
            sent.call.learn(answer.outcome)
        self.messages += [going_on] if going_on else []

    def take_back(self, sent: Sent) -> None:
        sent.call.learn(Outcome.NOT_SENT)
        self.road.take_back(sent.intent.claim, sent.intent.submission_id)

    def reconcile(self, message: Message) -> None:
        before = rows.job(self.road.engine, message.claim.job_id)
        self.road.reconcile(message.claim)
        if before.state == JobState.SUBMITTING and before.epoch == message.claim.epoch and before.claimed_by:
            self._calls(message.claim.job_id)[-1].learn(Outcome.UNKNOWN)

    def cancel(self, job: UUID) -> None:
        before = rows.job(self.road.engine, job)
        done = self.road.cancel(job)
        open_ = JobState(before.state) not in FINAL and before.cancel_requested_at is None
        queued = before.state == JobState.QUEUED
        assert (done.ended, done.followed, done.more) == (open_ and queued, open_ and not queued, False)

    def retry(self, job: UUID, *, buy_again: bool) -> None:
        wanted = self.road.plan(job)
        assert len(claims_of(wanted)) == 1
        assert self.road.retry(wanted, buy_again=buy_again) == (buy_again or not wanted.buy_again)
        if wanted.buy_again and buy_again:
            for call in self._calls(job):
                call.allowed_again = True

    def resolve(self, job: UUID, *, resend: bool, knows: bool) -> None:
        """A person decides about the last call in doubt, and may know from the provider's history what it cost."""
        lost = self._calls(job)[-1]
        charged = lost.charge if knows else None
        if lost.outcome is not Outcome.UNKNOWN:
            with pytest.raises(NotHeldError):
                self.road.resolve(job, resend=resend, charged=charged)
            return
        self.road.resolve(job, resend=resend, charged=charged)
        for call in self._calls(job):
            call.allowed_again |= resend and call.outcome is not Outcome.ACCEPTED
        if charged is not None:
            lost.learn(Outcome.ACCEPTED if charged else Outcome.REJECTED, charged, inferred=True)

    def check(self) -> None:
        """Every job stays on the road, every picture that was paid for within reach, and the books are the model's."""
        # What is due within a minute is due now: else the walk would depend on how fast the machine is.
        self.connection.execute(_MINUTE)
        for job in self.watch.look():
            self.jobs[job.id] = job
            if waits_in_vain(job):
                if job.state == JobState.SUCCEEDED:
                    assert job.unowned, "what was bought beside the result is reported"
                    continue
                assert job.state == JobState.FAILED, "a picture that was paid for is out of reach"
                wanted = self.road.plan(job.id)
                assert wanted.ask or wanted.fetch, "a picture that was paid for is out of reach"
        check_books(self.connection, [sent.call for sent in self.sent])
        check_counts(self.connection)

    def wait_for_the_end(self) -> None:
        """However the walk went: once its bounds have passed and workers looked, each job has ended or is held."""
        for job in self.jobs:
            self.road.passes(job, "deadline_at")
            self.road.passes(job, "collect_until")
        # A tick claims two of a stage: who has waited for the tick before must not stand in the way of the others.
        for _ in range(len(self.jobs) + 2):
            self.road.falls_due(self._unsettled())
            self.messages.clear()
            self.tick("last")
            for message in self.messages:
                if message.stage is Stage.RECONCILE:
                    self.reconcile(message)
            self.road.falls_due(self._unsettled())
            self.road.sweep()
        self.check()
        assert {JobState(job.state) for job in self.jobs.values()} <= FINAL | {JobState.IN_DOUBT}
        assert sum((sent.call.sums[0] for sent in self.sent), NOTHING) == 0

    def _unsettled(self) -> list[UUID]:
        states = {job: JobState(rows.job(self.road.engine, job).state) for job in self.jobs}
        return [job for job, state in states.items() if state not in FINAL | {JobState.IN_DOUBT}]

    def some(self, fits: Callable[[Any], bool]) -> list[UUID]:
        return [job_id for job_id, job in self.jobs.items() if job and fits(job)]

    def live(self, stage: Stage) -> list[Message]:
        """Messages that their job still heeds."""
        found = [message for message in self.messages if message.stage is stage]
        jobs = [self.jobs[message.claim.job_id] for message in found]
        return [
            message
            for message, job in zip(found, jobs, strict=True)
            if job.claimed_by and job.epoch == message.claim.epoch and JobState(job.state) in RELEASABLE[stage]
        ]

    def in_the_air(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.call.outcome is None]

    def unsent(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.answer is NOT_SENT]

    def _calls(self, job: UUID) -> list[Call]:
        return [sent.call for sent in self.sent if sent.call.job_id == job]
