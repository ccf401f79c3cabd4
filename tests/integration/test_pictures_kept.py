"""Late evidence and buying again: no picture that is, or may still be, collected loses its row to another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.db.engine import Engine, transaction
from shared.db.jobs import images, retry
from shared.db.jobs.bulk import Which
from shared.db.jobs.choose import choose
from shared.db.jobs.stored_images import StoredImage
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.leaving import doomed as marks
from shared.db.leaving import erase as erasing
from shared.db.lost_calls import candidates, unowned
from shared.db.lost_calls.candidates import Candidate
from shared.db.payments import submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer, BoughtImage
from shared.images import ImageChange
from shared.lifecycle import ImageState, JobState, Outcome
from tests.support import rows
from worker.next_step import FailedCopy
from worker.transport.fetch_errors import LinkExpired

PENDING, READY = ImageState.PENDING, ImageState.READY
UNKNOWN = Answer(Outcome.UNKNOWN, error_code="sender_lost")


def shown(engine: Engine) -> list[tuple[int, str | None, str]]:
    return [tuple(row) for row in rows.rows(engine, "SELECT index, upstream_id, state FROM image ORDER BY index")]


def listed(engine: Engine) -> list[object]:
    with transaction(engine) as connection:
        return [one["upstream_id"] for one in unowned.listing(connection)]


def bought(*names: str, inferred: bool = False) -> Answer:
    pictures = tuple(BoughtImage(index, PENDING, name) for index, name in enumerate(names))
    return Answer(Outcome.ACCEPTED, http_status=202, upstream_id=names[0], images=pictures, inferred=inferred)


def lost(engine: Engine, *, n: int = 1) -> Intent:
    """One job in doubt about its only call."""
    intent = rows.one_intent(engine, n=n)
    held = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="sender_lost", on_hold=True)
    assert rows.settle(engine, intent, UNKNOWN, held)
    return intent


def later(engine: Engine, first: Intent) -> Intent:
    """Send the job of a lost call again, as a person may."""
    with transaction(engine) as connection:
        claim = Claim(first.claim.job_id, rows.job(engine, first.claim.job_id).epoch)
        assert move(connection, [Move(claim, JobState.IN_DOUBT, JobState.QUEUED, 0)], actor="person")
    (second,) = rows.open_intents(engine, rows.claim(engine))
    return second


def comes_late(engine: Engine, intent: Intent, answer: Answer) -> None:
    """Deliver a call's own answer when its sender can no longer act on it."""
    with transaction(engine) as connection:
        assert submissions.record(connection, intent.submission_id, answer)
        submissions.follow_late(connection, intent.claim.job_id, intent.submission_id, actor="late")


def fails(engine: Engine, code: str) -> None:
    rows.rows(engine, "UPDATE image SET state = 'failed', error_code = :code", code=code)
    rows.rows(
        engine,
        "UPDATE job SET state = 'failed', due_at = NULL, finished_at = now(), claimed_by = NULL, error_code = :code",
        code=code,
    )


def buy_again(engine: Engine, job: UUID) -> Intent:
    """Have a person buy again what cannot be collected, and open the payment."""
    with transaction(engine) as connection:
        plan = retry.plan(connection, polled=[], job=job)
        assert len(plan.buy_again) == 1
        told = {"actor": "person", "deadline_seconds": 99, "collect_seconds": 99}
        assert retry.carry_out(connection, plan, buy_again=True, **told) == 1  # type: ignore[arg-type]
    (again,) = rows.open_intents(engine, rows.claim(engine))
    return again


def given_up(engine: Engine) -> UUID:
    """A job whose only picture could not be copied before its link ended."""
    job = rows.transferring(engine, READY).job_id
    fails(engine, "result_expired")
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '2 days'")
    return job


def test_a_plan_buys_nothing_again_without_the_word(engine: Engine) -> None:
    job = given_up(engine)
    with transaction(engine) as connection:
        plan = retry.plan(connection, polled=[], job=job)
        assert len(plan.buy_again) == 1
        told = {"actor": "person", "deadline_seconds": 99, "collect_seconds": 99}
        assert retry.carry_out(connection, plan, buy_again=False, **told) == 0  # type: ignore[arg-type]
    assert rows.job(engine, job).state == "failed"


def test_an_image_of_a_trial_that_was_to_be_bought_again_is_not_asked_for_at_the_real_provider(engine: Engine) -> None:
    job = rows.transferring(engine, PENDING).job_id
    fails(engine, "trial_leftover")
    again = buy_again(engine, job)
    refused = Answer(Outcome.REJECTED, error_code="provider_rejected")
    assert rows.settle(engine, again, refused, Move(again.claim, JobState.SUBMITTING, JobState.FAILED, code="x"))
    with transaction(engine) as connection:
        plan = retry.plan(connection, polled=["bloom"], job=job)
    assert (len(plan.ask), len(plan.buy_again)) == (0, 1)


@pytest.mark.parametrize("how", ["chosen", "adopted"])
def test_the_providers_own_answer_is_kept_beside_another_picture_that_was_stored_for_the_call(
    how: str, engine: Engine
) -> None:
    intent = lost(engine)
    job = intent.claim.job_id
    with transaction(engine) as connection:
        if how == "chosen":
            candidates.note(connection, "bloom", intent.submission_id, [Candidate("A", None)])
            choose(connection, job, ["A"], charged=None, actor="person")
        else:
            submissions.record(connection, intent.submission_id, bought("A", inferred=True))
            claim = Claim(job, rows.job(engine, job).epoch)
            move(connection, [Move(claim, JobState.IN_DOUBT, JobState.PENDING, 0)], actor="w")
    rows.store(engine, rows.bytes_of(engine, job, 0))
    rows.rows(engine, "UPDATE job SET state = 'succeeded', due_at = NULL, finished_at = now(), on_hold = false")
    comes_late(engine, intent, bought("B"))
    assert shown(engine)[0] == (0, "A", "stored")
    assert (shown(engine)[1:], listed(engine)) == ([(1, "B", "pending")], ["B"])


def test_the_providers_own_answer_corrects_an_adoption_that_is_not_collected_yet(engine: Engine) -> None:
    intent = lost(engine)
    comes_late(engine, intent, bought("A", inferred=True))
    comes_late(engine, intent, bought("B"))
    assert shown(engine) == [(0, "B", "pending")]


def test_an_adopted_picture_that_the_own_answer_names_elsewhere_keeps_its_place(engine: Engine) -> None:
    intent = lost(engine, n=2)
    missing = BoughtImage(1, ImageState.FAILED, error_code="not_delivered")
    adopted = bought("A", inferred=True)
    comes_late(engine, intent, replace(adopted, images=(*adopted.images, missing)))
    rows.store(engine, rows.bytes_of(engine, intent.claim.job_id, 0))
    comes_late(engine, intent, bought("B", "A"))
    assert shown(engine) == [(0, "A", "stored"), (1, "B", "pending")]


@pytest.mark.parametrize("code", ["result_unavailable", "never_finished", "upstream_gone", "generation_failed"])
def test_a_late_answer_of_an_earlier_call_replaces_no_picture_that_can_be_asked_for(code: str, engine: Engine) -> None:
    first = lost(engine)
    second = later(engine, first)
    assert rows.settle(engine, second, bought("X"), Move(second.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    fails(engine, code)
    comes_late(engine, first, bought("W"))
    assert shown(engine) == [(0, "X", "failed"), (1, "W", "pending")]
    assert rows.job(engine, first.claim.job_id).state == "pending"


def test_a_later_purchase_replaces_no_picture_that_can_be_collected(engine: Engine) -> None:
    first = lost(engine)
    second = later(engine, first)
    comes_late(engine, first, bought("W"))
    rows.rows(engine, "UPDATE image SET state = 'failed', error_code = 'result_unavailable'")
    with transaction(engine) as connection:
        submissions.record(connection, second.submission_id, bought("X"))
    assert shown(engine) == [(0, "W", "failed"), (1, "X", "pending")]


def test_a_late_answer_that_brought_nothing_takes_no_place(engine: Engine) -> None:
    first = lost(engine)
    second = later(engine, first)
    assert rows.settle(engine, second, bought("X"), Move(second.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    nothing = BoughtImage(0, ImageState.FAILED, error_code="not_delivered")
    comes_late(engine, first, Answer(Outcome.ACCEPTED, images=(nothing,)))
    assert shown(engine) == [(0, "X", "pending")]


def test_a_frozen_worker_stores_its_picture_beside_the_one_that_was_bought_after_it(engine: Engine) -> None:
    job = given_up(engine)
    held = rows.bytes_of(engine, job, 0, "old")
    again = buy_again(engine, job)
    assert rows.settle(engine, again, bought("B"), Move(again.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    for _ in range(2):  # its commit may be repeated
        rows.store(engine, held)
    assert shown(engine) == [(0, "B", "pending"), (1, held.upstream_id, "stored")]


def test_a_look_at_an_adopted_picture_says_nothing_of_the_one_that_took_its_row(engine: Engine) -> None:
    intent = lost(engine)
    comes_late(engine, intent, bought("A", inferred=True))
    rows.rows(engine, "UPDATE job SET state = 'pending', on_hold = false")
    (claim,) = rows.claim(engine, "poll")
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, bought("B"))
        images.change(connection, [ImageChange(claim, 0, "A", READY, link="https://example.com/a")])
    assert shown(engine) == [(0, "B", "pending")]


def test_unverified_bytes_of_an_earlier_purchase_are_named_and_not_taken_for_the_later_one(engine: Engine) -> None:
    job = given_up(engine)
    held = rows.bytes_of(engine, job, 0, "unverified/old")
    again = buy_again(engine, job)
    assert rows.settle(engine, again, bought("B"), Move(again.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    rows.keep(engine, held)
    assert rows.rows(engine, "SELECT key FROM image") == [(None,)]
    assert rows.rows(engine, "SELECT note FROM job_event WHERE code = 'bought_again'") == [("unverified/old",)]


def test_a_picture_bought_again_inherits_nothing_of_the_one_before(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    rows.keep(engine, rows.bytes_of(engine, job, 0, "unverified/cut"))
    looked = "lacking_looks = 3, lacking_since = now(), short_sha256 = '\\x01', tries = 2"
    rows.rows(engine, f"UPDATE image SET {looked}, link_expires_at = now() - interval '2 days'")  # noqa: S608
    fails(engine, "result_unverified")
    again = buy_again(engine, job)
    link = ("https://example.com/new", datetime.now(UTC) + timedelta(minutes=10))
    new = Answer(Outcome.ACCEPTED, images=(BoughtImage(0, READY, None, *link),))
    assert rows.settle(engine, again, new, Move(again.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0))
    (row,) = rows.rows(engine, "SELECT * FROM image")
    alone = {"job_id", "submission_id", "account", "state", "link", "link_expires_at"}
    assert {name for name, value in row._asdict().items() if value not in {None, 0}} == alone
    assert rows.rows(engine, "SELECT note FROM job_event WHERE code = 'bought_again'") == [("unverified/cut",)]


def test_a_403_of_the_living_link_of_a_picture_bought_again_is_not_its_end(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    rows.keep(engine, rows.bytes_of(engine, job, 0, "unverified/cut"))
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '2 days'")
    fails(engine, "result_unverified")
    again = buy_again(engine, job)
    link = ("https://example.com/new", datetime.now(UTC) + timedelta(minutes=10))
    new = Answer(Outcome.ACCEPTED, images=(BoughtImage(0, READY, None, *link),))
    assert rows.settle(engine, again, new, Move(again.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0))
    (claim,) = rows.claim(engine, "transfer")
    with transaction(engine) as connection:
        states = [JobState.TRANSFERRING]
        (image,) = images.of_claims(connection, account="bloom", claims=[claim], states=states)
    failure = FailedCopy(replace(image, tries=2), LinkExpired("403", status=403), renewable=False)
    assert not failure.is_final(3)


def erase(engine: Engine, job: UUID) -> set[str]:
    """Erase a job with its pictures, and return the keys that a worker will delete."""
    with transaction(engine) as connection:
        shown = erasing.plan(connection, Which(ids=[job]), results=True).targets
        assert erasing.carry_out(connection, shown, results=True, actor="person") == 1
    return doomed(engine)


def doomed(engine: Engine) -> set[str]:
    found = rows.rows(engine, "SELECT key FROM doomed_object WHERE key NOT LIKE 'submissions/%'")
    return {row.key for row in found}


@pytest.mark.parametrize("arrive", [rows.store, rows.keep])
def test_the_bytes_of_an_erased_jobs_picture_are_deleted_however_late_they_come(
    arrive: Callable[[Engine, StoredImage], None], engine: Engine
) -> None:
    job = given_up(engine)
    held = rows.bytes_of(engine, job, 0, "late")
    assert erase(engine, job) == set()
    arrive(engine, held)
    assert doomed(engine) == {"late"}
    assert rows.rows(engine, "SELECT state, key FROM image") == [("failed", None)]


def test_a_store_that_is_written_twice_deletes_nothing_of_an_erased_job_that_keeps_its_pictures(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    held = rows.bytes_of(engine, job, 0)
    rows.store(engine, held)
    rows.rows(engine, "UPDATE job SET state = 'succeeded', due_at = NULL, finished_at = now(), claimed_by = NULL")
    with transaction(engine) as connection:
        shown = erasing.plan(connection, Which(ids=[job]), results=False).targets
        erasing.carry_out(connection, shown, results=False, actor="person")
    rows.store(engine, held)
    assert doomed(engine) == set()


def test_unverified_bytes_whose_row_was_taken_are_erased_with_their_job(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    rows.keep(engine, rows.bytes_of(engine, job, 0, "unverified/cut"))
    rows.rows(engine, "UPDATE image SET link_expires_at = now() - interval '2 days'")
    fails(engine, "result_unverified")
    again = buy_again(engine, job)
    assert rows.settle(engine, again, bought("B"), Move(again.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    fails(engine, "generation_failed")
    assert erase(engine, job) == {"unverified/cut"}


def doomed_keys(engine: Engine) -> list[str]:
    return [row.key for row in rows.rows(engine, "SELECT key FROM doomed_object")]


def passed_over(engine: Engine) -> list[str]:
    return [row.note for row in rows.rows(engine, "SELECT note FROM job_event WHERE code = 'bought_again'")]


def test_damaged_bytes_are_deleted_once_the_whole_picture_is_stored(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    rows.keep(engine, rows.bytes_of(engine, job, 0, "unverified/cut"))
    rows.store(engine, rows.bytes_of(engine, job, 0, "images/whole"))
    assert (doomed_keys(engine), passed_over(engine)) == (["unverified/cut"], [])


def test_damaged_bytes_that_others_replace_are_named_by_their_job(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    for name in ("unverified/long", "unverified/short", "unverified/short"):
        rows.keep(engine, rows.bytes_of(engine, job, 0, name))
    assert (doomed_keys(engine), passed_over(engine)) == ([], ["unverified/long"])


def test_a_picture_that_is_told_of_twice_deletes_nothing(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    rows.store(engine, rows.bytes_of(engine, job, 0, "images/whole"))
    rows.store(engine, rows.bytes_of(engine, job, 0, "images/whole"))
    assert (doomed_keys(engine), passed_over(engine)) == ([], [])


def test_damaged_bytes_that_come_again_are_deleted_no_more(engine: Engine) -> None:
    job = rows.transferring(engine, READY).job_id
    with transaction(engine) as connection:
        marks.doom(connection, ["unverified/cut"])
    rows.keep(engine, rows.bytes_of(engine, job, 0, "unverified/cut"))
    assert doomed_keys(engine) == []
