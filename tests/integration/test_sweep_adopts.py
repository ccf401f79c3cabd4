"""The sweep: a picture that carries the reference of one of our calls is collected, whatever was believed of it."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from ops.simulator import BanatieSettings, Simulator, SimulatorConfig
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.payments.submissions import Answer, record
from shared.lifecycle import Outcome, Stage
from tests.support import rows
from tests.support.drain import drain
from tests.support.lost import (
    BY_HAND,
    adopted,
    bought,
    finish,
    ledger_is_the_bill,
    lose,
    make_by_hand,
    names,
    row,
)
from tests.support.outcome import only, paid
from tests.support.sweeping import hasty_runtime, search_now, unowned, until_found
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.runtime import Runtime

STRANGER = "0b9b0f0e-7e68-4f07-9a3f-3f1f0f1f0f1f"


@pytest.fixture(params=[False, True], ids=["bare-lists", "lists-with-meta"])
def simulated(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    banatie = BanatieSettings(requests_per_hour=None, list_meta=request.param)
    with Simulator(SimulatorConfig(time_scale=200, pixels=64, banatie=banatie)).serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with hasty_runtime(database_url, endpoints, simulated) as made:
        yield made


def no_look_up(parcel: Parcel) -> None:
    if parcel.stage is Stage.RECONCILE:
        raise LookupError


@pytest.fixture
def lost(client: Client, runtime: Runtime, simulated: Simulator) -> UUID:
    """One job in doubt that nobody looks up, bought although its answer was lost."""
    lose(simulated)
    client.enqueue([row("banatie", custom_id="a")], batch="b")
    drain(runtime, lambda: client.totals("b") == {"checking": 1}, seen=no_look_up)
    until(lambda: paid(simulated) == 1)
    return client.find_job("a")


def search_until_adopted(runtime: Runtime, engine: Engine) -> None:
    def look() -> bool:
        search_now(runtime, engine, "banatie")
        return bool(adopted(engine))

    until(look)


def make_with_reference(simulated: Simulator, reference: str) -> str:
    path, body = BY_HAND["banatie"]
    before = len(simulated.bill()["lines"])
    meta = {"genqueue_submission": reference}
    headers = {"x-api-key": "sim-test"}
    url = simulated.addresses()["banatie"] + path
    httpx.post(url, json={**body, "meta": meta}, headers=headers).raise_for_status()
    (line,) = simulated.bill()["lines"][before:]
    return names(line)[0]


def test_what_a_lost_call_bought_is_collected_by_its_reference(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, lost: UUID
) -> None:
    search_until_adopted(runtime, engine)
    assert finish(client, runtime) == {"succeeded": 1}
    assert adopted(engine) == bought(simulated)
    assert ledger_is_the_bill(client, simulated, "banatie")
    assert unowned(client) == []
    assert client.find_job("a") == lost


def test_what_was_given_up_by_hand_is_collected_when_its_picture_turns_up(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, lost: UUID
) -> None:
    client.resolve(lost, resend=False)
    assert client.totals("b") == {"failed": 1}
    search_until_adopted(runtime, engine)
    assert finish(client, runtime) == {"succeeded": 1}
    assert paid(simulated) == 1


def test_what_was_sent_again_because_a_list_lagged_keeps_both_pictures(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, lost: UUID
) -> None:
    (first,) = only(client)["submissions"]
    not_bought = Answer(Outcome.REJECTED, error_code="not_bought", error="the list lagged", inferred=True)
    with transaction(engine) as connection:
        assert record(connection, first["id"], not_bought)
    rows.rows(engine, "UPDATE job SET due_at = now(), claimed_by = NULL")
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert paid(simulated) == 2
    search_until_both(runtime, engine)
    assert adopted(engine) == bought(simulated)
    assert [stray["note"] for stray in client.unowned()] == [
        f"bought by an earlier attempt of job {lost}, which has its images already"
    ]


def search_until_both(runtime: Runtime, engine: Engine) -> None:
    def look() -> bool:
        search_now(runtime, engine, "banatie")
        return len(adopted(engine)) == 2

    until(look)


def behind_others(client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, others: int) -> None:
    """Give up a lost call whose picture lies behind those that somebody else made, and let all be quiet."""
    client.enqueue([row("banatie")], batch="before")
    assert finish(client, runtime, batch="before") == {"succeeded": 1}
    for _ in range(others):
        make_by_hand(simulated, "banatie")
    before = paid(simulated)
    lose(simulated)
    client.enqueue([row("banatie", custom_id="a")], batch="b")
    drain(runtime, lambda: client.totals("b") == {"checking": 1}, seen=no_look_up)
    until(lambda: paid(simulated) == before + 1)
    client.resolve(client.find_job("a"), resend=False)
    loud = "SELECT 1 FROM submission WHERE opened_at > clock_timestamp() - interval '3 seconds'"
    until(lambda: not rows.rows(engine, loud))


def outcome(engine: Engine) -> Any:
    found = "SELECT s.outcome FROM submission s JOIN job ON job.id = s.job_id WHERE job.custom_id = 'a'"
    return rows.rows(engine, found)[0].outcome


def test_a_picture_behind_more_than_one_search_looks_at_is_collected_in_the_end(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    behind_others(client, runtime, simulated, engine, 21)
    for _ in range(2):
        search_now(runtime, engine, "banatie")
    assert outcome(engine) == "accepted"
    assert len(unowned(client)) == 21


def test_a_search_that_its_windows_break_off_gets_on_all_the_same(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    behind_others(client, runtime, simulated, engine, 9)
    narrow = '[{"requests": 8, "seconds": 3600, "scope": "all"}]'
    rows.rows(engine, "UPDATE account SET windows = CAST(:narrow AS jsonb) WHERE name = 'banatie'", narrow=narrow)
    for _ in range(2):
        rows.rows(engine, "DELETE FROM request_slot")
        search_now(runtime, engine, "banatie")
    assert outcome(engine) == "accepted"


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        ("not an id", "no submission owns it"),
        (STRANGER, f"carries the reference of submission {STRANGER}"),
    ],
)
def test_a_picture_with_a_reference_that_is_none_of_ours_is_a_stray(
    reference: str, note: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([row("banatie")], batch="b")
    assert finish(client, runtime) == {"succeeded": 1}
    foreign = make_with_reference(simulated, reference)
    assert until_found(runtime, engine, client, "banatie") == [foreign]
    assert client.unowned()[0]["note"] == note


def test_a_call_that_the_provider_itself_refused_owns_nothing(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults(
        [{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": 400, "code": "VALIDATION_ERROR"}}]
    )
    client.enqueue([row("banatie")], batch="b")
    assert finish(client, runtime) == {"failed": 1}
    (refused,) = only(client)["submissions"]
    foreign = make_with_reference(simulated, str(refused["id"]))
    assert until_found(runtime, engine, client, "banatie") == [foreign]
    assert client.totals("b") == {"failed": 1}
