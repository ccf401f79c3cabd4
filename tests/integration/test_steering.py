"""A batch that runs is steered: a hold stops its purchases at once, and a priority or a deadline changes in place."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from producer import Client
from producer.client import NoSuchBatchError
from shared.db.engine import Connection, Engine, transaction
from shared.db.jobs import claims, steering
from shared.db.payments import caps
from shared.db.read import waits
from shared.lifecycle import JobState
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.outcome import BLOOM, ended
from tests.support.waiting import until
from worker.runtime import Runtime

Run = Callable[..., Ran]
WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url})


def test_a_held_batch_buys_nothing_until_it_is_released_and_others_go_on(client: Client, runtime: Runtime) -> None:
    client.enqueue([BLOOM, {**BLOOM, "n": 2}], batch="held")
    assert client.hold("held") == 2
    client.enqueue([{**BLOOM, "prompt": "late", "custom_id": "late"}], batch="held")
    client.enqueue([BLOOM], batch="other")
    drain(runtime, lambda: ended(client, "other")() and client.totals("held") == {"on_hold": 3})
    assert client.bill("held") == []
    assert client.release("held") == 3
    drain(runtime, ended(client, "held"))
    assert client.totals("held") == {"succeeded": 3}


def test_a_job_that_a_worker_has_in_hand_when_the_hold_comes_is_not_paid_for(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job("claimed"), rows.new_job("line")], batch="b")
    claimed = rows.claim(engine, count=1)
    assert client.hold("b") == 1
    assert rows.open_intents(engine, claimed) == []
    found = rows.rows(engine, "SELECT on_hold, error_code, claimed_by FROM job")
    assert [tuple(row) for row in found] == [(True, steering.HELD, None)] * 2


def test_what_was_bought_before_a_hold_goes_on_to_its_end(engine: Engine, client: Client) -> None:
    claim = rows.transferring(engine)
    assert client.hold("b") == 0
    assert rows.job(engine, claim.job_id).state == JobState.TRANSFERRING
    with transaction(engine) as connection:
        assert not rows.job(engine, claim.job_id).on_hold
        assert waits.of_job(connection, claim.job_id) is not None


def test_no_deadline_passes_and_no_worker_releases_jobs_of_a_held_batch(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job("a")], batch="b", deadline=60)
    client.hold("b")
    rows.rows(
        engine, "UPDATE job SET created_at = created_at - interval '9 days', due_at = due_at - interval '9 years'"
    )
    with transaction(engine) as connection:
        assert claims.past_deadline(connection) == []
        assert caps.requeue_affordable(connection, "bloom", "bloom") == 0
    assert client.set_deadline("b", 5) == 0
    assert client.release("b") == 1
    (job,) = rows.rows(engine, "SELECT deadline_at - now() AS left, error_code, on_hold FROM job")
    assert 0 < job.left.total_seconds() <= client.settings.deadline_seconds
    assert (job.error_code, job.on_hold) == (None, False)


def test_a_hold_and_a_release_twice_change_nothing_the_second_time(client: Client, run: Run) -> None:
    client.enqueue([BLOOM], batch="b")
    assert [client.hold("b"), client.hold("b"), client.release("b"), client.release("b")] == [1, 0, 1, 0]
    assert [row["act"] for row in client.audited()] == ["release", "hold"]
    assert "batch b is held, 1 job is on hold, 1 of them newly" in run("hold", "b").err
    assert "batch b is held already, 1 job is on hold, 0 of them newly" in run("hold", "b").err
    for command in (
        ("hold", "nowhere"),
        ("release", "nowhere"),
        ("priority", "nowhere", "1"),
        ("deadline", "nowhere", "1h"),
    ):
        assert run(*command).code == 2
    with pytest.raises(NoSuchBatchError):
        client.is_held("nowhere")


def test_more_jobs_than_one_transaction_changes_are_steered_too(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "CHUNK", 3)
    rows.add(engine, [rows.new_job(f"c{number}") for number in range(10)], batch="b")
    assert client.set_priority("b", 7) == 10
    assert client.set_deadline("b", 60) == 10
    assert client.hold("b") == 10
    assert client.release("b") == 10
    assert [tuple(row) for row in rows.rows(engine, "SELECT DISTINCT priority, on_hold FROM job")] == [(7, False)]
    assert [(row["act"], row["changed"]) for row in client.audited()][-2:] == [("deadline", 10), ("priority", 10)]


def test_a_raised_priority_is_bought_first(engine: Engine, run: Run) -> None:
    rows.add(engine, [rows.new_job("early")], batch="early")
    rows.add(engine, [rows.new_job("urgent")], batch="urgent")
    assert "priority 5 for 1 job" in run("priority", "urgent", "5").err
    (claim,) = rows.claim(engine, count=1)
    assert rows.job(engine, claim.job_id).custom_id == "urgent"
    assert run("priority", "urgent", "40000").code == 2


def test_a_deadline_from_now_is_given_as_a_time(engine: Engine, run: Run) -> None:
    rows.add(engine, [rows.new_job("a")], batch="b")
    assert "1 queued job buys nothing after 1 h 30 min from now" in run("deadline", "b", "90min").err
    (job,) = rows.rows(engine, "SELECT deadline_at - now() AS left FROM job")
    assert 5300 < job.left.total_seconds() <= 5400
    for wrong in ("soon", "0h", "5", "1w"):
        assert run("deadline", "b", wrong).code == 2


def test_a_held_batch_says_so_and_how_it_goes_on(client: Client, run: Run) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    run("hold", "b")
    explained = run("explain", "b/a").out
    assert "`genqueue release b`" in explained
    assert "  queued, on hold\n" in explained
    watched = run("watch", "b")
    assert watched.code == 3
    assert "1 on hold: a person holds the job's batch (batch_held)" in watched.err
    assert "genqueue release b" in watched.err


@contextmanager
def changing_the_priority(engine: Engine, batch: str) -> Iterator[Callable[[], None]]:
    """Have a command hold the locks of all jobs of a batch; yield what ends it."""
    with engine.connect() as other:
        steering.set_priority(other, batch, 5)
        yield other.commit


def beside(engine: Engine, locked: Callable[[], None], command: Callable[[], object]) -> Any:
    """Run a command in a thread until it waits for a lock; then end who has it, and return the command's result."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(command)
        until(lambda: running.done() or rows.rows(engine, WAITS))
        locked()
        return running.result(20)


def test_a_release_waits_for_jobs_that_another_command_has_locked(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job(f"j{number}") for number in range(20)], batch="b")
    client.hold("b")
    with changing_the_priority(engine, "b") as end:
        assert beside(engine, end, lambda: client.release("b")) == 20
    assert rows.rows(engine, "SELECT 1 FROM job WHERE on_hold") == []


def test_a_hold_waits_for_jobs_that_another_command_has_locked(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job(f"j{number}") for number in range(20)], batch="b")
    with changing_the_priority(engine, "b") as end:
        assert beside(engine, end, lambda: client.hold("b")) == 20
    assert rows.rows(engine, "SELECT 1 FROM job WHERE NOT on_hold") == []


def test_a_raised_cap_waits_for_jobs_that_another_command_has_locked(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job(f"j{number}") for number in range(20)], batch="b")
    rows.rows(
        engine, "UPDATE job SET on_hold = true, error_code = 'batch_cap_reached', due_at = now() + interval '1 day'"
    )
    with changing_the_priority(engine, "b") as end:
        beside(engine, end, lambda: client.cap("b", ["bloom=100"]))
    assert rows.rows(engine, "SELECT 1 FROM job WHERE on_hold") == []


def test_a_release_waits_for_a_hold_that_puts_jobs_on_hold_at_the_same_moment(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job("a")], batch="b")
    with transaction(engine) as connection:
        steering.hold(connection, "b")
    with engine.connect() as holding:
        assert steering.put_batch_on_hold(holding, "b", actor="person") == 1
        assert beside(engine, holding.commit, lambda: client.release("b")) == 1
    assert [tuple(row) for row in rows.rows(engine, "SELECT on_hold, error_code FROM job")] == [(False, None)]


def test_a_hold_waits_for_a_release_that_puts_jobs_back_in_line(engine: Engine, client: Client) -> None:
    rows.add(engine, [rows.new_job("a")], batch="b")
    client.hold("b")
    with transaction(engine) as connection:
        steering.release(connection, "b")
    with engine.connect() as releasing:
        assert steering.return_to_line(releasing, "b", deadline_seconds=60) == 1
        assert beside(engine, releasing.commit, lambda: client.hold("b")) == 1
    assert [tuple(row) for row in rows.rows(engine, "SELECT on_hold, error_code FROM job")] == [(True, steering.HELD)]


def test_jobs_that_a_killed_release_left_on_hold_are_put_back_in_line_by_workers(
    engine: Engine, client: Client, runtime: Runtime
) -> None:
    client.enqueue([BLOOM], batch="released")
    client.enqueue([BLOOM], batch="held")
    client.hold("released")
    client.hold("held")
    with transaction(engine) as connection:
        steering.release(connection, "released")
    drain(runtime, lambda: client.totals("released") == {"succeeded": 1})
    assert client.totals("held") == {"on_hold": 1}


def test_a_priority_is_tried_again_where_somebody_else_holds_the_same_jobs(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.add(engine, [rows.new_job("a")])
    change = steering.set_priority

    def while_another_holds_it(connection: Connection, **how: Any) -> Any:
        with transaction(engine) as other:
            other.execute(text("SELECT FROM job FOR UPDATE"))
            connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
            return change(connection, **how)

    def then_alone(connection: Connection, **how: Any) -> Any:
        return calls.pop(0)(connection, **how)

    calls: list[Callable[..., Any]] = [while_another_holds_it, change]
    monkeypatch.setattr(steering, "set_priority", then_alone)
    assert client.set_priority("b", 3) == 1
    assert rows.rows(engine, "SELECT priority FROM job")[0].priority == 3
    assert [row["act"] for row in client.audited()] == ["priority"]
