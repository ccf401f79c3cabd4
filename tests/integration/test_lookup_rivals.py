"""Look-ups of calls that have rivals: a picture that others may have a claim to is adopted by nobody, or once."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import Stage
from tests.support import rows
from tests.support.drain import drain, run_stage
from tests.support.five import five_accounts
from tests.support.lost import (
    LOST_BEFORE,
    adopted,
    as_if_sent_a_minute_ago,
    bought,
    buy_later,
    charged,
    doubts_of,
    fast_simulator,
    finish,
    held_within_the_bill,
    ledger_is_the_bill,
    look_up,
    lose,
    make_by_hand,
    money,
    opened,
    row,
    until_lost,
)
from tests.support.outcome import ends, paid, paid_posts
from worker.claiming import Parcel
from worker.runtime import Runtime


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated) as made:
        yield made


def test_calls_of_one_prompt_that_asked_for_different_shapes_are_held_and_nothing_is_guessed(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, times=2)
    client.enqueue([row("bloom", aspect_ratio=ratio) for ratio in ("16:9", "1:1")], batch="b", on_unknown="resend")
    assert finish(client, runtime) == {"in_doubt": 2}
    assert paid(simulated) == paid_posts(simulated) == 2
    assert not adopted(engine)
    assert held_within_the_bill(client, simulated, "bloom")
    assert {"different things" in job["error"] for job in client.jobs("b")} == {True}


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere"])
def test_a_picture_that_somebody_made_by_hand_meanwhile_leaves_the_call_to_a_person(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    make_by_hand(simulated, provider)
    lose(simulated)
    client.enqueue([row(provider)], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    as_if_sent_a_minute_ago(engine)
    look_up(runtime, engine, provider)
    assert client.totals("b") == {"in_doubt": 1}
    assert not adopted(engine)
    assert paid(simulated) == paid_posts(simulated) == 2
    settled, reserved, held = money(client)
    assert (settled, reserved, 2 * held) == (0, 0, charged(simulated, provider))


@pytest.mark.parametrize("provider", ["bloom", "posteverywhere"])
def test_a_picture_made_by_hand_once_the_call_was_over_is_not_taken_for_its_own(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated)
    client.enqueue([row(provider)], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    claims = doubts_of(engine, provider)
    simulated.put_settings({provider: {"clock_seconds": 30}})  # half a minute later
    foreign = make_by_hand(simulated, provider)
    run_stage(runtime, Parcel(Stage.RECONCILE, provider, tuple(claims)))
    assert finish(client, runtime) == {"succeeded": 1}
    assert adopted(engine) == bought(simulated) - Counter([foreign])


def test_a_picture_made_by_hand_is_no_matter_where_ours_carries_our_reference(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row("banatie")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    foreign = make_by_hand(simulated, "banatie", prompt="a tram in the fog")
    buy_later(client, runtime, "banatie")
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert foreign not in adopted(engine)
    assert paid(simulated) == 3


def test_a_picture_of_the_calls_time_and_very_words_that_lacks_our_reference_leaves_the_call_to_a_person(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """Banatie may have dropped the reference of this one row: then the call was bought."""
    lose(simulated, LOST_BEFORE)
    client.enqueue([row("banatie")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    make_by_hand(simulated, "banatie")
    buy_later(client, runtime, "banatie")
    look_up(runtime, engine, "banatie")
    assert finish(client, runtime) == {"in_doubt": 1}
    assert "may be this call's" in client.jobs("b")[0]["error"]
    assert paid_posts(simulated) == 3


def test_two_reconcilers_at_once_adopt_nothing_twice(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, times=6)
    client.enqueue([row("bloom", custom_id=f"c{number}") for number in range(6)], batch="b")
    until_lost(client, runtime, 6)
    claims = doubts_of(engine, "bloom")
    parcels = [Parcel(Stage.RECONCILE, "bloom", (claim,)) for claim in claims]
    run_stage(runtime, *parcels, *parcels, Parcel(Stage.RECONCILE, "bloom", tuple(claims)))
    assert rows.states(engine) == {"pending": 6}
    assert adopted(engine) == bought(simulated)
    assert finish(client, runtime) == {"succeeded": 6}
    assert ledger_is_the_bill(client, simulated, "bloom")


def test_a_call_still_in_the_air_is_waited_for_before_its_twin_is_judged(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated)
    client.enqueue([row("bloom")], batch="b")
    until_lost(client, runtime, 1)
    claims = doubts_of(engine, "bloom")
    fingerprint = rows.rows(engine, "SELECT fingerprint FROM job")[0].fingerprint
    client.enqueue([row("bloom", custom_id="twin")], batch="twin")
    assert rows.open_intents(engine, rows.claim(engine))
    as_if_sent_a_minute_ago(engine)
    assert {job.fingerprint for job in rows.rows(engine, "SELECT fingerprint FROM job")} == {fingerprint}
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(claims)))
    assert client.totals("b") == {"checking": 1}
    assert not adopted(engine)


def test_while_its_sender_still_runs_a_call_that_bought_nothing_is_held_and_not_sent_again(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row("bloom")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    buy_later(client, runtime, "bloom")
    rows.rows(engine, "UPDATE submission SET error_code = 'sender_lost', sender_lock = 4711 WHERE outcome = 'unknown'")
    with engine.connect() as sender:
        sender.execute(text("SELECT pg_advisory_lock(4711)"))
        look_up(runtime, engine, "bloom")
        told = len(rows.rows(engine, "SELECT 1 FROM job_event"))
        look_up(runtime, engine, "bloom")
        assert client.totals("b") == {"in_doubt": 1}
        assert "still runs" in client.jobs("b")[0]["error"]
        assert len(rows.rows(engine, "SELECT 1 FROM job_event")) == told
        assert paid_posts(simulated) == 2
        sender.execute(text("SELECT pg_advisory_unlock(4711)"))
    look_up(runtime, engine, "bloom")
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert (paid(simulated), paid_posts(simulated)) == (2, 3)


def test_a_twin_that_a_person_settled_as_charged_still_has_its_picture(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """One of two equal calls was bought and written off by hand: the other must not take its picture and settle too."""
    lose(simulated)
    client.enqueue([row("bloom", custom_id="bought")], batch="b")
    until_lost(client, runtime, 1)
    lose(simulated, LOST_BEFORE)
    client.enqueue([row("bloom", custom_id="not")], batch="b")
    until_lost(client, runtime, 2)
    as_if_sent_a_minute_ago(engine)
    client.resolve(client.find_job("b/bought"), resend=False, charged=charged(simulated, "bloom"))
    look_up(runtime, engine, "bloom")
    assert ends(client)["not"][0] == "in_doubt"
    assert held_within_the_bill(client, simulated, "bloom")


def test_a_call_that_misses_one_picture_takes_none_of_the_pair_that_its_twin_bought(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row("bloom", n=2, custom_id="half")], batch="b")
    until_lost(client, runtime, 1)
    half = client.find_job("b/half")
    rows.rows(
        engine,
        "INSERT INTO image (job_id, index, submission_id, account, state) "
        "SELECT job_id, 0, id, account, 'upstream_only' FROM submission WHERE job_id = :id",
        id=half,
    )
    lose(simulated)
    client.enqueue([row("bloom", n=2, custom_id="pair")], batch="b")
    until_lost(client, runtime, 2)
    as_if_sent_a_minute_ago(engine)
    claims = [claim for claim in doubts_of(engine, "bloom") if claim.job_id == half]
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(claims)))
    assert not rows.rows(engine, "SELECT 1 FROM image WHERE job_id = :id AND index = 1", id=half)
    assert ends(client)["half"][0] == "in_doubt"


def test_a_second_account_with_the_same_key_keeps_what_it_bought(
    database_url: str, endpoints: Endpoints, simulated: Simulator, engine: Engine
) -> None:
    second = five_accounts(simulated.url)["bloom"]
    with (
        opened(database_url, endpoints, simulated, second=second) as runtime,
        Client(settings=runtime.settings) as client,
    ):
        drain(runtime, lambda: bool(client.accounts()))
        lose(simulated, LOST_BEFORE)
        client.enqueue([row("bloom", custom_id=f"c{number}") for number in range(2)], batch="b")
        until_lost(client, runtime, 1)
        as_if_sent_a_minute_ago(engine)
        for account in ("bloom", "second"):
            look_up(runtime, engine, account)
        assert set(adopted(engine).values()) == {1}
        assert paid(simulated) == 1
        assert sum(line["settled"] for line in client.bill("b")) <= charged(simulated, "bloom")
