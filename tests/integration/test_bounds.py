"""Waits: whatever somebody asks for, no job is due beyond its last bound, and what is stored can be shown."""

from collections.abc import Callable

import pytest

from producer import Client
from shared.db import accounts
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Claim, Move, give_back, move
from shared.lifecycle import ImageState, JobState
from tests.support import rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.outcome import BLOOM, only
from worker.runtime import Runtime

ABSURD = [1e9, 1e300, float("inf"), float("nan"), -1e300, -1.0, 0.5]
Run = Callable[..., Ran]


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "400"})


def wait_of(engine: Engine, claim: Claim) -> float:
    (row,) = rows.rows(
        engine, "SELECT extract(epoch FROM due_at - now()) AS wait FROM job WHERE id = :id", id=claim.job_id
    )
    return float(row.wait)


def put_off(engine: Engine, claim: Claim, state: JobState, seconds: float, *, released: bool) -> float:
    with transaction(engine) as connection:
        if released:
            give_back(connection, [claim], states=[state], due_seconds=seconds)
        else:
            assert move(connection, [Move(claim, state, state, seconds)], actor="me")
    return wait_of(engine, claim)


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize("seconds", ABSURD)
def test_a_queued_job_is_due_by_its_deadline(engine: Engine, seconds: float, *, released: bool) -> None:
    rows.add(engine, [rows.new_job("a")], deadline=500, collect=1000)
    (claim,) = rows.claim(engine)
    assert -1 <= put_off(engine, claim, JobState.QUEUED, seconds, released=released) <= 500


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize("seconds", ABSURD)
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.PROCESSING, JobState.TRANSFERRING])
def test_a_bought_job_is_due_by_its_last_bound(
    engine: Engine, state: JobState, seconds: float, *, released: bool
) -> None:
    claim = rows.transferring(engine, ImageState.READY)
    bounds = "UPDATE job SET state = :state, collect_until = now() + interval '700 seconds'"
    rows.rows(engine, bounds, state=state.value)
    (claim,) = rows.claim(engine, "transfer" if state is JobState.TRANSFERRING else "poll")
    assert -1 <= put_off(engine, claim, state, seconds, released=released) <= 700


@pytest.mark.parametrize("seconds", ABSURD)
def test_a_job_past_its_last_bound_is_looked_at_within_a_minute_and_not_at_every_tick(
    engine: Engine, seconds: float
) -> None:
    rows.transferring(engine, ImageState.READY)
    rows.rows(engine, "UPDATE job SET collect_until = now() - interval '1 day'")
    (claim,) = rows.claim(engine, "transfer")
    wait = put_off(engine, claim, JobState.TRANSFERRING, seconds, released=False)
    assert -1 <= wait <= 60
    assert wait > 50 or not seconds > 60


@pytest.mark.parametrize("seconds", ABSURD)
def test_no_wait_stops_an_account_for_more_than_a_day(engine: Engine, seconds: float) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as connection:
        accounts.slow_down(connection, "bloom", seconds)
        locked = accounts.lock(connection, "bloom", wait=True)
    assert locked is not None
    assert locked.wait_seconds <= 86_400


@pytest.mark.parametrize("when", ["10000-06-01", "99999-01-01", "infinity"])
def test_a_time_beyond_every_calendar_is_shown_all_the_same(
    run: Run, client: Client, engine: Engine, when: str
) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    rows.rows(engine, "UPDATE job SET due_at = CAST(:at AS timestamptz)", at=when)
    for arguments in (("jobs", "b"), ("jobs", "b", "--json"), ("explain", "b/a"), ("explain", "b/a", "--json")):
        ran = run(*arguments)
        assert (ran.code, ran.err) == (0, "")


def test_a_bought_job_that_waits_is_explained_as_waiting_with_its_reason_and_its_end(
    run: Run, client: Client, runtime: Runtime, simulated: object
) -> None:
    assert hasattr(simulated, "put_faults")
    simulated.put_faults([{"match": {"route": "download"}, "fault": "refuse_503", "times": None}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, lambda: only(client)["job"]["error_code"] == "result_unavailable")
    told = run("explain", "b/a").out
    assert "result_unavailable: 127.0.0.1: HTTP 503" in told
    assert f"tries again automatically until {only(client)['job']['collect_until']:%Y-%m-%d %H:%M} UTC" in told
    assert "ends the job" not in told
