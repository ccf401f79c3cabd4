"""Why jobs wait, read from the database, and as `explain` and `watch` say it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from producer import Client
from producer.cli.watch import _warnings
from shared.account_settings import RateWindow
from shared.db import accounts, pauses, rate_windows, workers
from shared.db.engine import Engine, transaction
from shared.db.read import waits
from shared.lifecycle import ImageState, JobState
from shared.moves import Move
from shared.wait_facts import WaitReason
from tests.support import rows
from tests.support.command import Ran, genqueue

WINDOW = RateWindow(requests=4, seconds=60)


@pytest.fixture
def run(database_url: str) -> Callable[..., Ran]:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"})


def tick(engine: Engine, name: str = "w1") -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name=name, lock_key=1, slots=4)


def serve(engine: Engine, *windows: RateWindow, concurrency: int = 8) -> None:
    tick(engine)
    rows.register(engine, rows.account_row(concurrency=concurrency, windows=windows))


def reasons(engine: Engine) -> dict[str, WaitReason]:
    """Shown state -> the reason of the oldest."""
    with transaction(engine) as connection:
        return {found.state: found.wait.reason for found in reversed(waits.of_batch(connection, "b"))}


def use(engine: Engine, count: int, *, seconds_ago: float = 0) -> None:
    with transaction(engine) as connection:
        rate_windows.take(connection, "bloom", "submit", count)
    rows.rows(engine, "UPDATE request_slot SET taken_at = taken_at - :ago * interval '1 second'", ago=seconds_ago)


def test_a_job_waits_for_a_worker_then_for_its_key_then_in_line(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert reasons(engine) == {"queued": WaitReason.NO_WORKER}
    tick(engine)
    assert reasons(engine) == {"queued": WaitReason.NO_KEY}
    serve(engine)
    assert reasons(engine) == {"queued": WaitReason.LINE}


def test_a_full_window_is_told_with_the_time_at_which_the_dispatcher_has_room_again(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    serve(engine, WINDOW)
    use(engine, 2, seconds_ago=20)
    assert reasons(engine) == {"queued": WaitReason.LINE}
    use(engine, 1)
    with transaction(engine) as connection:
        ((found,), room) = (
            waits.of_batch(connection, "b"),
            rate_windows.room(connection, "bloom", [RateWindow(requests=3, seconds=60)]),
        )
        assert found.wait.until is not None
        assert found.wait.at is not None
        assert (found.wait.until - found.wait.at).total_seconds() == pytest.approx(room.wait_seconds, abs=1)


def test_windows_are_used_as_the_dispatcher_counts_them(engine: Engine) -> None:
    rows.register(engine, rows.account_row(windows=(WINDOW, RateWindow(requests=9, seconds=60, scope="submit"))))
    use(engine, 3)
    with transaction(engine) as connection:
        rate_windows.take(connection, "bloom", "poll", 1)
        asked, paid = rate_windows.usage(connection, polled=["bloom"])["bloom"]
        alone = rate_windows.usage(connection, polled=[])["bloom"][0]
    assert (asked.used, asked.kept, paid.used, paid.kept, alone.kept) == (4, 1, 3, 0, 0)
    assert asked.is_full
    assert not paid.is_full


def test_calls_in_hand_and_messages_in_the_broker_are_told_apart(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    serve(engine, concurrency=1)
    rows.claim(engine, worker="w1")
    with transaction(engine) as connection:
        found = {one.wait.reason for one in waits.of_batch(connection, "b")}
    assert found == {WaitReason.IN_BROKER, WaitReason.CALLS}


def test_each_reason_is_told_once_for_all_jobs_that_share_it(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"a{number}") for number in range(waits.LOOKED_AT + 5)])
    rows.transferring(engine, ImageState.READY)
    serve(engine)
    with transaction(engine) as connection:
        found = waits.of_batch(connection, "b")
    assert [(one.state, one.jobs) for one in found] == [("queued", waits.LOOKED_AT), ("transferring", 1)]


def test_explain_says_what_a_queued_job_waits_for_and_what_ends_it(
    run: Callable[..., Ran], client: Client, engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("a")])
    serve(engine)
    with transaction(engine) as connection:
        reason = "HTTP 402: no credit"
        pauses.pause(connection, "bloom", code="account_out_of_credit", reason=reason, action_url="https://x.example")
    told = run("explain", "b/a").out.splitlines()
    assert "  waits: account bloom is paused: HTTP 402: no credit" in told
    assert "  you can: top up at the provider (https://x.example), then `genqueue resume bloom`" in told
    assert client.resume("bloom")
    assert "  waits: in line at account bloom" in run("explain", "b/a").out.splitlines()


def test_watch_warns_of_what_holds_the_batch_up_and_of_nothing_on_the_usual_road(
    client: Client, engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")], caps={"bloom": Decimal(10)})
    rows.add(engine, [rows.new_job("c", account="getimg")], batch="other")
    assert [line.plain for line in _warnings(client, "b")] == [
        "no worker runs",
        "  you can: start one: `genqueue up`, or `genqueue worker`",
    ]
    serve(engine)
    assert _warnings(client, "b") == []
    with transaction(engine) as connection:
        accounts.slow_down(connection, "bloom", 100)
    wait, then = _warnings(client, "b")
    assert wait.plain.startswith("account bloom starts no paid call: its provider asked for a slower pace, until ")
    assert then.plain == "  you can: `genqueue resume bloom` tries at once"


def test_explain_and_watch_name_a_daily_cap_that_is_spent(
    run: Callable[..., Ran], client: Client, engine: Engine
) -> None:
    tick(engine)
    rows.register(engine, replace(rows.account_row(), daily_cap=Decimal(2)))
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    (intent,) = rows.open_intents(engine, rows.claim(engine))
    assert rows.settle(engine, intent, rows.accepted(), Move(intent.claim, JobState.SUBMITTING, JobState.PENDING, 60))
    assert rows.open_intents(engine, rows.claim(engine)) == []
    said = "account bloom starts no paid call: its daily cap is reached (2 of 2 credit are spent or set aside), until "
    (waits_for,) = [line for line in run("explain", "b/b").out.splitlines() if line.startswith("  waits: ")]
    assert waits_for.startswith(f"  waits: {said}")
    assert waits_for.endswith(" 00:00:00 UTC")
    assert [line.plain.startswith(said) for line in _warnings(client, "b")] == [True]


def test_explain_says_the_time_of_the_next_look_in_hours_where_it_is_far(
    run: Callable[..., Ran], engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("a")])
    rows.rows(engine, "UPDATE job SET due_at = now() + interval '23 hours 59 minutes 50 seconds'")
    (told,) = [line for line in run("explain", "b/a").out.splitlines() if "looked at again" in line]
    assert told == "  queued, looked at again in 23 h 59 min"
