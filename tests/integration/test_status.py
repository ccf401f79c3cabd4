"""The state of the whole queue, read from the database, and `genqueue status` that shows it."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from pydantic import SecretStr

from producer import Client
from producer.cli.status import _next
from shared.account_settings import RateWindow
from shared.db import pauses, troubles, workers
from shared.db.engine import Engine, open_engine, transaction
from shared.db.jobs.transitions import Move, move
from shared.db.payments.submissions import Answer
from shared.db.read.status import QueueStatus, status
from shared.lifecycle import ImageState, JobState, Outcome, Stage
from shared.problems import problems
from shared.wait_facts import WaitReason
from tests.support import rows
from tests.support.command import Ran, genqueue
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.runtime import Runtime

Run = Callable[..., Ran]


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"})


def look(engine: Engine) -> QueueStatus:
    with transaction(engine) as connection:
        return status(connection)


def serve(engine: Engine, *windows: RateWindow) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="w1", lock_key=1, slots=4)
    rows.register(engine, rows.account_row(windows=windows))


def hold(engine: Engine) -> None:
    """Bring one job in doubt, and hold it."""
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 3600, code="answer_lost", on_hold=True)
    assert rows.settle(engine, intent, Answer(Outcome.UNKNOWN), step)


def say(engine: Engine, worker: str, **said: str) -> None:
    with transaction(engine) as connection:
        troubles.record(connection, worker, said)


def test_an_empty_queue_has_a_state(engine: Engine) -> None:
    found = look(engine)
    assert (found.totals, found.lines, found.oldest, found.spent_today) == ({}, (), None, {})
    assert problems(found) == []


def test_each_line_has_its_first_job_with_its_reason_and_how_long_work_is_due(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("old"), rows.new_job("new"), rows.new_job("first", priority=9)])
    rows.transferring(engine, ImageState.READY)
    serve(engine)
    rows.rows(engine, "UPDATE job SET due_at = now() - interval '90 s' WHERE custom_id = 'new'")
    rows.rows(engine, "UPDATE job SET created_at = created_at - interval '1 hour' WHERE custom_id = 'old'")
    found = {line.stage: line for line in look(engine).lines}
    assert set(found) == {Stage.SUBMIT, Stage.TRANSFER}
    submit = found[Stage.SUBMIT]
    assert (submit.first.custom_id, submit.due, submit.wait.reason) == ("old", 3, WaitReason.LINE)
    assert submit.oldest_due_seconds == pytest.approx(90, abs=20)
    assert found[Stage.TRANSFER].due == 1


def test_a_line_is_stalled_only_while_nothing_of_it_is_taken(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(3)])
    serve(engine)
    rows.rows(engine, "UPDATE job SET due_at = now() - interval '1 hour'")
    (line,) = look(engine).lines
    assert line.stalled_seconds == pytest.approx(3600, abs=60)
    (claim,) = rows.claim(engine, worker="w1")
    (line,) = look(engine).lines
    assert (line.stalled_seconds, line.oldest_due_seconds > 3000) == (0, True)
    (intent,) = rows.open_intents(engine, [claim])
    answer = rows.accepted(ImageState.FAILED)
    rows.settle(engine, intent, answer, Move(claim, JobState.SUBMITTING, JobState.FAILED, code="x"))
    (line,) = look(engine).lines
    assert line.stalled_seconds < 60, "one was bought a moment ago"


def test_held_jobs_are_counted_by_reason_and_since_when(engine: Engine) -> None:
    hold(engine)
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")], batch="capped")
    with transaction(engine) as connection:
        for claim in rows.claim(engine, count=2):
            step = Move(claim, JobState.QUEUED, JobState.QUEUED, 60, code="batch_cap_reached", on_hold=True)
            move(connection, [step], actor="a")
    serve(engine)
    found = look(engine)
    assert {(one.state, one.code, one.jobs) for one in found.held} == {
        ("queued", "batch_cap_reached", 2),
        ("in_doubt", "answer_lost", 1),
    }
    assert found.held_since is not None
    assert {one.code for one in problems(found)} == {"held", "cap_reached"}
    assert found.lines == (), "what is held stands in no line"


def test_money_of_today_is_summed_by_unit(engine: Engine) -> None:
    rows.one_intent(engine)
    assert look(engine).spent_today == {"credit": Decimal(2)}


def test_a_trouble_is_told_while_a_worker_repeats_it_and_is_over_with_its_worker(engine: Engine) -> None:
    serve(engine)
    say(engine, "w1", bucket="HTTP 403")
    say(engine, "w2", bucket="HTTP 403: denied", broker="refused")
    assert {(one.kind, one.said, one.workers) for one in look(engine).troubles} == {
        ("bucket", "HTTP 403: denied", 2),
        ("broker", "refused", 1),
    }
    say(engine, "w2")
    assert [one.kind for one in look(engine).troubles] == ["bucket"]
    with transaction(engine) as connection:
        workers.sign_off(connection, "w1")
    assert look(engine).troubles == ()
    say(engine, "w3", disk="full")
    rows.rows(engine, "UPDATE trouble SET seen_at = now() - interval '2 minutes'")
    assert look(engine).troubles == ()


def test_a_dispatcher_tells_that_the_broker_takes_no_messages_and_that_it_does_again(
    client: Client, runtime: Runtime
) -> None:
    away = True

    def publish(_parcel: Parcel) -> None:
        if away:
            raise ConnectionError("Error 111 connecting to 127.0.0.1:6379")

    dispatcher = Dispatcher(runtime, publish, publish)
    dispatcher._register()
    rows.add(runtime.engine, [rows.new_job("a")], accounts=["bloom"])
    dispatcher.tick()
    dispatcher.tick()
    (found,) = client.status().troubles
    assert (found.kind, found.said) == ("broker", "ConnectionError: Error 111 connecting to 127.0.0.1:6379")
    assert client.waits("b")[0].wait.reason is WaitReason.BROKER
    away = False
    rows.rows(runtime.engine, "UPDATE job SET due_at = now()")
    dispatcher.tick()
    dispatcher.tick()
    assert client.status().troubles == ()


def test_the_screen_shows_what_is_wrong_first_then_what_waits_and_why(run: Run, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    serve(engine, RateWindow(requests=100, seconds=60))
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="x", reason="HTTP 402: no credit", action_url="https://x.example")
    shown = run("status")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].startswith("REAL  ")
    assert lines[1].startswith("! account bloom is paused: HTTP 402: no credit (since ")
    assert "settle it (https://x.example), then genqueue resume bloom" in shown.out
    assert any(line.split()[:3] == ["bloom", "submit", "1"] for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_state_is_one_json_object_without_prompts(run: Run, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", prompt="a secret garden")])
    serve(engine, RateWindow(requests=100, seconds=60))
    shown = run("status", "--json")
    told = json.loads(shown.out)
    assert [use["window"]["requests"] for use in told["accounts"][0]["windows"]] == [100]
    assert told["totals"] == {"queued": 1}
    assert told["lines"][0]["wait"]["reason"] == "line"
    assert told["problems"] == []
    assert "secret garden" not in shown.out


def test_the_old_screen_stays_while_the_database_is_away(client: Client, engine: Engine) -> None:
    serve(engine)
    before = _next(client, [], 80)
    assert before[0].plain.startswith("REAL")
    client._engine.dispose()
    client._engine = open_engine(SecretStr("postgresql://x@127.0.0.1:1/x"), application="tests")
    for _ in range(2):
        before, was = _next(client, before, 80), before
        assert before[0].plain.startswith("the database is away: ")
        assert [line.plain for line in before[1:]] == [line.plain for line in was][-len(before) + 1 :]
