"""Evidence that meets somebody else's work: it is kept, and ends neither a lease nor a proof."""

from dataclasses import replace
from decimal import Decimal

from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import resolve
from shared.db.jobs.transitions import Claim, Move
from shared.db.payments import intents, submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from tests.support import rows

UNKNOWN = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")
REFUSED = Answer(Outcome.REJECTED, error_code="provider_rejected", error="no")


def lost_call(engine: Engine, intent: Intent, claim: Claim) -> None:
    step = Move(claim, JobState.SUBMITTING, JobState.IN_DOUBT, 3600, code="answer_lost", note="lost")
    assert rows.settle(engine, intent, UNKNOWN, step)


def test_late_evidence_of_a_first_attempt_leaves_the_second_in_its_senders_hand(engine: Engine) -> None:
    first = rows.one_intent(engine)
    lost_call(engine, first, first.claim)
    with transaction(engine) as connection:
        resolve(connection, first.claim.job_id, resend=True, charged=None, actor="a person")
    (second,) = rows.open_intents(engine, rows.claim(engine))
    with transaction(engine) as connection:
        assert submissions.record(connection, first.submission_id, REFUSED)
        submissions.follow_late(connection, first.claim.job_id, first.submission_id, actor="a")
    job = rows.job(engine, second.claim.job_id)
    assert (job.state, job.claimed_by, job.due) == ("submitting", rows.SENDER.name, False)


def test_the_proof_that_nothing_left_counts_after_the_call_was_judged_lost(engine: Engine) -> None:
    intent = rows.one_intent(engine, lease=0)
    (judged,) = rows.claim(engine, "reconcile")
    lost_call(engine, intent, judged)
    with transaction(engine) as connection:
        wanted = {intent.claim: intent.submission_id}
        intents.undo(connection, "bloom", wanted, note="the database was lost", actor="a")
    assert rows.rows(engine, "SELECT outcome FROM submission") == [("not_sent",)]
    assert rows.rows(engine, "SELECT sum(reserved), sum(settled), sum(held) FROM ledger") == [(0, 0, 0)]
    assert rows.job(engine, intent.claim.job_id).due


def test_the_providers_own_word_about_an_adopted_picture_forgets_nothing_that_is_stored(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    said = rows.accepted()
    with transaction(engine) as connection:
        assert submissions.record(connection, intent.submission_id, replace(said, inferred=True))
    rows.store(engine, rows.bytes_of(engine, intent.claim.job_id, 0))
    with transaction(engine) as connection:
        assert submissions.record(connection, intent.submission_id, replace(said, settled=Decimal(1)))
    assert rows.rows(engine, "SELECT state, key FROM image") == [("stored", "k")]
    assert rows.rows(engine, "SELECT inferred, settled FROM submission") == [(False, 1)]
