"""The question of a tick: it names each kind of work that there is, and no other."""

from collections.abc import Callable

import pytest

from shared.db import folding, tick_question, workers
from shared.db.engine import Engine, question, transaction
from shared.db.tick_question import ToDo
from shared.lifecycle import JobState, Stage
from shared.moves import Move
from tests.support import rows

ORDER = """SELECT * FROM enqueue('b', '[{"custom_id": "a", "provider": "bloom", "prompt": "a harbour"}]')"""


def asked(engine: Engine) -> ToDo:
    with question(engine) as connection:
        return tick_question.to_do(connection, ["bloom"], me="me")


def a_job_past_its_deadline(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    rows.rows(engine, "UPDATE job SET deadline_at = now() - interval '1 second'")


def a_silent_worker(engine: Engine) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="other", lock_key=1, slots=4)
    rows.rows(engine, "UPDATE worker SET last_tick_at = now() - interval '1 minute'")


def a_row_by_sql(engine: Engine) -> None:
    rows.rows(engine, ORDER)


def a_delta(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])


MAKERS: dict[str, Callable[[Engine], None]] = {
    "overdue": a_job_past_its_deadline,
    "silent": a_silent_worker,
    "inbox": a_row_by_sql,
    "deltas": a_delta,
}


def found(to_do: ToDo) -> set[str]:
    return {name for name in MAKERS if getattr(to_do, name)}


def test_an_empty_database_has_nothing_to_do(engine: Engine) -> None:
    to_do = asked(engine)
    assert (to_do.due, to_do.waits, to_do.live_slots, found(to_do)) == ({}, False, 0, set())


@pytest.mark.parametrize("name", MAKERS)
def test_each_kind_of_work_is_named(engine: Engine, name: str) -> None:
    MAKERS[name](engine)
    with transaction(engine) as connection:
        if name != "deltas":
            folding.fold(connection)
    assert found(asked(engine)) == {name}


def test_a_worker_does_not_find_itself_silent(engine: Engine) -> None:
    a_silent_worker(engine)
    with question(engine) as connection:
        assert not tick_question.to_do(connection, [], me="other").silent


def test_a_job_past_its_deadline_that_a_worker_holds_is_not_overdue(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    rows.claim(engine)
    rows.rows(engine, "UPDATE job SET deadline_at = now() - interval '1 second'")
    assert not asked(engine).overdue


def test_due_jobs_are_named_by_account_and_stage(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    (intent,) = rows.open_intents(engine, rows.claim(engine, count=1))
    rows.settle(engine, intent, rows.accepted(), Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 0))
    assert asked(engine).due == {"bloom": {Stage.SUBMIT, Stage.POLL}}


def test_a_job_that_is_not_due_yet_waits(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    rows.rows(engine, "UPDATE job SET due_at = now() + interval '1 hour'")
    to_do = asked(engine)
    assert (to_do.due, to_do.waits) == ({}, True)


def test_jobs_of_accounts_that_are_not_served_do_not_wait(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    with question(engine) as connection:
        to_do = tick_question.to_do(connection, ["getimg"], me="me")
    assert (to_do.due, to_do.waits) == ({}, False)
