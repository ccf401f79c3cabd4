"""One rule for the name of a new batch at every door; a batch that is there is reached by any name it has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producer import Client, InvalidRowsError
from shared.db.engine import Engine, transaction
from shared.db.jobs import inbox
from shared.db.jobs.inbox import INVALID
from shared.db.jobs.insert_rows import JobTimes
from shared.prompt_rows.ids import name_complaint
from shared.settings import load
from tests.support import rows
from tests.support.api import bearer, serving
from tests.support.browsing import browsing
from tests.support.command import genqueue
from tests.support.outcome import BLOOM

ROW: dict[str, Any] = {"custom_id": "a", **BLOOM}
STORABLE = ["a/b", "a\nb", "a\x1b[31mb", "a\u202eb", " ", " a", "a ", "x" * 201, "a\u2028b", "a\x7f"]
NAMES = pytest.mark.parametrize("name", [*STORABLE, "", "a\0b", "a\ud800"], ids=ascii)
KEPT = pytest.mark.parametrize("name", STORABLE, ids=ascii)
GOOD = pytest.mark.parametrize("name", ["a", "my batch", "x" * 200, "frühling:1", "a.b-c_d", "-"], ids=ascii)
DOORS: dict[str, Callable[[Client, str], Any]] = {
    "rows": lambda client, name: client.enqueue([ROW], batch=name),
    "many rows": lambda client, name: client.enqueue([ROW, {**ROW, "custom_id": "b"}], batch=name),
    "caps": lambda client, name: client.enqueue([ROW], batch=name, max_cost=["bloom=1"]),
    "one row": lambda client, name: client.enqueue_one(ROW, batch=name),
    "celery": lambda client, name: client.enqueue_told([ROW], batch=name, address=None),
}
doors = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


def by_sql(engine: Engine, name: str, *custom_ids: str) -> None:
    given = json.dumps([{**ROW, "custom_id": custom_id} for custom_id in custom_ids])
    rows.rows(engine, "SELECT * FROM enqueue(:name, CAST(:rows AS jsonb))", name=name, rows=given)
    with transaction(engine) as connection:
        inbox.take(connection, name, JobTimes(100, 100), actor="w")


def states(engine: Engine) -> list[tuple[str, str, str | None]]:
    return [tuple(row) for row in rows.rows(engine, "SELECT custom_id, state, error_code FROM job ORDER BY id")]


@NAMES
@doors
def test_no_door_makes_a_batch_of_such_a_name(
    engine: Engine, client: Client, door: Callable[[Client, str], Any], name: str
) -> None:
    with pytest.raises(InvalidRowsError, match="batch: must be printable text of 1 to 200 characters"):
        door(client, name)
    assert rows.rows(engine, "SELECT 1 FROM batch") == []


@GOOD
@doors
def test_every_door_makes_a_batch_of_an_ordinary_name(
    client: Client, door: Callable[[Client, str], Any], name: str
) -> None:
    assert name_complaint(name) is None
    door(client, name)
    assert client.totals(name)["queued"] >= 1


@KEPT
@doors
def test_a_batch_that_is_there_takes_more_rows(
    engine: Engine, client: Client, door: Callable[[Client, str], Any], name: str
) -> None:
    rows.add(engine, [rows.new_job("first")], batch=name)
    door(client, name)
    assert client.totals(name)["queued"] >= 2


@pytest.mark.parametrize("name", [name for name in STORABLE if name.strip()], ids=ascii)
def test_rows_by_sql_for_such_a_batch_fail_unbought_whenever_they_come(
    engine: Engine, client: Client, name: str
) -> None:
    for custom_id in ("a", "b"):
        by_sql(engine, name, custom_id)
    assert states(engine) == [("a", "failed", INVALID), ("b", "failed", INVALID)]
    assert "batch: must be printable text" in rows.rows(engine, "SELECT error FROM job")[0].error
    with pytest.raises(InvalidRowsError):
        client.enqueue([ROW], batch=name)


def test_rows_by_sql_go_into_a_batch_that_is_there(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("first")], batch="a/b")
    by_sql(engine, "a/b", "second")
    assert states(engine) == [("first", "queued", None), ("second", "queued", None)]


@pytest.mark.parametrize("name", [*STORABLE, "a\0b", "a\ud800"], ids=ascii)
def test_the_api_refuses_such_a_name_as_a_problem(alice: Client, engine: Engine, name: str) -> None:
    with serving(alice) as http:
        headers = bearer(alice) | {"content-type": "application/json"}
        answer = http.post("/v1/jobs", content=json.dumps({**ROW, "batch": name}), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert rows.rows(engine, "SELECT 1 FROM batch") == []


def test_a_command_says_what_a_name_must_be_like(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("custom_id,provider,prompt\na,bloom,x\n")
    for command in ("plan", "enqueue"):
        env = {"GENQUEUE_DATABASE_URL": database_url}
        shown = genqueue(command, "rows.csv", "--batch", "a/b", env=env, cwd=tmp_path)
        assert (shown.code, "batch: must be printable text of 1 to 200 characters" in shown.err) == (2, True)


def test_the_page_of_a_new_batch_says_what_a_name_must_be_like(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    with browsing(engine, tmp_path, settings=load(database_url=database_url)) as browser:
        browser.sign_in()
        form = {"batch": "a/b", "format": "csv", "text": "custom_id,provider,prompt\na,bloom,x\n"}
        draft = browser.post("/new", None, **form).headers["location"]
        assert "must be printable text of 1 to 200 characters" in browser.get(draft).text
        assert browser.post(draft, None, how="all").status_code == 409
    assert rows.rows(engine, "SELECT 1 FROM batch") == []
