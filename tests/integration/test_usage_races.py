"""OpenRouter's lost calls while something else happens at the worst moment: none that may be charged is sent again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.listening import Listener
from shared.db.lost_calls import usage
from shared.db.payments.intents import Intent, Sender
from shared.db.payments.submissions import Answer, follow_late, record
from shared.lifecycle import Outcome, Stage
from tests.support import rows
from tests.support.drain import drain, run_stage
from tests.support.lost import buy_later, finish, look_up, lose, opened, row, until_lost
from tests.support.outcome import paid, paid_posts
from tests.support.tcp_proxy import TcpProxy
from tests.support.usage import QUICK, billing, survey
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.providers import Wire
from worker.providers.contract import Refused, UsageWire, Used
from worker.runtime import Runtime

NAME: Final = "openrouter"
FROZEN: Final = Sender("frozen", 987_654_321)


@pytest.fixture(params=["accepted"])
def simulated(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with billing(request.param).serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated, openrouter=QUICK) as made:
        yield made


@pytest.fixture
def known(client: Client, runtime: Runtime) -> None:
    """The account has bought once, and its usage was read."""
    client.enqueue([row(NAME)], batch="before")
    assert finish(client, runtime, batch="before") == {"succeeded": 1}
    survey(runtime, NAME)


def lose_one(client: Client, runtime: Runtime, simulated: Simulator, fault: Any = "reply_lost") -> None:
    lose(simulated, fault)
    client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)


class Interrupted:
    """A wire at which something happens between the answer to a question about usage and its record."""

    def __init__(self, wire: Wire, meanwhile: Callable[[], Any]) -> None:
        self._wire, self._meanwhile = cast("UsageWire", wire), meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    async def used(self) -> Used | Refused:
        figure = await self._wire.used()
        await anyio.to_thread.run_sync(self._meanwhile)
        return figure


def interrupt(runtime: Runtime, meanwhile: Callable[[], Any]) -> None:
    account = runtime.accounts[NAME]
    runtime.accounts[NAME] = replace(account, wire=cast("Wire", Interrupted(account.wire, meanwhile)))


@pytest.mark.usefixtures("known")
def test_a_figure_is_as_old_as_its_question_however_late_it_is_recorded(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, database_url: str, endpoints: Endpoints
) -> None:
    """Another worker buys before the figure is recorded: that cost is not in it, and explains nothing."""
    lose_one(client, runtime, simulated)

    def buy() -> None:
        with opened(database_url, endpoints, simulated, openrouter=QUICK) as other:
            client.enqueue([row(NAME)], batch="other")
            assert finish(client, other, batch="other") == {"succeeded": 1}
        late = "SELECT 1 FROM submission WHERE answered_at > clock_timestamp() - interval '1 second'"
        until(lambda: not rows.rows(engine, late))

    interrupt(runtime, buy)
    look_up(runtime, engine, NAME)
    assert "queued" not in client.totals("b")
    assert paid_posts(simulated) == 3


@pytest.mark.usefixtures("known")
def test_a_call_is_judged_by_the_figure_of_its_own_look(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """Somebody else's older figure is recorded after it, and would hide the charge."""
    asked_at = rows.rows(engine, "SELECT clock_timestamp() AS at")[0].at
    (before,) = rows.rows(engine, "SELECT used, key_id FROM usage_reading")
    lose_one(client, runtime, simulated)

    def record_older() -> None:
        with transaction(engine) as connection:
            usage.record(connection, NAME, before.used, key_id=before.key_id, asked_at=asked_at)

    interrupt(runtime, record_older)
    look_up(runtime, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}


def test_the_figure_of_another_key_proves_nothing(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, database_url: str, endpoints: Endpoints
) -> None:
    """The key is changed while a call is lost, and the new one has used up nothing either."""
    client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown="resend")
    lose(simulated)
    survey(runtime, NAME)
    until_lost(client, runtime, 1)
    with opened(database_url, endpoints, simulated, openrouter={**QUICK, "api_key": "sim-other"}) as rotated:
        survey(rotated, NAME)
        look_up(rotated, engine, NAME)
    assert client.totals("b") == {"in_doubt": 1}
    assert paid(simulated) == 1


@pytest.fixture
def frozen(client: Client, engine: Engine, known: None) -> Intent:
    """A call whose sender has been silent for longer than its lease."""
    assert known is None
    client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown="resend")
    (intent,) = rows.open_intents(
        engine, rows.claim(engine, account=NAME), account=NAME, sender=FROZEN, lease=0, quiet=0.01
    )
    rows.rows(engine, "UPDATE submission SET key_id = (SELECT key_id FROM usage_reading LIMIT 1) WHERE outcome IS NULL")
    return intent


def reconcile(engine: Engine, runtime: Runtime) -> None:
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE state IN ('submitting', 'in_doubt')")
    claims = rows.claim(engine, "reconcile", account=NAME)
    run_stage(runtime, Parcel(Stage.RECONCILE, NAME, tuple(claims)))


def asked(simulated: Simulator) -> int:
    return len(simulated.requests(route="key", limit=1000))


def quiet_in(engine: Engine) -> float:
    found = "SELECT extract(epoch FROM visible_by - clock_timestamp()) AS s FROM submission WHERE outcome = 'unknown'"
    return float(rows.rows(engine, found)[0].s)


def test_usage_is_asked_only_once_the_sender_is_gone_and_whatever_it_still_received_would_show(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, frozen: Intent
) -> None:
    before = asked(simulated)
    alive = Listener(engine, FROZEN.lock_key)
    try:
        reconcile(engine, runtime)
        reconcile(engine, runtime)
        assert client.totals("b") == {"in_doubt": 1}
        assert "still runs" in str(client.story(frozen.claim.job_id)["job"]["error"])
    finally:
        alive.close()

    def noticed() -> bool:
        reconcile(engine, runtime)
        return quiet_in(engine) > 0

    until(noticed)
    assert asked(simulated) == before
    look_up(runtime, engine, NAME)
    assert asked(simulated) == before + 1
    buy_later(client, runtime, NAME)
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})


def test_a_sender_that_comes_back_and_says_that_its_call_is_over_begins_the_quiet_time_anew(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, frozen: Intent
) -> None:
    alive = Listener(engine, FROZEN.lock_key)
    try:
        reconcile(engine, runtime)
        over = Answer(
            Outcome.UNKNOWN, error_code="answer_lost", error="cut", quiet_seconds=300, charged_on_arrival=True
        )
        with transaction(engine) as connection:
            assert record(connection, frozen.submission_id, over)
            follow_late(connection, frozen.claim.job_id, frozen.submission_id, actor=FROZEN.name)
    finally:
        alive.close()
    before = asked(simulated)
    reconcile(engine, runtime)
    assert client.totals("b") == {"checking": 1}
    assert asked(simulated) == before
    assert quiet_in(engine) > 290


@pytest.mark.parametrize("simulated", ["completed"], indirect=True)
def test_a_call_that_is_cut_early_and_made_and_billed_all_the_same_is_held(
    client: Client, simulated: Simulator, engine: Engine, database_url: str, endpoints: Endpoints
) -> None:
    port = urlsplit(simulated.url).port
    assert port is not None
    with TcpProxy(port).serve() as proxy:
        url = simulated.addresses()[NAME].replace(simulated.url, proxy.url)
        with opened(database_url, endpoints, simulated, openrouter={**QUICK, "base_url": url}) as runtime:
            client.enqueue([row(NAME)], batch="before")
            assert finish(client, runtime, batch="before") == {"succeeded": 1}
            survey(runtime, NAME)
            client.enqueue([row(NAME, custom_id="a")], batch="b", on_unknown="resend")
            drain(runtime, lambda: cut_in_the_air(simulated, proxy) and client.totals("b") == {"checking": 1})
            assert paid(simulated) == 1
            look_up(runtime, engine, NAME)
            assert client.totals("b") == {"in_doubt": 1}
    assert paid_posts(simulated) == paid(simulated) == 2


def cut_in_the_air(simulated: Simulator, proxy: TcpProxy) -> bool:
    """Cut every connection while a call is being answered; True once none is any more on our side."""
    account = simulated.world.accounts.find(NAME, "sim-test")
    assert account is not None
    return not account.held or proxy.cut() == 0
