"""What a worker tells of the queue by itself: in its log and to the operator's command, one worker for all."""

import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ops.stack import Endpoints
from shared.db import pauses, workers
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Move
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import runtime_for
from worker import event_loop
from worker.runtime import Runtime
from worker.troubles import CLOCK
from worker.upkeep import watching
from worker.upkeep.watching import Watch

SCRIPT = """
import os, sys
with open({out!r}, "a") as out:
    told = {{name: value for name, value in os.environ.items() if name.startswith("GENQUEUE")}}
    print(sorted(told.items()), sys.stdin.read(), file=out)
sys.exit({status})
"""


def look(runtime: Runtime, known: Watch) -> None:
    """Look once, as the loop of a worker does."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            runtime.start(group)
            await watching.look(runtime, known)
            group.cancel_scope.cancel()

    event_loop.run(run)


def tick(engine: Engine, name: str) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name=name, lock_key=1, slots=4)


def serve(engine: Engine, name: str) -> None:
    """A worker that ticks, and an account that it serves, with one job in line."""
    tick(engine, name)
    rows.add(engine, [rows.new_job("a")])
    rows.register(engine, rows.account_row())


def pause(engine: Engine, reason: str = "HTTP 402: no credit") -> None:
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="account_out_of_credit", reason=reason, action_url=None)


@pytest.fixture
def command(tmp_path: Path) -> Callable[[int], tuple[str, Path]]:
    """Make a command that writes down what it is told, and ends with a status."""

    def made(status: int = 0) -> tuple[str, Path]:
        script, out = tmp_path / "tell me.py", tmp_path / "out.txt"
        script.write_text(SCRIPT.format(out=str(out), status=status))
        return f"{sys.executable} '{script}'", out

    return made


def test_a_pause_is_logged_at_once_and_told_to_the_command_once_without_keys(
    settings: Settings,
    endpoints: Endpoints,
    command: Callable[[int], tuple[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENQUEUE_BLOOM_API_KEY", "a-secret-key")
    line, out = command(0)
    with runtime_for(settings.model_copy(update={"alert_command": line}), endpoints) as runtime:
        serve(runtime.engine, runtime.sender.name)
        known = Watch()
        with capture_logs() as logs:
            pause(runtime.engine)
            look(runtime, known)
            look(runtime, known)
    events = [(one["event"], one["log_level"]) for one in logs]
    assert events == [("account_paused", "warning"), ("problem", "warning")]
    assert (logs[0]["account"], logs[0]["said"]) == ("bloom", "HTTP 402: no credit")
    assert (logs[1]["kind"], logs[1]["you_can"]) == (
        "account_paused",
        "top up at the provider, then genqueue resume bloom",
    )
    told = out.read_text()
    assert told.count("GENQUEUE_ALERT_KIND', 'account_paused'") == 1
    assert "genqueue: account bloom is paused: HTTP 402: no credit" in told
    assert "a-secret-key" not in told


@pytest.mark.parametrize("fault", ["status", "missing"])
def test_a_command_that_fails_is_logged_and_stops_nothing(
    settings: Settings, endpoints: Endpoints, command: Callable[[int], tuple[str, Path]], fault: str
) -> None:
    line = command(3)[0] if fault == "status" else "/no/such/command"
    with runtime_for(settings.model_copy(update={"alert_command": line}), endpoints) as runtime:
        serve(runtime.engine, runtime.sender.name)
        pause(runtime.engine)
        with capture_logs() as logs:
            look(runtime, Watch())
    assert [one["event"] for one in logs] == ["problem", "alert_not_sent"]


def test_only_the_first_of_the_living_workers_tells(runtime: Runtime) -> None:
    serve(runtime.engine, runtime.sender.name)
    tick(runtime.engine, "!before-all-others")
    pause(runtime.engine)
    with capture_logs() as logs:
        look(runtime, Watch())
    assert logs == []
    rows.rows(runtime.engine, "UPDATE worker SET last_tick_at = now() - interval '1 hour' WHERE name LIKE '!%'")
    with capture_logs() as logs:
        look(runtime, Watch())
    assert "account_paused" in {one["kind"] for one in logs}


def test_a_worker_without_its_database_tells_that(settings: Settings, endpoints: Endpoints) -> None:
    gone = settings.database_url.get_secret_value().rpartition("/")[0] + "/no_such_database"
    elsewhere = settings.model_copy(update={"database_url": SecretStr(gone)})
    with runtime_for(elsewhere, endpoints) as one, capture_logs() as logs:
        look(one, Watch())
    (told,) = logs
    assert (told["event"], told["kind"]) == ("problem", "database_away")
    assert "no_such_database" in told["said"]


def test_a_clock_that_is_off_is_noted_for_the_database(runtime: Runtime) -> None:
    watching._look_at_clock(runtime, -42.0)
    assert runtime.troubles.present()[CLOCK] == "the database's clock is -42.0 s from this worker's"
    watching._look_at_clock(runtime, 0.4)
    assert CLOCK not in runtime.troubles.present()


def test_jobs_that_come_in_doubt_and_that_are_held_are_logged_by_reason_with_their_ids(engine: Engine) -> None:
    lost, capped = rows.one_intent(engine), rows.one_intent(engine)
    with capture_logs() as logs:
        doubt = Move(lost.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="answer_lost", note="reset")
        assert rows.settle(engine, lost, Answer(Outcome.UNKNOWN), doubt)
        hold = Move(capped.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="sender_lost", on_hold=True)
        assert rows.settle(engine, capped, Answer(Outcome.UNKNOWN), hold)
    assert [(one["event"], one["code"], one["first"]) for one in logs] == [
        ("jobs_in_doubt", "answer_lost", [str(lost.claim.job_id)]),
        ("jobs_held", "sender_lost", [str(capped.claim.job_id)]),
    ]
    assert logs[0]["said"] == "reset"
