"""Attempts to pay: opened once, closed by the first real answer, and never closed by somebody else's failure."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from shared.account_settings import RateWindow
from shared.db import pauses
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Claim, Move
from shared.db.payments import intents, submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.ids import new_id
from shared.lifecycle import ImageState, JobState, Outcome
from tests.support import rows

UNKNOWN = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")
REJECTED = Answer(Outcome.REJECTED, http_status=429, error_code="rate_limited", error="slow")


def record(engine: Engine, intent: Intent, answer: Answer) -> bool:
    with transaction(engine) as connection:
        return submissions.record(connection, intent.submission_id, answer)


def outcomes(engine: Engine) -> list[str | None]:
    return [row.outcome for row in rows.rows(engine, "SELECT outcome FROM submission ORDER BY opened_at")]


def take_back(engine: Engine, wanted: dict[Claim, UUID]) -> None:
    with transaction(engine) as connection:
        intents.undo(connection, "bloom", wanted, note="the database was lost", actor="me")


def test_an_intent_opens_a_submission_and_takes_slot_and_reserve_in_one_step(engine: Engine) -> None:
    intent = rows.one_intent(engine, n=2)
    (submission,) = rows.rows(engine, "SELECT * FROM submission")
    assert (submission.id, submission.epoch, submission.outcome) == (intent.submission_id, intent.claim.epoch, None)
    assert (submission.sender, submission.sender_lock, submission.reserved) == ("a-worker", 4711, Decimal(2))
    assert intent.missing == (0, 1)
    assert rows.states(engine) == {"submitting": 1}
    assert len(rows.rows(engine, "SELECT 1 FROM request_slot WHERE kind = 'submit'")) == 1
    assert rows.rows(engine, "SELECT kind, reserved FROM ledger") == [("reserve", Decimal(2))]


def test_a_message_delivered_twice_opens_one_submission(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    claims = rows.claim(engine)
    assert len(rows.open_intents(engine, claims)) == 1
    assert rows.open_intents(engine, claims) == []
    assert outcomes(engine) == [None]


def test_a_message_that_outlived_its_lease_opens_nothing(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert rows.open_intents(engine, rows.claim(engine, lease=0)) == []
    assert rows.states(engine) == {"queued": 1}


def test_a_job_past_its_deadline_opens_nothing(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    claims = rows.claim(engine)
    rows.rows(engine, "UPDATE job SET deadline_at = now()")
    assert rows.open_intents(engine, claims) == []


def test_what_the_window_does_not_allow_goes_back_unspent_to_its_place_in_line(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"c{number}") for number in range(5)])
    rows.register(engine, rows.account_row(windows=(RateWindow(requests=2, seconds=60),)))
    assert len(rows.open_intents(engine, rows.claim(engine, count=5))) == 2
    waiting = rows.rows(engine, "SELECT state, claimed_by, due_at <= now() AS due FROM job ORDER BY fair_position")
    assert waiting[2:] == [("queued", None, True)] * 3


def test_a_paused_account_opens_nothing_and_its_jobs_go_back_unspent(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    claims = rows.claim(engine)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="x", reason="y", action_url=None)
    assert rows.open_intents(engine, claims) == []
    assert rows.job(engine, claims[0].job_id).claimed_by is None
    assert outcomes(engine) == []


def test_a_second_message_does_not_end_the_lease_of_the_first_when_the_account_pauses(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    claims = rows.claim(engine)
    rows.open_intents(engine, claims)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="x", reason="y", action_url=None)
    assert rows.open_intents(engine, claims) == []
    job = rows.job(engine, claims[0].job_id)
    assert (job.state, job.due, job.claimed_by) == ("submitting", False, "a-worker")


def test_an_intent_whose_commit_was_not_confirmed_is_taken_back_unspent(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine)
    (intent,) = rows.open_intents(engine, [claim])
    take_back(engine, {claim: intent.submission_id})
    assert outcomes(engine) == ["not_sent"]
    assert rows.states(engine) == {"queued": 1}
    assert rows.rows(engine, "SELECT sum(reserved), sum(held), sum(settled) FROM ledger") == [(0, 0, 0)]


def test_an_intent_that_was_never_committed_gives_its_claim_back(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine)
    take_back(engine, {claim: new_id()})
    assert rows.job(engine, claim.job_id).claimed_by is None
    assert outcomes(engine) == []


def test_the_failure_of_a_second_message_does_not_take_back_what_the_first_is_paying_for(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine)
    rows.open_intents(engine, [claim])
    take_back(engine, {claim: new_id()})
    assert outcomes(engine) == [None]
    assert rows.states(engine) == {"submitting": 1}
    assert not rows.job(engine, claim.job_id).due


def test_recording_an_answer_twice_changes_nothing(engine: Engine) -> None:
    intent, answer = rows.one_intent(engine), rows.accepted()
    assert record(engine, intent, answer)
    assert not record(engine, intent, answer)
    assert len(rows.rows(engine, "SELECT 1 FROM image")) == 1
    assert [row.kind for row in rows.rows(engine, "SELECT kind FROM ledger ORDER BY id")] == ["reserve", "settle"]


@pytest.mark.parametrize("late", [rows.accepted(), REJECTED])
def test_late_evidence_replaces_unknown(engine: Engine, late: Answer) -> None:
    intent = rows.one_intent(engine)
    assert record(engine, intent, UNKNOWN)
    assert record(engine, intent, late)
    assert outcomes(engine) == [late.outcome]
    assert rows.rows(engine, "SELECT sum(held) FROM ledger") == [(0,)]


@pytest.mark.parametrize("late", [UNKNOWN, REJECTED, Answer(Outcome.NOT_SENT)])
def test_no_evidence_replaces_an_acceptance(engine: Engine, late: Answer) -> None:
    intent = rows.one_intent(engine)
    assert record(engine, intent, rows.accepted())
    assert not record(engine, intent, late)
    assert outcomes(engine) == ["accepted"]


def test_an_answer_that_comes_after_the_claim_was_lost_is_kept_and_makes_the_job_due(engine: Engine) -> None:
    intent = rows.one_intent(engine, lease=0)
    rows.claim(engine, "reconcile", worker="another")
    step = Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 1)
    assert not rows.settle(engine, intent, rows.accepted(ImageState.PENDING), step)
    assert outcomes(engine) == ["accepted"]
    with transaction(engine) as connection:
        submissions.follow_late(connection, intent.claim.job_id, intent.submission_id, actor="a")
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.due, job.claimed_by) == ("submitting", True, None)


def test_buying_again_asks_only_for_what_is_not_stored_and_replaces_what_never_came(engine: Engine) -> None:
    intent = rows.one_intent(engine, n=3)
    first = rows.accepted(ImageState.READY, ImageState.FAILED, ImageState.FAILED)
    rows.settle(engine, intent, first, Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="x"))
    rows.rows(engine, "UPDATE image SET state = 'stored', key = 'k', sha256 = '\\x00' WHERE index = 0")
    rows.rows(engine, "UPDATE job SET state = 'queued', due_at = now(), finished_at = NULL")
    (again,) = rows.open_intents(engine, rows.claim(engine))
    assert again.missing == (1, 2)
    pictures = rows.accepted(ImageState.PENDING, ImageState.PENDING).images
    moved = tuple(replace(picture, index=picture.index + 1) for picture in pictures)
    record(engine, again, Answer(Outcome.ACCEPTED, upstream_id="again", images=moved))
    found = rows.rows(engine, "SELECT index, state, submission_id FROM image ORDER BY index")
    assert [(row.index, row.state) for row in found] == [(0, "stored"), (1, "pending"), (2, "pending")]
    assert [row.submission_id == again.submission_id for row in found] == [False, True, True]
