"""`genqueue bill --verify`: each figure that a provider gives is compared with the ledger, and what is off is said."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import httpx
import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.payments.drift import FigureVerdict
from shared.db.read import verifying
from shared.db.read.verifying import judge
from tests.support import rows
from tests.support.canned_wire import Canned, reply, wire
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.lost import MODEL, fast_simulator, finish, lose, opened, row
from tests.support.usage import survey
from worker import event_loop
from worker.runtime import Runtime

BILLED: Final = ("bloom", "getimg", "openrouter", "posteverywhere")
TODAY: Final = datetime.now(UTC).date()


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated) as made:
        yield made


def verify(url: str, *arguments: str) -> Ran:
    return genqueue("bill", "--verify", *arguments, env={"GENQUEUE_DATABASE_URL": url, "COLUMNS": "80"})


def told(url: str) -> dict[tuple[str, str], Any]:
    lines = map(json.loads, verify(url, "--json").out.splitlines())
    return {(line["account"], line["figure"].partition(" 2")[0]): line for line in lines}


def surveyed(client: Client, runtime: Runtime) -> None:
    drain(runtime, lambda: len(client.accounts()) == 5)
    for name in BILLED:
        survey(runtime, name)


def buy_as_a_stranger(simulated: Simulator) -> None:
    body = {"prompt": "somebody else's", "model": MODEL["getimg"]}
    url = f"{simulated.addresses()['getimg']}/v2/images/generations"
    httpx.post(url, json=body, headers={"authorization": "Bearer sim-test"}).raise_for_status()


def test_every_figure_of_every_provider_adds_up_after_purchases(
    client: Client, runtime: Runtime, database_url: str
) -> None:
    surveyed(client, runtime)
    client.enqueue([row(name, custom_id=name) for name in BILLED], batch="b")
    assert finish(client, runtime) == {"succeeded": 4}
    surveyed(client, runtime)
    found = told(database_url)
    assert {key for key in found if key[1] == "balance"} == {(name, "balance") for name in BILLED}
    assert {key for key in found if key[1] != "balance"} == {("getimg", "cost of"), ("openrouter", "usage of the key")}
    assert {line["difference"] for line in found.values()} == {"0"}
    assert Decimal(found["getimg", "cost of"]["stated"]) == Decimal("0.035")
    assert verify(database_url).code == 0


def test_what_a_stranger_bought_does_not_add_up_and_ends_with_3(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str
) -> None:
    surveyed(client, runtime)
    client.enqueue([row("getimg")], batch="b")
    assert finish(client, runtime) == {"succeeded": 1}
    buy_as_a_stranger(simulated)
    surveyed(client, runtime)
    ran = verify(database_url)
    assert ran.code == 3
    assert " ".join(ran.out.split()).count("DOES NOT ADD UP: the provider took 0.035 more than is booked") == 2
    assert max(map(len, ran.out.splitlines())) <= 80
    assert len([line for line in ran.out.splitlines() if line.startswith("getimg ") and line.endswith(" NO")]) == 2


def test_a_charged_call_that_is_held_explains_its_cost(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str
) -> None:
    surveyed(client, runtime)
    lose(simulated)
    client.enqueue([row("getimg")], batch="b")
    drain(runtime, lambda: client.totals("b") == {"in_doubt": 1})
    surveyed(client, runtime)
    line = told(database_url)["getimg", "cost of"]
    assert (line["held"], line["difference"], line["adds_up"]) == ("0.035", "0.035", True)
    assert verify(database_url).code == 0


def test_what_a_day_had_cost_before_our_first_call_is_not_ours(
    client: Client, runtime: Runtime, simulated: Simulator, database_url: str
) -> None:
    buy_as_a_stranger(simulated)
    surveyed(client, runtime)
    client.enqueue([row("getimg")], batch="b")
    assert finish(client, runtime) == {"succeeded": 1}
    surveyed(client, runtime)
    assert told(database_url)["getimg", "cost of"]["difference"] == "0"


def test_a_day_of_which_a_call_has_no_price_or_another_key_is_open(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    surveyed(client, runtime)
    client.enqueue([row("getimg")], batch="b")
    assert finish(client, runtime) == {"succeeded": 1}
    surveyed(client, runtime)
    for change in (
        "UPDATE submission SET key_id = 'other'",
        "UPDATE submission SET settled = NULL, key_id = (SELECT min(key_id) FROM cost_reading)",
    ):
        rows.rows(engine, change)
        with transaction(engine) as connection:
            (day,) = [one for one in verifying.figures(connection) if one.figure.startswith("cost of")]
        assert day.verdict is FigureVerdict.OPEN


def test_a_batch_has_no_figures_of_a_provider(client: Client, runtime: Runtime, database_url: str) -> None:
    surveyed(client, runtime)
    assert verify(database_url, "b").code == 2
    assert "leave out the batch" in verify(database_url, "b").err


def test_without_a_reading_it_says_so(database_url: str) -> None:
    assert "no worker has read a figure yet" in verify(database_url).out


@pytest.mark.parametrize(
    ("difference", "less", "more", "is_open", "verdict"),
    [
        (0, 0, 0, False, FigureVerdict.EXACT),
        ("0.0000001", 0, 0, False, FigureVerdict.EXACT),
        ("0.04", 0, "0.04", False, FigureVerdict.EXPLAINED),
        ("0.05", 0, "0.04", False, FigureVerdict.MORE),
        ("-0.04", "0.04", 0, False, FigureVerdict.EXPLAINED),
        ("-0.05", "0.04", 1, False, FigureVerdict.LESS),
        (0, 0, 0, True, FigureVerdict.OPEN),
        (99, 0, 0, True, FigureVerdict.OPEN),
    ],
)
def test_a_figure_adds_up_within_what_may_stand_on_either_side(
    difference: Any, less: Any, more: Any, *, is_open: bool, verdict: FigureVerdict
) -> None:
    assert judge(Decimal(difference), less=Decimal(less), more=Decimal(more), is_open=is_open) is verdict


@pytest.mark.parametrize(
    ("answer", "costs"),
    [
        ({"data": [{"date": TODAY.isoformat(), "cost": 0.07}]}, {TODAY: Decimal("0.07")}),
        ({"data": [{"date": f"{TODAY}T00:00:00Z", "cost": "0.07"}]}, {TODAY: Decimal("0.07")}),
        ({"data": [{"date": TODAY.isoformat(), "cost": -1}, {"date": "soon", "cost": 1}, 7, None]}, {}),
        ({"data": [{"date": (TODAY - timedelta(days=5000)).isoformat(), "cost": 1}]}, {}),
        ({"data": [{"date": "9999-12-31", "cost": 1}]}, {}),
        ({"data": [{"date": TODAY.isoformat(), "cost": float("inf")}]}, {}),
    ],
)
def test_days_that_cannot_be_read_or_were_not_asked_for_are_left_out(answer: Any, costs: Any) -> None:
    asked = Canned(reply(200, answer))
    found = event_loop.run(wire("getimg", asked).costs, TODAY - timedelta(days=1), datetime.now(UTC))
    assert found == costs
    ((path, span),) = asked.asked
    assert path == "/v2/billing/costs"
    assert span["start"] == f"{TODAY - timedelta(days=1)}T00:00:00+00:00"
