"""Workers: a claim is freed once its holder is proved gone, and never while its lock is held."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.db import tick_question, workers
from shared.db.engine import Engine, transaction
from shared.db.listening import Listener
from tests.support import rows
from tests.support.waiting import until

LOCK = 99


@contextmanager
def alive(engine: Engine) -> Iterator[None]:
    listener = Listener(engine, LOCK)
    try:
        yield
    finally:
        listener.close()


def beat(engine: Engine, name: str, *, seconds_ago: float) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name=name, lock_key=LOCK, slots=4)
    rows.rows(
        engine,
        "UPDATE worker SET last_tick_at = now() - :ago * interval '1 second' WHERE name = :name",
        ago=seconds_ago,
        name=name,
    )


def bury(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return list(workers.free_claims_of_dead(connection, "me"))


def test_the_claims_of_a_dead_worker_are_due_at_once(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    (theirs,) = rows.claim(engine, worker="dead")
    (mine,) = rows.claim(engine, worker="me")
    beat(engine, "dead", seconds_ago=60)
    assert bury(engine) == ["dead"]
    assert rows.job(engine, theirs.job_id).due
    assert not rows.job(engine, mine.job_id).due
    assert bury(engine) == []


def test_a_frozen_worker_keeps_its_claims_while_it_holds_its_lock(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine, worker="frozen")
    beat(engine, "frozen", seconds_ago=60)
    with alive(engine):
        assert bury(engine) == []
        assert not rows.job(engine, claim.job_id).due
    until(lambda: bury(engine) == ["frozen"])
    assert rows.job(engine, claim.job_id).due


def test_a_worker_that_ticks_is_not_judged_by_its_lock(engine: Engine) -> None:
    beat(engine, "ticking", seconds_ago=0)
    assert bury(engine) == []


def test_the_death_of_the_dispatcher_that_claimed_leaves_a_call_in_its_senders_hand(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (intent,) = rows.open_intents(engine, rows.claim(engine, worker="dead"))
    beat(engine, "dead", seconds_ago=60)
    assert bury(engine) == ["dead"]
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.claimed_by, job.due) == ("submitting", rows.SENDER.name, False)


def test_the_death_of_the_sender_makes_its_call_due_for_reconciliation(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    beat(engine, rows.SENDER.name, seconds_ago=60)
    assert bury(engine) == [rows.SENDER.name]
    assert rows.job(engine, intent.claim.job_id).due


def test_only_living_workers_lend_their_slots(engine: Engine) -> None:
    beat(engine, "a", seconds_ago=0)
    beat(engine, "b", seconds_ago=5)
    beat(engine, "dead", seconds_ago=60)
    with transaction(engine) as connection:
        assert tick_question.to_do(connection, [], me="c").live_slots == 8
        workers.sign_off(connection, "a")
        assert tick_question.to_do(connection, [], me="c").live_slots == 4


def test_a_wake_up_reaches_a_listener(engine: Engine) -> None:
    listener = Listener(engine, LOCK)
    try:
        rows.add(engine, [rows.new_job("a")])
        assert listener.wait(10)
        assert not listener.wait(0)
    finally:
        listener.close()
