"""Transitions: guarded by epoch and state, legal, told by an event, and nothing at all for whoever lost."""

import pytest

from shared.db.engine import Engine, transaction
from shared.db.jobs import images
from shared.db.jobs.transitions import Claim, Move, move, release, renew
from shared.images import ImageChange
from shared.lifecycle import IllegalTransitionError, ImageState, JobState
from tests.support import rows


def try_moves(engine: Engine, *steps: Move) -> set[object]:
    with transaction(engine) as connection:
        return set(move(connection, steps, actor="me"))


def events(engine: Engine) -> list[tuple[str, str]]:
    found = rows.rows(engine, "SELECT from_state, to_state FROM job_event WHERE actor = 'me' ORDER BY id")
    return [tuple(row) for row in found]


def failing(claim: Claim) -> Move:
    return Move(claim, JobState.QUEUED, JobState.FAILED, code="deadline_exceeded", note="late")


def test_the_claimant_moves_its_job_and_the_event_says_why(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine)
    assert try_moves(engine, failing(claim)) == {claim.job_id}
    job = rows.job(engine, claim.job_id)
    assert (job.state, job.error_code, job.error, job.due_at) == ("failed", "deadline_exceeded", "late", None)
    assert job.finished_at is not None
    assert job.claimed_by is None
    (event,) = rows.rows(engine, "SELECT * FROM job_event")
    assert (event.code, event.note, event.actor, event.epoch) == ("deadline_exceeded", "late", "me", claim.epoch)


def test_whoever_lost_the_epoch_moves_nothing_and_leaves_no_event(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (stale,) = rows.claim(engine, lease=0)
    (fresh,) = rows.claim(engine)
    before = rows.job(engine, stale.job_id)
    assert fresh.epoch == stale.epoch + 1
    assert try_moves(engine, failing(stale)) == set()
    assert events(engine) == []
    assert rows.job(engine, stale.job_id).due_at == before.due_at


def test_whoever_has_another_state_in_mind_moves_nothing(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    assert try_moves(engine, failing(intent.claim)) == set()
    assert rows.states(engine) == {"submitting": 1}


def test_a_batch_of_moves_says_who_won(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"c{number}") for number in range(6)])
    found = rows.claim(engine, count=6)
    stale = [Claim(claim.job_id, claim.epoch - 1) for claim in found[3:]]
    won = try_moves(engine, *[failing(claim) for claim in found[:3] + stale])
    assert won == {claim.job_id for claim in found[:3]}
    assert len(events(engine)) == 3
    assert rows.states(engine) == {"failed": 3, "queued": 3}


def test_moving_nothing_asks_the_database_nothing(engine: Engine) -> None:
    assert try_moves(engine) == set()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (JobState.SUCCEEDED, JobState.QUEUED),
        (JobState.QUEUED, JobState.SUCCEEDED),
        (JobState.PENDING, JobState.QUEUED),
        (JobState.TRANSFERRING, JobState.QUEUED),
        (JobState.CANCELLED, JobState.QUEUED),
    ],
)
def test_a_transition_that_the_lifecycle_lacks_never_reaches_the_database(before: JobState, after: JobState) -> None:
    with pytest.raises(IllegalTransitionError):
        Move(Claim(rows.new_id(), 1), before, after, 0)


def test_a_final_state_has_no_due_time_and_every_other_needs_one() -> None:
    claim = Claim(rows.new_id(), 1)
    with pytest.raises(ValueError, match="has no due time"):
        Move(claim, JobState.QUEUED, JobState.FAILED, 1.0, code="x")
    with pytest.raises(ValueError, match="needs a due time"):
        Move(claim, JobState.QUEUED, JobState.SUBMITTING)


def test_a_claim_given_back_is_due_again_and_its_message_is_stale(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine)
    with transaction(engine) as connection:
        release(connection, [claim], states=[JobState.QUEUED])
    assert rows.job(engine, claim.job_id).due
    assert rows.open_intents(engine, [claim]) == []


def test_giving_back_a_message_that_came_twice_leaves_the_call_being_paid_alone(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    before = rows.job(engine, intent.claim.job_id)
    with transaction(engine) as connection:
        release(connection, [intent.claim], states=[JobState.QUEUED])
    after = rows.job(engine, intent.claim.job_id)
    assert (after.due_at, after.claimed_by) == (before.due_at, before.claimed_by)


def test_a_lease_is_renewed_by_its_holder_alone(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine, lease=0)
    with transaction(engine) as connection:
        renew(connection, Claim(claim.job_id, claim.epoch - 1), lease_seconds=60)
    assert rows.job(engine, claim.job_id).due
    with transaction(engine) as connection:
        renew(connection, claim, lease_seconds=60)
    assert not rows.job(engine, claim.job_id).due


def test_a_worker_that_lost_its_claim_gives_up_no_picture(engine: Engine) -> None:
    rows.transferring(engine)
    (stale,) = rows.claim(engine, "transfer", lease=0)
    rows.claim(engine, "transfer")
    lost = ImageChange(stale, 0, rows.id_of(engine, stale.job_id), ImageState.FAILED, error_code="result_expired")
    with transaction(engine) as connection:
        images.change(connection, [lost])
    assert [row.state for row in rows.rows(engine, "SELECT state FROM image")] == ["ready"]


def test_a_worker_that_lost_its_claim_still_records_what_it_stored(engine: Engine) -> None:
    rows.transferring(engine)
    (stale,) = rows.claim(engine, "transfer", lease=0)
    rows.claim(engine, "transfer")
    rows.store(engine, rows.bytes_of(engine, stale.job_id, 0))
    assert [row.state for row in rows.rows(engine, "SELECT state FROM image")] == ["stored"]


def test_a_picture_that_fails_keeps_its_link_for_whoever_tries_again(engine: Engine) -> None:
    rows.transferring(engine)
    (claim,) = rows.claim(engine, "transfer")
    lost = ImageChange(claim, 0, rows.id_of(engine, claim.job_id), ImageState.FAILED, error_code="result_timeout")
    with transaction(engine) as connection:
        images.change(connection, [lost])
    (image,) = rows.rows(engine, "SELECT link, link_expires_at FROM image")
    assert image.link == "https://example.com/i"
    assert image.link_expires_at is not None
