"""When a lost call is let go: never before its purchase would show in the list, nor while its sender lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Claim, Move
from shared.db.listening import Listener
from shared.db.lost_calls.lost_calls import LostCall
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome
from tests.support import rows
from tests.support.waiting import until
from worker.lost_calls.listing import ListReading
from worker.providers.contract import Listed
from worker.runtime import Runtime
from worker.stages.follow_evidence import follow_evidence
from worker.stages.follow_provider import follow_provider


@pytest.fixture
def lost(engine: Engine) -> Any:
    """A call whose worker died over it, in a batch that lets go of calls that bought nothing."""
    intent = rows.one_intent(engine)
    rows.rows(engine, "UPDATE batch SET on_unknown = 'resend'")
    answer = Answer(Outcome.UNKNOWN, error_code="sender_lost", error="gone")
    step = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 0, code="sender_lost", note="gone")
    assert rows.settle(engine, intent, answer, step)
    return intent


@contextmanager
def alive(engine: Engine) -> Iterator[None]:
    listener = Listener(engine, rows.SENDER.lock_key)
    try:
        yield
    finally:
        listener.close()


def claimed(engine: Engine) -> Claim:
    rows.rows(engine, "UPDATE job SET due_at = now()")
    (claim,) = rows.claim(engine, "reconcile")
    return claim


def look_at(engine: Engine, runtime: Runtime, claim: Claim) -> LostCall | None:
    with transaction(engine) as connection:
        return follow_evidence(connection, runtime, runtime.accounts["bloom"], claim)


def later_purchase(engine: Engine) -> ListReading:
    """Buy a picture after the call was over, and return a reading of the list: it, and a stranger's of long before."""
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 60)
    assert rows.settle(engine, intent, rows.accepted(ImageState.PENDING), step)
    ((name, made_at),) = rows.rows(
        engine,
        "SELECT image.upstream_id, opened_at FROM submission JOIN image ON image.submission_id = submission.id",
    )
    return ListReading((Listed(name, made_at), Listed("older", made_at - timedelta(days=4))), made_at, ended=True)


def judge(engine: Engine, runtime: Runtime, claim: Claim, submission_id: Any, looked: ListReading) -> str:
    rows.rows(engine, "UPDATE submission SET key_id = :key", key=runtime.accounts["bloom"].key_id)
    with transaction(engine) as connection:
        follow_provider(connection, runtime, runtime.accounts["bloom"], claim, submission_id, looked)
        newest = submissions.latest(connection, claim.job_id)
        assert newest is not None
        return str(newest.outcome)


def quiet(engine: Engine) -> None:
    rows.rows(
        engine,
        "UPDATE submission SET opened_at = now() - interval '3 days', visible_by = now() - interval '2 days' "
        "WHERE outcome = 'unknown'",
    )


def test_a_list_is_not_asked_before_a_purchase_would_show_in_it(engine: Engine, runtime: Runtime, lost: Any) -> None:
    assert look_at(engine, runtime, claimed(engine)) is None
    job = rows.job(engine, lost.claim.job_id)
    assert (job.state, job.claimed_by, job.due) == ("in_doubt", None, False)
    quiet(engine)
    found = look_at(engine, runtime, claimed(engine))
    assert found is not None
    assert found.submission_id == lost.submission_id


def test_a_call_whose_sender_lives_is_never_sent_again_and_one_whose_sender_is_gone_is(
    engine: Engine, runtime: Runtime, lost: Any
) -> None:
    quiet(engine)
    looked = later_purchase(engine)
    with alive(engine):
        assert judge(engine, runtime, claimed(engine), lost.submission_id, looked) == "unknown"
        assert rows.states(engine) == {"in_doubt": 1, "pending": 1}
    until(lambda: judge(engine, runtime, claimed(engine), lost.submission_id, looked) == "rejected")
    assert rows.states(engine) == {"queued": 1, "pending": 1}
