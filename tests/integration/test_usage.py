"""OpenRouter's lost calls: its usage figure proves that nothing was charged, or the call is held, whatever happened."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import drain
from tests.support.lost import (
    LOST_BEFORE,
    buy_later,
    charged,
    finish,
    look_up,
    lose,
    make_by_hand,
    opened,
    row,
    until_lost,
)
from tests.support.outcome import only, paid, paid_posts
from tests.support.usage import QUICK, billing, survey
from tests.support.waiting import until
from worker.runtime import Runtime

NAME: Final = "openrouter"
NOTHING: Final = "shows later calls of ours, and no other charge"
BROKEN_OFF: Final = "truncate"


@pytest.fixture(params=["delivered"])
def simulated(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with billing(request.param).serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated, openrouter=QUICK) as made:
        yield made


bills_all = pytest.mark.parametrize("simulated", ["accepted"], indirect=True)


def known(client: Client, runtime: Runtime) -> None:
    """Bring the account into the database, with one purchase in its past, and read its usage before and after that."""
    drain(runtime, lambda: bool(client.accounts()))
    survey(runtime, NAME)
    client.enqueue([row(NAME)], batch="before")
    assert finish(client, runtime, batch="before") == {"succeeded": 1}
    until_shown(runtime, runtime.engine)
    survey(runtime, NAME)


def lose_one(client: Client, runtime: Runtime, simulated: Simulator, fault: Any, on_unknown: Any = "resend") -> None:
    known(client, runtime)
    lose(simulated, fault)
    client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown=on_unknown)
    until_lost(client, runtime, 1)
    buy_later(client, runtime, NAME)


def until_shown(runtime: Runtime, engine: Engine) -> None:
    """Wait until the key's figure holds what the purchases so far cost."""
    shown = "SELECT bool_and(answered_at < clock_timestamp() - :lag * interval '1 second') AS all FROM submission"
    lag = runtime.accounts[NAME].quiet_seconds
    until(lambda: rows.rows(engine, f"{shown} WHERE outcome = 'accepted'", lag=lag)[0].all)


def reason(client: Client) -> str:
    return str(only(client)["job"]["error"])


@pytest.mark.parametrize("fault", [LOST_BEFORE, BROKEN_OFF])
def test_a_call_that_was_not_charged_is_sent_again_and_charged_once(
    fault: Any, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, fault)
    two = charged(simulated, NAME)
    look_up(runtime, engine, NAME)
    assert finish(client, runtime) == {"succeeded": 1}
    assert paid_posts(simulated) == 4
    assert charged(simulated, NAME) == two / 2 * 3
    assert sum(line["settled"] for line in client.bill()) == two / 2 * 3


def test_a_figure_that_shows_no_later_charge_of_ours_may_be_frozen_and_proves_nothing(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    known(client, runtime)
    lose(simulated, LOST_BEFORE)
    client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "proves nothing" in reason(client)
    buy_later(client, runtime, NAME)
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert paid_posts(simulated) == 4


def test_under_hold_the_reason_says_that_nothing_was_charged(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF, "hold")
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert NOTHING in reason(client)
    assert paid_posts(simulated) == 3


@bills_all
@pytest.mark.parametrize("fault", ["reply_lost", BROKEN_OFF])
def test_a_call_that_was_charged_is_held_with_what_the_figure_shows(
    fault: Any, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, fault)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "used up more than the calls whose cost is known" in reason(client)
    assert paid_posts(simulated) == paid(simulated) == 3


def test_without_a_reading_from_before_the_call_it_is_held(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    rows.rows(engine, "DELETE FROM usage_reading")
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "was not read" in reason(client)


def test_what_somebody_else_bought_with_the_key_holds_the_call(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    make_by_hand(simulated, NAME)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert paid_posts(simulated) == 4


@bills_all
def test_a_persons_figure_explains_no_growth(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """Of two lost calls one was charged; a person who settles the wrong one must not have the other sent again."""
    known(client, runtime)
    lose(simulated, LOST_BEFORE)
    client.enqueue([row(NAME, custom_id="free")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    lose(simulated, "reply_lost")
    client.enqueue([row(NAME, custom_id="charged")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 2)
    client.resolve(client.find_job("free"), resend=False, charged=charged(simulated, NAME) / 2)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"failed": 1, "in_doubt": 1}
    assert paid_posts(simulated) == 3


def test_while_another_call_is_under_way_it_is_looked_at_again_later(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    client.enqueue([row(NAME, custom_id="busy")], batch="busy")
    rows.rows(engine, "UPDATE account SET not_before = NULL")  # the loss slowed it down for a moment
    (claim,) = rows.claim(engine, account=NAME)
    assert rows.open_intents(engine, [claim], account=NAME)
    rows.rows(engine, "UPDATE submission SET key_id = :key WHERE key_id IS NULL", key=runtime.accounts[NAME].key_id)
    make_by_hand(simulated, NAME)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"checking": 1}
    (job,) = rows.rows(engine, "SELECT due_at > now() AS later, on_hold FROM job WHERE custom_id = 'a'")
    assert (job.later, job.on_hold) == (True, False)


@pytest.mark.parametrize(
    "fault", ["html_body", {"kind": "error_5xx", "status": 401}, {"kind": "429", "retry_after": 80_000}]
)
def test_a_figure_that_cannot_be_read_for_an_hour_holds_the_call_and_is_asked_for_all_the_same(
    fault: Any, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    simulated.put_faults([{"match": {"route": "key"}, "fault": fault, "times": 1}])
    rows.rows(engine, "UPDATE submission SET visible_by = now() - interval '2 hours' WHERE outcome = 'unknown'")
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "cannot be asked" in reason(client)
    until_shown(runtime, engine)
    look_up(runtime, engine, NAME)
    assert finish(client, runtime) == {"succeeded": 1}


def test_a_wait_of_a_day_that_a_server_asks_for_puts_a_look_off_for_a_quarter_of_an_hour(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    simulated.put_faults([{"match": {"route": "key"}, "fault": {"kind": "429", "retry_after": 80_000}}])
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"checking": 1}
    (job,) = rows.rows(engine, "SELECT due_at - now() AS wait FROM job WHERE custom_id = 'a'")
    assert timedelta(minutes=14) < job.wait <= timedelta(minutes=15)


def test_a_figure_that_cannot_be_read_is_asked_for_again(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    simulated.put_faults([{"match": {"route": "key"}, "fault": "html_body"}])
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"checking": 1}
    look_up(runtime, engine, NAME)
    assert finish(client, runtime) == {"succeeded": 1}


def test_a_figure_is_not_believed_before_it_agreed_with_stated_costs_over_a_span_of_known_calls(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose_one(client, runtime, simulated, BROKEN_OFF)
    rows.rows(engine, "DELETE FROM usage_reading WHERE id = (SELECT min(id) FROM usage_reading)")
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "not known yet that its provider charges what it states" in reason(client)
    buy_later(client, runtime, NAME, batch="next")
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert paid_posts(simulated) == 5


@bills_all
@pytest.mark.parametrize("tried", [True, False])
def test_the_charge_of_a_lost_call_that_a_stated_surplus_covers_is_not_taken_for_none(
    tried: bool,  # noqa: FBT001
    client: Client,
    runtime: Runtime,
    simulated: Simulator,
    engine: Engine,
) -> None:
    """It states twice what it charges: the surplus of the later call is exactly what the lost one cost."""
    simulated.put_settings({NAME: {"cost_factor": "2"}})
    lose_one(client, runtime, simulated, "reply_lost")
    if not tried:
        rows.rows(engine, "DELETE FROM usage_reading WHERE id = (SELECT min(id) FROM usage_reading)")
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert ("may hide in such a surplus" if tried else "not known yet") in reason(client)
    buy_later(client, runtime, NAME, batch="next")
    until_shown(runtime, engine)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert "proves nothing" in reason(client)
    assert paid_posts(simulated) == 4
