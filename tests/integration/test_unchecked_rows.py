"""Rows that came by SQL and that no worker has checked yet: no door takes their batch for settled, or them for gone."""

import json
from uuid import UUID

import psycopg
import pytest
from httpx import Client as Http

from producer import Client
from producer.cli.session import ExitCode
from producer.cli.watch import follow
from shared.db.engine import Engine, transaction
from shared.db.jobs import inbox
from shared.db.jobs.insert_rows import JobTimes
from tests.integration.test_api import refused
from tests.support import rows
from tests.support.api import HARBOUR
from tests.support.command import Ran, genqueue

ROW = [{"custom_id": "by-sql", "provider": "bloom", "prompt": "secret words"}]


@pytest.fixture
def handed_in(http: Http, alice: Client, database_url: str) -> UUID:
    """A row of the batch `shop` that waits for a worker; the other job of the batch has ended."""
    http.post("/v1/jobs", json=HARBOUR).raise_for_status()
    alice.cancel(batch="shop")
    with psycopg.connect(database_url) as app:
        found = app.execute("SELECT job_id FROM genqueue.enqueue('shop', %s)", (json.dumps(ROW),)).fetchone()
    assert found is not None
    return UUID(str(found[0]))


def check(engine: Engine) -> None:
    """Do what a worker does with the row."""
    with transaction(engine) as connection:
        assert inbox.take(connection, "shop", JobTimes(3600, 7200), actor="worker") == 1


@pytest.mark.usefixtures("handed_in")
def test_a_batch_is_not_settled_over_http_while_a_row_waits_to_be_checked(
    http: Http, alice: Client, engine: Engine
) -> None:
    first = http.get("/v1/batches/shop", headers={"Prefer": "wait=1"})
    assert (first.json()["states"], first.json()["settled"]) == ({"cancelled": 1}, False)
    check(engine)
    alice.cancel(batch="shop")
    then = http.get("/v1/batches/shop", headers={"If-None-Match": first.headers["etag"]}).json()
    assert (then["states"], then["settled"]) == ({"cancelled": 2}, True)


@pytest.mark.usefixtures("handed_in")
def test_a_watch_goes_on_while_a_row_waits_to_be_checked(
    alice: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(_seconds: float) -> None:
        check(engine)
        alice.cancel(batch="shop")

    monkeypatch.setattr("producer.cli.watch.time.sleep", end)
    assert follow(alice, "shop", as_json=True) == ExitCode.INCOMPLETE
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["settled"], one["jobs"]) for one in said] == [(False, {"cancelled": 1}), (True, {"cancelled": 2})]


def test_a_cancel_that_cannot_reach_a_row_yet_says_so_and_does_not_answer_as_if_it_had(
    http: Http, engine: Engine, handed_in: UUID
) -> None:
    for path in (f"/v1/jobs/{handed_in}:cancel", "/v1/batches/shop:cancel"):
        answer = http.post(path)
        refused(answer, 503, "not_checked_yet")
        assert answer.headers["retry-after"]
    check(engine)
    assert http.post(f"/v1/jobs/{handed_in}:cancel").json()["done"] == {"cancelled": 1}
    assert http.post("/v1/batches/shop:cancel").json()["done"] == {}


def test_the_story_of_a_row_that_is_no_job_yet_is_no_defect(http: Http, engine: Engine, handed_in: UUID) -> None:
    refused(http.get(f"/v1/jobs/{handed_in}/story"), 503, "not_checked_yet")
    check(engine)
    assert http.get(f"/v1/jobs/{handed_in}/story").status_code == 200


@pytest.mark.usefixtures("handed_in")
def test_the_command_says_that_a_cancel_or_an_erasure_leaves_a_waiting_row(
    database_url: str, engine: Engine, alice: Client
) -> None:
    def run(*arguments: str) -> Ran:
        return genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url})

    assert "came by SQL wait for a worker to check them, and are not cancelled" in run("cancel", "--batch", "shop").err
    erased = run("erase", "shop", "--yes")
    assert (erased.code, "1 left alone: came by SQL" in erased.err) == (3, True)
    check(engine)
    alice.cancel(batch="shop")
    assert run("erase", "shop", "--yes").code == 0
    assert rows.rows(engine, "SELECT 1 FROM job WHERE request ->> 'prompt' LIKE '%secret%'") == []
