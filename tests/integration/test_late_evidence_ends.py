"""A first call's own answer that comes while a second call of its job comes to nothing: its pictures are collected."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Move, move
from shared.db.payments import intents, submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome, Stage
from tests.support import rows
from tests.support.drain import run_stage
from worker.claiming import Parcel
from worker.providers.contract import Accepted, UpstreamImage
from worker.runtime import Runtime
from worker.stages import poll
from worker.stages.look_requests import Looks
from worker.stages.settle import Answered, settle_all

FAILED = UpstreamImage(ImageState.FAILED, "second", error_code="generation_failed", error="it failed")
Late = Callable[[], None]


@pytest.fixture
def second(engine: Engine) -> Intent:
    """The second call of a job whose first was lost, in the air."""
    first = rows.one_intent(engine)
    lost = Answer(Outcome.UNKNOWN, error_code="sender_lost")
    held = Move(first.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="sender_lost", on_hold=True)
    assert rows.settle(engine, first, lost, held)
    with transaction(engine) as connection:
        again = Move(rows.claim_of(engine, first.claim.job_id), JobState.IN_DOUBT, JobState.QUEUED, 0)
        assert move(connection, [again], actor="person")
    (opened,) = rows.open_intents(engine, rows.claim(engine), quiet=3600)
    return opened


@pytest.fixture
def late(engine: Engine, second: Intent) -> Late:
    """Deliver the first call's own answer, as its sender does that comes back."""
    job = second.claim.job_id
    (first,) = rows.rows(
        engine, "SELECT id FROM submission WHERE job_id = :job AND id <> :second", job=job, second=second.submission_id
    )

    def deliver() -> None:
        with transaction(engine) as connection:
            assert submissions.record(connection, first.id, rows.accepted())
            submissions.follow_late(connection, job, first.id, actor="late")

    return deliver


def collects(engine: Engine, job: Any) -> bool:
    found = rows.job(engine, job)
    return (found.state, found.due, found.error_code) == (JobState.TRANSFERRING, True, "answer_found")


def settle(runtime: Runtime, intent: Intent, answer: Accepted) -> None:
    with transaction(runtime.engine) as connection:
        settle_all(connection, [Answered(runtime, runtime.accounts["bloom"], intent, answer)])


def test_it_is_collected_where_the_second_call_is_charged_and_brings_no_picture(
    engine: Engine, runtime: Runtime, second: Intent, late: Late
) -> None:
    late()
    settle(runtime, second, Accepted(200, (FAILED,), "second"))
    assert collects(engine, second.claim.job_id)


def test_it_is_collected_where_the_second_call_s_pictures_are_found_to_have_failed_meanwhile(
    engine: Engine, runtime: Runtime, second: Intent, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(runtime, second, Accepted(202, (UpstreamImage(ImageState.PENDING, "second"),), "second"))
    rows.rows(engine, "UPDATE job SET due_at = now()")

    async def ask_all(*_given: Any) -> Looks:
        late()  # between the look at the job's pictures and the write of what the provider said
        return Looks(known={"second": FAILED})

    monkeypatch.setattr(poll, "ask_all", ask_all)
    run_stage(runtime, Parcel(Stage.POLL, "bloom", tuple(rows.claim(engine, "poll"))))
    assert collects(engine, second.claim.job_id)


def test_it_is_collected_where_the_second_call_s_sender_dies(
    engine: Engine, runtime: Runtime, second: Intent, late: Late
) -> None:
    late()
    rows.rows(engine, "UPDATE job SET due_at = now()")
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(rows.claim(engine, "reconcile"))))
    assert collects(engine, second.claim.job_id)
    (open_one,) = rows.rows(engine, "SELECT outcome FROM submission WHERE id = :id", id=second.submission_id)
    assert open_one.outcome == Outcome.UNKNOWN


def test_it_is_collected_and_nothing_is_paid_where_the_second_call_s_intent_is_undone(
    engine: Engine, second: Intent, late: Late
) -> None:
    late()
    with transaction(engine) as connection:
        wanted = {second.claim: second.submission_id}
        intents.undo(connection, "bloom", wanted, note="the database was lost", actor="a-worker")
    assert collects(engine, second.claim.job_id)
