"""Rows that came by SQL and that our code fails on: each ends as a failed job, tells, and stops no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from ops.dashboard.judging import judge
from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import DatabaseUnavailableError, Engine
from shared.db.jobs import inbox
from shared.db.jobs.insert_rows import JobTimes
from shared.prompt_rows.preparer import PreparedRow
from shared.settings import Settings
from tests.support import rows
from tests.support.api import bearer, serving
from tests.support.browsing import browsing
from tests.support.command import genqueue
from tests.support.drain import settings_for
from tests.support.outcome import BLOOM
from worker.dispatch import Dispatcher
from worker.runtime import Runtime

Connection = psycopg.Connection[Any]
TIMES = JobTimes(3600, 7200)
DIGITS = "9" * 5000
DEEP = '{"a":' * 2500 + "1" + "}" * 2500
UNREADABLE = {
    "n": f'"n": {DIGITS}',
    "a number of the options": f'"options": {{"guidance": {DIGITS}}}',
    "a number of the metadata": f'"metadata": {{"order": {DIGITS}}}',
    "an exponent": '"seed": 1e100000',
    "deep options": f'"options": {DEEP}',
    "deep metadata": f'"metadata": {DEEP}',
    "a deep unknown key": f'"xyz": {DEEP}',
    "levels that some can read": '"options": ' + '{"a":' * 300 + "1" + "}" * 300,
    "more levels": '"options": ' + '{"a":' * 900 + "1" + "}" * 900,
    "levels of the metadata": '"metadata": ' + '{"a":' * 300 + "1" + "}" * 300,
    "more levels of the metadata": '"metadata": ' + '{"a":' * 900 + "1" + "}" * 900,
}
WRONG = UNREADABLE | {
    "no prompt": '"prompt": null',
    "a prompt that is a list": '"prompt": [1]',
    "a number": '"model": 7',
}
wrong = pytest.mark.parametrize("member", WRONG.values(), ids=WRONG)
unreadable = pytest.mark.parametrize("member", UNREADABLE.values(), ids=UNREADABLE)


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url, webhook_key="k" * 32)


@pytest.fixture
def app(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def dispatcher(runtime: Runtime) -> Dispatcher:
    made = dispatcher_of(runtime)
    made._register()
    return made


def dispatcher_of(runtime: Runtime) -> Dispatcher:
    return Dispatcher(runtime, lambda _parcel: None, lambda _parcel: None)


def bad(custom_id: str, member: str = UNREADABLE["n"]) -> str:
    return f'{{"custom_id": "{custom_id}", "provider": "bloom", "prompt": "x", {member}}}'


def good(custom_id: str) -> str:
    return json.dumps({"custom_id": custom_id, **BLOOM})


def hand_in(app: Connection, *given: str) -> list[tuple[Any, ...]]:
    asked = "SELECT job_id, custom_id, added FROM genqueue.enqueue('shop', %s)"
    return app.execute(asked, (f"[{','.join(given)}]",)).fetchall()


def states(engine: Engine) -> dict[str, str]:
    return {row.custom_id: row.state for row in rows.rows(engine, "SELECT custom_id, state FROM job ORDER BY id")}


@unreadable
def test_a_row_that_python_cannot_read_ends_as_a_failed_job_that_tells_and_keeps_its_custom_id(
    app: Connection, dispatcher: Dispatcher, client: Client, engine: Engine, member: str
) -> None:
    client.add_webhook("https://shop.example/hook", types=["job.failed"])
    ((handed, _, _), _) = hand_in(app, bad("a", member), good("b"))
    dispatcher.tick()
    job = rows.job(engine, handed)
    assert (states(engine), job.error_code) == ({"a": "failed", "b": "queued"}, inbox.INVALID)
    assert job.error
    (told,) = rows.rows(engine, "SELECT type, data FROM delivery")
    assert (told.type, told.data["job_id"]) == ("job.failed", str(handed))
    assert hand_in(app, bad("a", member)) == [(handed, "a", False)]
    with pytest.raises(errors.UniqueViolation, match="already holds a with a different request"):
        hand_in(app, good("a"))


@wrong
def test_a_wrong_row_is_shown_by_the_api_before_and_after_its_check(
    app: Connection, dispatcher: Dispatcher, client: Client, member: str
) -> None:
    ((handed, _, _),) = hand_in(app, bad("a", member))
    with serving(client) as http:
        header = bearer(client)
        assert http.get(f"/v1/jobs/{handed}", headers=header).json()["state"] == "queued"
        dispatcher.tick()
        asked = (f"jobs/{handed}", f"jobs/{handed}/story", "jobs?batch=shop", "batches/shop")
        assert [http.get(f"/v1/{path}", headers=header).status_code for path in asked] == [200] * 4


@wrong
def test_a_wrong_row_is_shown_by_commands_and_pages(
    app: Connection, dispatcher: Dispatcher, client: Client, engine: Engine, tmp_path: Path, member: str
) -> None:
    ((handed, _, _),) = hand_in(app, bad("a", member))
    dispatcher.tick()
    assert client.plan_retry(batch="shop").of(buy_again=True) == ()
    env = {"GENQUEUE_DATABASE_URL": client.settings.database_url.get_secret_value()}
    assert genqueue("explain", str(handed), env=env).code == 0
    with browsing(engine, tmp_path, settings=client.settings, judge=judge(engine, "x")) as browser:
        browser.sign_in("x")
        assert [browser.get(path).status_code for path in (f"/job/{handed}", "/batch?name=shop", "/failures")] == [
            200
        ] * 3


def test_many_rows_that_python_cannot_read_hold_up_no_good_row(
    app: Connection, dispatcher: Dispatcher, engine: Engine
) -> None:
    hand_in(app, *(bad(f"bad{number}") for number in range(60)), *(good(f"good{number}") for number in range(60)))
    dispatcher.tick()
    assert set(states(engine).values()) == {"failed", "queued"}
    assert len(states(engine)) == 120


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the addition of jobs fail where a row is called `broken`."""
    real = inbox._job

    def failing(job_id: UUID, row: PreparedRow) -> Any:
        if row.custom_id == "broken":
            raise ZeroDivisionError
        return real(job_id, row)

    monkeypatch.setattr(inbox, "_job", failing)


@pytest.mark.usefixtures("defect")
def test_a_row_that_fails_together_with_others_ends_as_a_failed_job_and_stops_no_other(
    app: Connection, dispatcher: Dispatcher, engine: Engine
) -> None:
    (_, (handed, _, _), _) = hand_in(app, good("sound"), good("broken"), good("other"))
    dispatcher.tick()
    assert states(engine) == {"sound": "queued", "broken": "failed", "other": "queued"}
    job = rows.job(engine, handed)
    assert (job.error_code, job.error) == (inbox.INVALID, inbox.DEFECT)
    assert rows.rows(engine, "SELECT 1 FROM inbox WHERE taken_at IS NULL") == []


@pytest.mark.usefixtures("defect")
def test_of_two_workers_that_fail_on_a_row_none_fails_the_row_behind_it(
    app: Connection, runtime: Runtime, dispatcher: Dispatcher, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, take_one, met = dispatcher_of(runtime), inbox.take_one, list[str]()

    def slow(*given: Any, **more: Any) -> int:
        if "wrong" in more and not met:
            met.append("the other worker is quicker")
            other._take_batch("shop", TIMES)
            hand_in(app, good("behind"))
        return take_one(*given, **more)

    monkeypatch.setattr(inbox, "take_one", slow)
    hand_in(app, good("broken"), good("sound"))
    dispatcher._take_batch("shop", TIMES)
    dispatcher._take_batch("shop", TIMES)
    assert met
    assert states(engine) == {"broken": "failed", "sound": "queued", "behind": "queued"}


def test_rows_wait_while_the_database_is_away(
    app: Connection, dispatcher: Dispatcher, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> int:
        raise DatabaseUnavailableError("gone")

    monkeypatch.setattr(inbox, "take", away)
    hand_in(app, good("a"))
    with pytest.raises(DatabaseUnavailableError):
        dispatcher._take_batch("shop", TIMES)
    monkeypatch.undo()
    dispatcher._take_batch("shop", TIMES)
    assert states(engine) == {"a": "queued"}
