"""Acts of people against workers in the middle of their work: the second comes between two statements of the first."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Connection, DatabaseUnavailableError, Engine, transaction
from shared.db.jobs import bulk, policy, steering, stored_images
from shared.db.jobs.transitions import Move, move
from shared.db.payments import caps
from shared.lifecycle import JobState
from tests.support import rows
from tests.support.drain import drain
from tests.support.held import failed
from tests.support.lost import LOST_BEFORE, finish, lose, opened, row, until_lost
from tests.support.outcome import ended, ends, paid_posts
from worker.dispatch import end_overdue
from worker.lost_calls.judgement import NotBought
from worker.runtime import Runtime
from worker.stages import follow_provider


def test_what_arrives_after_a_person_had_it_bought_again_ends_the_job_and_nothing_is_bought(
    engine: Engine, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    (job,) = failed(engine)
    image = rows.bytes_of(engine, job, 0)
    assert client.retry(client.plan_retry(job=job), buy_again=True) == 1
    rows.store(engine, image)  # by a worker that was frozen while it copied
    drain(runtime, ended(client))
    assert list(ends(client).values()) == [("succeeded", None)]
    assert paid_posts(simulated) == 0
    assert len(client.story(job)["submissions"]) == 1


def test_a_job_that_lacks_nothing_takes_no_place_and_no_money_of_those_beside_it(
    engine: Engine, client: Client
) -> None:
    (job,) = failed(engine)
    image = rows.bytes_of(engine, job, 0)
    client.retry(client.plan_retry(job=job), buy_again=True)
    rows.add(engine, [rows.new_job("beside")], batch="b", caps={"bloom": Decimal(4)})
    rows.store(engine, image)
    (opened,) = rows.open_intents(engine, rows.claim(engine, count=2))
    assert opened.claim.job_id != job
    assert rows.job(engine, job).state == JobState.TRANSFERRING


def _hold(connection: Connection) -> None:
    steering.hold(connection, "b")


def _cap(connection: Connection) -> None:
    caps.set_for(connection, "b", {"bloom": Decimal(0)})


def _waits(engine: Engine, act: Callable[[Connection], None]) -> bool:
    """Tell whether a person's act waits for what is going on now."""
    try:
        with transaction(engine) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            act(connection)
    except DatabaseUnavailableError as error:
        return bulk.locked_out(error)
    return False


@pytest.mark.parametrize("act", [_hold, _cap])
def test_a_hold_and_a_first_cap_wait_for_an_intent_that_is_being_written(
    act: Callable[[Connection], None], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("later")])
    budget, waited = caps.budget, []

    def then_a_person_acts(*given: Any, **named: Any) -> Any:
        found = budget(*given, **named)
        waited.append(_waits(engine, act))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(caps, "budget", then_a_person_acts)
        assert len(rows.open_intents(engine, rows.claim(engine))) == 1
    assert waited == [True]
    with transaction(engine) as connection:
        act(connection)
    assert rows.open_intents(engine, rows.claim(engine)) == []


def test_a_batch_that_holds_its_lost_calls_from_now_on_waits_for_a_look_that_sends_one_again(
    database_url: str,
    endpoints: Endpoints,
    simulated: Simulator,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge, waited = follow_provider._judge, []

    def then_a_person_acts(connection: Connection, case: Any, found: Any) -> Any:
        judgement = judge(connection, case, found)
        if isinstance(judgement, NotBought):
            waited.append(_waits(client_engine, lambda other: policy.change(other, "b", "hold")))
        return judgement

    monkeypatch.setattr(follow_provider, "_judge", then_a_person_acts)
    with opened(database_url, endpoints, simulated) as runtime:
        client_engine = runtime.engine
        client.enqueue([row("banatie", custom_id="first")], batch="before")
        assert finish(client, runtime, batch="before") == {"succeeded": 1}
        lose(simulated, LOST_BEFORE)
        client.enqueue([row("banatie", custom_id="lost")], batch="b", on_unknown="resend")
        until_lost(client, runtime, 1)
        client.enqueue([row("banatie", custom_id="after")], batch="after")
        assert finish(client, runtime, batch="after") == {"succeeded": 1}
        drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert waited == [True]


def _kept_unverified(engine: Engine) -> UUID:
    """A failed job whose only picture lies in the bucket as it came, incomplete."""
    claim = rows.transferring(engine)
    kept = rows.bytes_of(engine, claim.job_id, 0, "unverified/cut")
    with transaction(engine) as connection:
        stored_images.keep(connection, kept)
        connection.execute(text("UPDATE image SET state = 'failed', error_code = 'result_unverified'"))
        step = Move(claim, JobState.TRANSFERRING, JobState.FAILED, code="result_unverified", note="cut short")
        assert move(connection, [step], actor="a-worker")
    return claim.job_id


def test_the_whole_picture_that_comes_after_a_person_accepted_the_incomplete_one_is_kept_beside_it(
    engine: Engine, client: Client
) -> None:
    job = _kept_unverified(engine)
    whole = rows.bytes_of(engine, job, 0, "whole")
    assert client.accept(client.unverified(job=job)).succeeded == 1
    for _ in range(2):  # a worker repeats what it does not know to be committed
        rows.store(engine, whole)
    assert [(r.key, r.state) for r in rows.rows(engine, "SELECT key, state FROM image ORDER BY index")] == [
        ("unverified/cut", "stored"),
        ("whole", "stored"),
    ]
    assert rows.job(engine, job).state == JobState.SUCCEEDED


@pytest.mark.parametrize("code", [None, "batch_cap_reached"])
def test_no_deadline_passes_of_a_job_that_came_into_a_held_batch_or_was_on_hold_for_its_cap(
    code: str | None, engine: Engine, client: Client
) -> None:
    rows.add(engine, [rows.new_job("first")])
    client.hold("b")
    rows.add(engine, [rows.new_job("later")], deadline=0)
    rows.rows(
        engine,
        "UPDATE job SET on_hold = CAST(:code AS text) IS NOT NULL, error_code = :code WHERE custom_id = 'later'",
        code=code,
    )
    with transaction(engine) as connection:
        end_overdue(connection, "a-worker")
    assert client.totals("b") == {"on_hold": 2}
    assert client.release("b") == 2
    assert len(rows.open_intents(engine, rows.claim(engine, count=2))) == 2
