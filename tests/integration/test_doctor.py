"""`genqueue doctor`: every check has its time, what is broken comes first, and one dead server hides no other."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.checks.running import Finding, side_by_side
from ops.cli.checks.servers import of_servers
from ops.cli.doctor import _printed
from ops.stack import Endpoints, Home
from ops.stack.lock import Owner
from shared.db import pauses, workers
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Move
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from shared.settings import load
from tests.support import rows
from tests.support.command import Ran, genqueue

Run = Callable[..., Ran]


@pytest.fixture
def frozen() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def run(database_url: str, endpoints: Endpoints) -> Run:
    here = {**endpoints.environment(), "GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"}
    return lambda *arguments, **env: genqueue(*arguments, env={**here, **env})


def findings(ran: Ran) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in json.loads(ran.out)["findings"]}


def serve(engine: Engine) -> None:
    with transaction(engine) as connection:
        workers.heartbeat(connection, name="w1", lock_key=1, slots=4)
    rows.register(engine, rows.account_row())


def test_a_check_that_says_nothing_is_a_finding_and_the_others_come_at_once() -> None:
    never, given = threading.Event(), Finding("quick", ok=True, seen="well")
    found = side_by_side({"slow": lambda: [Finding("slow", ok=never.wait(60), seen="")], "quick": lambda: [given]}, 0.3)
    assert next(found) == given
    (late,) = found
    assert (late.check, late.ok, late.seen) == ("slow", False, "no answer within 0 s")
    never.set()


@pytest.mark.parametrize("lives", [True, False])
def test_a_broker_that_is_away_is_waited_for_while_up_lives_and_started_where_it_does_not(
    lives: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENQUEUE_HOME", str(tmp_path))
    monkeypatch.setenv("GENQUEUE_BROKER_URL", f"redis+socket://{tmp_path}/nobody.sock")
    monkeypatch.setattr("ops.cli.checks.running.adopted", lambda: frozenset({"GENQUEUE_BROKER_URL"}))
    home = Home(tmp_path)
    if lives:
        home.lock.acquire(Owner(ready=True), 0)
    try:
        (broker,) = of_servers(load())["broker"]()
    finally:
        home.lock.release()
    assert not broker.ok
    if lives:
        assert "`genqueue up` runs and starts it again by itself" in broker.do
        assert str(home.log("redis")) in broker.do
    assert (broker.do == "start everything: genqueue up") is not lives


def test_a_check_that_fails_in_an_unforeseen_way_is_a_finding_without_its_message() -> None:
    def broken() -> list[Finding]:
        raise ZeroDivisionError("a secret")

    (found,) = side_by_side({"sum": broken})
    assert (found.ok, "ZeroDivisionError" in found.seen, "secret" in found.seen) == (False, True, False)


def test_a_frozen_broker_and_a_frozen_bucket_are_named_and_hide_nothing(run: Run, frozen: int, engine: Engine) -> None:
    serve(engine)
    url = f"127.0.0.1:{frozen}"
    ran = run("doctor", "--json", GENQUEUE_BROKER_URL=f"redis://{url}/0", GENQUEUE_S3_ENDPOINT_URL=f"http://{url}")
    found = findings(ran)
    assert ran.code == 1
    assert {name for name, one in found.items() if not one["ok"]} == {"broker", "bucket"}
    assert found["worker w1"]["ok"]
    assert all(found[name]["do"] for name in ("broker", "bucket"))


def test_without_the_database_the_other_servers_are_tried_all_the_same(run: Run, engine: Engine) -> None:
    serve(engine)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    found = findings(run("doctor", "--json", GENQUEUE_DATABASE_URL=f"postgresql://x@127.0.0.1:{closed}/x"))
    assert not found["database"]["ok"]
    assert found["broker"]["ok"]
    assert found["bucket"]["ok"]
    assert "accounts" not in found


def test_a_frozen_database_is_named_and_the_other_servers_are_tried_all_the_same(
    run: Run, frozen: int, engine: Engine
) -> None:
    serve(engine)
    found = findings(run("doctor", "--json", GENQUEUE_DATABASE_URL=f"postgresql://x@127.0.0.1:{frozen}/x"))
    assert found["database"]["seen"] == "no answer within 5 s"
    assert found["broker"]["ok"]


def test_settings_are_listed_only_when_asked_for(run: Run, engine: Engine) -> None:
    serve(engine)
    assert "GENQUEUE_WORKER_SLOTS" not in run("doctor").out
    assert "GENQUEUE_WORKER_SLOTS" in run("doctor", "--settings").out


def test_a_pause_is_broken_and_stands_before_what_is_well_with_the_command_that_ends_it(
    run: Run, engine: Engine
) -> None:
    serve(engine)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="x", reason="no credit", action_url=None)
    ran = run("doctor")
    lines = ran.out.splitlines()
    assert ran.code == 1
    assert lines[0].startswith("NO  account bloom  paused since ")
    assert "    settle it, then genqueue resume bloom" in lines
    marks = [line[:2] for line in lines if line[:2] in {"NO", "!!", "ok"}]
    assert marks == sorted(marks, key=["NO", "!!", "ok"].index)
    assert re.fullmatch(r"1 of \d+ checks failed: what is marked NO is broken", lines[-1])
    assert max(map(len, lines)) <= 80


def test_a_held_job_is_for_a_person_and_nothing_is_broken(run: Run, engine: Engine) -> None:
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 3600, code="answer_lost", on_hold=True)
    assert rows.settle(engine, intent, Answer(Outcome.UNKNOWN), step)
    serve(engine)
    ran = run("doctor")
    assert ran.code == 0, ran.out
    assert ran.out.splitlines()[0].startswith("!!  held bloom answer_lost  1 job at bloom is held: ")
    assert ran.out.splitlines()[-1] == "everything works; 1 thing waits for a person"


def test_what_is_broken_and_what_waits_for_a_person_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    broken, held = Finding("bucket", ok=False, seen="away"), Finding("held", ok=True, seen="one", look=True)
    _printed(iter([broken, held]), [])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "1 of 2 checks failed: what is marked NO is broken",
        "besides, 1 thing marked !! waits for a person",
    ]


def test_a_sound_stack_gets_one_line_of_praise(capsys: pytest.CaptureFixture[str]) -> None:
    _printed(iter([Finding("database", ok=True, seen="answers")]), [])
    assert capsys.readouterr().out.splitlines() == ["ok  database  answers", "", "everything works: 1 checks"]
