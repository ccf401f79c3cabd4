"""A home made by genqueue at schema 0004 is upgraded: nothing is lost, and nobody real pays for what a trial left."""

import base64
import functools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from pydantic import SecretStr

from ops.stack import Endpoints
from producer import Client
from producer.cli.explain import _lines
from shared import key_ids
from shared.db import migrating, purpose
from shared.db.engine import Engine, open_engine, transaction
from shared.db.jobs import claims
from shared.db.jobs.resolve import NotHeldError
from shared.db.purpose import Purpose, PurposeError
from shared.lifecycle import Stage
from shared.settings import Settings, load
from tests.support import rows
from tests.support.drain import runtime_for
from tests.support.servers import Databases
from worker import event_loop
from worker.evidence.inline_answers import recover_leftovers

DUMP = Path(__file__).with_name("home-0004.sql")
KEPT_REPLY = "01a22742-9640-70f0-863d-67e2eac32064"
"""The attempt of spring/kept-reply: its worker died with the answer on the disk."""
TABLES = ("account", "batch", "job", "submission", "image", "job_event", "request_slot", "ledger")
CALLED_BY_TRIAL = {
    "pending": "pending",
    "processing": "processing",
    "transferring": "transferring",
    "looked-up": "in_doubt",
    "held": "in_doubt",
    "kept-reply": "in_doubt",
    "submitting": "in_doubt",
    "refused-once": "queued",
}
NEVER_SENT = {"queued": "queued", "capped": "queued"}
WAITING = {**NEVER_SENT, "refused-once": "queued"}
_REAL_LAST = """
UPDATE submission s SET opened_at = s.opened_at + interval '3 days' FROM batch b
WHERE b.id = s.batch_id AND b.name = 'spring'
"""


@pytest.fixture(autouse=True, scope="module")
def _keys_of_simulators_are_computed_once() -> Iterator[None]:
    """They are 300,000, and never change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_ids, "simulators", functools.cache(key_ids.simulators))
        yield


@pytest.fixture
def old(databases: Databases) -> Iterator[Engine]:
    """The database as the old code left it."""
    with databases.fresh(migrated=False) as url:
        yield from _opened(_load(url))


@pytest.fixture(scope="module")
def upgraded_url(databases: Databases) -> Iterator[str]:
    """The database as the old code left it, after one upgrade for all tests that begin there."""
    with databases.fresh(migrated=False) as url:
        for engine in _opened(_load(url)):
            migrating.migrate(engine)
        yield url


@pytest.fixture
def upgraded(databases: Databases, upgraded_url: str) -> Iterator[Engine]:
    with databases.copy_of(upgraded_url) as url:
        yield from _opened(url)


def _load(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DUMP.read_text().encode())
    return url


def _opened(url: str) -> Iterator[Engine]:
    engine = open_engine(SecretStr(url), application="tests", pool_size=3)
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def start_real(engine: Engine, *, simulator_was_here: bool = False) -> int:
    with transaction(engine) as connection:
        return purpose.settle(connection, Purpose.REAL, simulator_was_here=simulator_was_here)


def counts(engine: Engine) -> dict[str, int]:
    return {table: len(rows.rows(engine, f"TABLE {table}")) for table in TABLES}


def money(engine: Engine) -> list[tuple[Any, ...]]:
    statement = "SELECT account, sum(settled), sum(reserved + held) FROM ledger GROUP BY account ORDER BY account"
    return [tuple(row) for row in rows.rows(engine, statement)]


def jobs(engine: Engine, batch: str) -> dict[str, Any]:
    statement = """
    SELECT job.* FROM job JOIN batch ON batch.id = job.batch_id WHERE batch.name = :batch ORDER BY job.custom_id
    """
    return {row.custom_id: row for row in rows.rows(engine, statement, batch=batch)}


def held(engine: Engine, batch: str) -> dict[str, str]:
    found = jobs(engine, batch)
    return {name: job.state for name, job in found.items() if job.on_hold and job.error_code == "trial_leftover"}


def test_every_job_attempt_picture_and_cent_is_there_after_the_upgrade(old: Engine) -> None:
    before, spent = counts(old), money(old)
    states = {batch: {name: job.state for name, job in jobs(old, batch).items()} for batch in ("spring", "trial")}
    assert set(states["spring"].values()) >= {"queued", "submitting", "pending", "processing", "transferring"}
    assert set(states["spring"].values()) >= {"in_doubt", "succeeded", "failed", "cancelled"}
    migrating.migrate(old)
    assert (counts(old), money(old)) == (before, spent)
    for batch, were in states.items():
        assert {name: job.state for name, job in jobs(old, batch).items()} == were
    start_real(old)
    after = counts(old)
    assert {name: after[name] for name in TABLES[:5]} == {name: before[name] for name in TABLES[:5]}
    assert money(old) == spent


def test_all_that_waits_is_held_where_the_last_call_went_to_the_simulator(upgraded: Engine) -> None:
    assert start_real(upgraded) == len(CALLED_BY_TRIAL) + len(NEVER_SENT) + len(WAITING)
    assert held(upgraded, "trial") == {**CALLED_BY_TRIAL, **NEVER_SENT}
    assert held(upgraded, "spring") == WAITING


def test_only_what_the_simulator_was_called_for_is_held_where_real_work_followed(upgraded: Engine) -> None:
    rows.rows(upgraded, _REAL_LAST)
    assert start_real(upgraded, simulator_was_here=True) == len(CALLED_BY_TRIAL)
    assert held(upgraded, "trial") == CALLED_BY_TRIAL
    assert held(upgraded, "spring") == {}


def test_what_real_accounts_bought_goes_on_and_what_was_held_stays_held(old: Engine) -> None:
    were = jobs(old, "spring")
    migrating.migrate(old)
    start_real(old)
    now = jobs(old, "spring")
    for name in set(were) - set(WAITING):
        assert (now[name].state, now[name].on_hold, now[name].error_code, now[name].epoch) == (
            were[name].state,
            were[name].parked,
            were[name].error_code,
            were[name].epoch,
        )
        # What is held is looked at again at once: what the old code took for proof may be none.
        assert now[name].due_at == were[name].due_at or now[name].state == "in_doubt"
    assert (now["held"].on_hold, now["held"].error_code) == (True, "answer_lost")


def test_the_second_start_holds_nothing_more(upgraded: Engine) -> None:
    start_real(upgraded)
    rows.rows(upgraded, "UPDATE job SET on_hold = false, error_code = NULL WHERE state = 'queued'")
    assert start_real(upgraded, simulator_was_here=True) == 0


def test_no_stage_takes_a_job_that_a_trial_left_however_long_it_waits(upgraded: Engine) -> None:
    start_real(upgraded)
    rows.rows(upgraded, "UPDATE job SET due_at = now() - interval '1 year' WHERE due_at IS NOT NULL")
    rows.rows(
        upgraded, "UPDATE job SET deadline_at = now() - interval '1 year', collect_until = deadline_at WHERE on_hold"
    )
    left = {job.id for batch in ("spring", "trial") for job in jobs(upgraded, batch).values() if job.on_hold}
    left -= {jobs(upgraded, "spring")["held"].id}
    taken = set()
    with transaction(upgraded) as connection:
        for stage in Stage:
            for account in ("bloom", "getimg", "openrouter"):
                found = claims.claim(connection, stage, account, count=100, worker="w", lease_seconds=60)
                taken |= {claim.job_id for claim in found.together} | {one.claim.job_id for one in found.suspects}
        taken |= {claim.job_id for claim in claims.past_deadline(connection)}
        taken |= {claim.job_id for claim, _ in claims.abandoned(connection, grace_seconds=0)}
    assert taken
    assert not taken & left


def test_a_job_of_a_trial_is_explained_with_the_command_that_ends_it(upgraded: Engine) -> None:
    start_real(upgraded)
    with Client(url_of(upgraded)) as client:
        for name, job in jobs(upgraded, "trial").items():
            if job.on_hold:
                told = "\n".join(_lines(client.story(job.id)))
                assert f"genqueue resolve trial/{name} --resend" in told
                assert f"genqueue resolve trial/{name} --fail" in told
                assert "simulator" in told
                assert "held until you end it" in told


@pytest.mark.parametrize("name", [*CALLED_BY_TRIAL, *NEVER_SENT])
def test_a_person_may_send_it_for_real_or_end_it(upgraded: Engine, name: str) -> None:
    start_real(upgraded)
    job = jobs(upgraded, "trial")[name]
    spent = money(upgraded)
    with Client(url_of(upgraded)) as client:
        assert client.resolve(job.id, resend=True) == "queued"
        sent = jobs(upgraded, "trial")[name]
        assert not sent.on_hold
        assert rows.rows(upgraded, "SELECT 1 FROM image WHERE job_id = :id AND state <> 'failed'", id=job.id) == []
        with pytest.raises(NotHeldError):
            client.resolve(job.id, resend=False)
    assert money(upgraded) == spent


@pytest.mark.parametrize("name", [*CALLED_BY_TRIAL, *NEVER_SENT])
def test_a_person_may_give_it_up(upgraded: Engine, name: str) -> None:
    start_real(upgraded)
    with Client(url_of(upgraded)) as client:
        assert client.resolve(jobs(upgraded, "trial")[name].id, resend=False) == "failed"


def test_cancelling_the_batch_ends_all_that_the_trial_left(upgraded: Engine) -> None:
    start_real(upgraded)
    with Client(url_of(upgraded)) as client:
        done = client.cancel(batch="trial")
        assert (done.ended, done.followed, done.more) == (len(CALLED_BY_TRIAL) + len(NEVER_SENT), 0, False)
        assert set(client.totals("trial")) == {"succeeded", "failed", "cancelled"}


def test_a_free_retry_never_asks_a_real_provider_about_a_picture_of_the_simulator(upgraded: Engine) -> None:
    start_real(upgraded)
    with Client(url_of(upgraded)) as client:
        theirs, ours = client.plan_retry(batch="trial"), client.plan_retry(batch="spring")
    assert (theirs.ask, theirs.fetch) == ((), ())
    assert [claim.job_id for claim in theirs.buy_again] == [jobs(upgraded, "trial")["expired"].id]
    assert [claim.job_id for claim in ours.ask] == [jobs(upgraded, "spring")["expired"].id]
    assert jobs(upgraded, "trial")["expired"].error_code == "result_expired"


def test_waiting_for_the_batch_ends_although_jobs_are_held(upgraded: Engine) -> None:
    start_real(upgraded)
    with Client(url_of(upgraded)) as client:
        assert client.wait("trial", timeout_seconds=1)["on_hold"] == 6


def test_a_home_where_nothing_was_sent_yet_is_a_trials_if_the_simulator_ran_in_it(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert start_real(engine, simulator_was_here=True) == 1
    assert rows.rows(engine, "SELECT on_hold, error_code FROM job") == [(True, "trial_leftover")]


def test_a_home_without_a_trial_holds_nothing(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert start_real(engine) == 0
    assert rows.rows(engine, "SELECT on_hold FROM job") == [(False,)]


@pytest.mark.parametrize(("first", "second"), [(Purpose.REAL, Purpose.TRIAL), (Purpose.TRIAL, Purpose.REAL)])
def test_a_database_never_serves_both(engine: Engine, first: Purpose, second: Purpose) -> None:
    with transaction(engine) as connection:
        purpose.settle(connection, first)
    with pytest.raises(PurposeError), transaction(engine) as connection:
        purpose.settle(connection, second)
    with transaction(engine) as connection:
        assert purpose.of(connection) is first


def test_an_answer_that_the_old_code_kept_is_found_and_counts(
    upgraded: Engine, endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start_real(upgraded)
    place = tmp_path / f"genqueue-{os.getuid()}" / "replies"
    place.mkdir(mode=0o700, parents=True)
    answer = {"data": [{"b64_json": base64.b64encode(b"a picture").decode(), "media_type": "image/png"}]}
    (place / f"{KEPT_REPLY}.reply").write_text(json.dumps({"created": 1, **answer, "usage": {"cost": 0.04}}))
    with runtime_for(_settings(url_of(upgraded), endpoints), endpoints) as runtime:

        async def recover() -> None:
            async with anyio.create_task_group() as group:
                runtime.start(group)
                await recover_leftovers(runtime)
                group.cancel_scope.cancel()

        event_loop.run(recover)
    (found,) = rows.rows(upgraded, "SELECT outcome, settled FROM submission WHERE id = :id", id=KEPT_REPLY)
    assert (found.outcome, f"{found.settled:.2f}") == ("accepted", "0.04")
    pictures = "SELECT i.state FROM image i JOIN submission s ON s.id = i.submission_id WHERE s.id = :id"
    assert rows.rows(upgraded, pictures, id=KEPT_REPLY) == [("ready",)]


def _settings(database_url: str, endpoints: Endpoints) -> Settings:
    account = {"provider": "openrouter", "api_key": "a-real-key", "base_url": "http://127.0.0.1:9/openrouter/api/v1"}
    return load(
        database_url=database_url,
        s3_endpoint_url=endpoints.s3_endpoint_url,
        s3_bucket=endpoints.s3_bucket,
        accounts={"openrouter": account},
    )
