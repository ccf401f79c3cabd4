"""Look-ups on the whole road: what a lost call bought is found again, or held, judged by the simulator's bill."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import drain
from tests.support.lost import (
    FINDABLE,
    LOST_BEFORE,
    adopted,
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
    money,
    opened,
    row,
    until_lost,
)
from tests.support.outcome import paid, paid_posts
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from worker.runtime import Runtime

NOT_BOUGHT: Final = "nothing was bought: the provider's list shows later purchases of ours, and none by this call"
LACKING: Final = "so that proves nothing"


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated) as made:
        yield made


@pytest.mark.parametrize("provider", FINDABLE)
@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
def test_what_a_lost_reply_bought_is_adopted_stored_and_charged_once(
    provider: str, on_unknown: Any, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lose(simulated)
    client.enqueue([row(provider)], batch="b", on_unknown=on_unknown)
    assert finish(client, runtime) == {"succeeded": 1}
    (image,) = client.results("b")
    assert image["state"] == "stored"
    stored = runtime.storage.head(image["key"])
    assert stored is not None
    assert stored.length == image["bytes"]
    assert paid(simulated) == paid_posts(simulated) == 1
    assert ledger_is_the_bill(client, simulated, provider)
    (submission,) = client.story(image["job_id"])["submissions"]
    assert (submission["outcome"], submission["inferred"]) == ("accepted", True)


def test_both_pictures_of_one_lost_call_are_adopted(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    lose(simulated)
    client.enqueue([row("bloom", n=2)], batch="b")
    assert finish(client, runtime) == {"succeeded": 1}
    assert [image["state"] for image in client.results("b")] == ["stored", "stored"]
    assert ledger_is_the_bill(client, simulated, "bloom")
    assert paid(simulated) == 1


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_call_that_bought_nothing_is_held_with_that_finding_unless_told_otherwise(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row(provider, custom_id="a")], batch="b")
    assert finish(client, runtime) == {"in_doubt": 1}
    (job,) = client.jobs("b")
    assert LACKING in job["error"]
    assert job["error_code"] == "answer_lost"
    buy_later(client, runtime, provider)
    drain(runtime, lambda: NOT_BOUGHT in client.jobs("b")[0]["error"])
    assert client.totals("b") == {"in_doubt": 1}
    assert client.jobs("b")[0]["error_code"] == "proved_unbought"
    assert (paid(simulated), paid_posts(simulated)) == (1, 2)
    settled, reserved, held = money(client)
    priced = provider != "banatie"
    assert (settled, reserved, held > 0) == (0, 0, priced)


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_call_that_bought_nothing_is_sent_again_where_its_batch_says_so(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row(provider)], batch="b", on_unknown="resend")
    assert finish(client, runtime) == {"in_doubt": 1}
    buy_later(client, runtime, provider)
    drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
    assert (paid(simulated), paid_posts(simulated)) == (2, 3)
    assert sum(line["settled"] for line in client.bill()) == charged(simulated, provider)
    first, second = client.story(client.jobs("b")[0]["id"])["submissions"]
    assert (first["outcome"], first["error_code"], first["inferred"]) == ("rejected", "not_bought", True)
    assert second["opened_at"] >= first["visible_by"]


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_request_that_the_network_held_back_until_its_call_was_over_is_not_sent_again(
    provider: str, client: Client, simulated: Simulator, engine: Engine, database_url: str, endpoints: Endpoints
) -> None:
    port = urlsplit(simulated.url).port
    assert port is not None
    with TcpProxy(port).serve() as network:
        url = simulated.addresses()[provider].replace(simulated.url, network.url)
        slow = {"base_url": url, "timeout_seconds": 0.5}
        with opened(database_url, endpoints, simulated, **{provider: slow}) as runtime:
            network.stall()
            client.enqueue([row(provider)], batch="b", on_unknown="resend")
            until_lost(client, runtime, 1)
            doubts_of(engine, provider)
            network.flow()
            until(lambda: paid(simulated) == 1)
            buy_later(client, runtime, provider)
            look_up(runtime, engine, provider)
            assert "queued" not in client.totals("b")
    assert paid_posts(simulated) == 2


@pytest.mark.parametrize("provider", FINDABLE)
def test_a_cancelled_call_that_bought_nothing_ends_and_gives_its_money_back(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, LOST_BEFORE)
    client.enqueue([row(provider)], batch="b")
    until_lost(client, runtime, 1)
    client.cancel(batch="b")
    buy_later(client, runtime, provider)
    drain(runtime, lambda: client.totals("b") == {"cancelled": 1})
    assert money(client) == (0, 0, 0)
    assert paid(simulated) == 1


@pytest.mark.parametrize("provider", ["getimg", "openrouter"])
@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
@pytest.mark.parametrize("fault", ["reply_lost", LOST_BEFORE])
def test_where_nothing_can_be_looked_up_a_lost_call_is_held_whatever_its_batch_says(
    provider: str, on_unknown: Any, fault: Any, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lose(simulated, fault)
    client.enqueue([row(provider)], batch="b", on_unknown=on_unknown)
    assert finish(client, runtime) == {"in_doubt": 1}
    assert paid_posts(simulated) == 1
    assert held_within_the_bill(client, simulated, provider) or provider == "openrouter"


@pytest.mark.parametrize("provider", ["banatie", "bloom"])
def test_of_twelve_equal_calls_at_once_those_that_lost_their_reply_adopt_what_is_left_one_to_one(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, times=5)
    client.enqueue([row(provider, custom_id=f"c{number}") for number in range(12)], batch="b", on_unknown="resend")
    assert finish(client, runtime, seconds=60) == {"succeeded": 12}
    assert paid(simulated) == paid_posts(simulated) == 12
    assert adopted(engine) == bought(simulated)
    assert ledger_is_the_bill(client, simulated, provider)


def test_without_prompts_one_lost_call_beside_others_is_found_and_two_are_held(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated)
    client.enqueue([row("posteverywhere", custom_id=f"c{number}") for number in range(4)], batch="b")
    assert finish(client, runtime) == {"succeeded": 4}
    lose(simulated, times=2)
    client.enqueue([row("posteverywhere", custom_id=f"d{number}") for number in range(4)], batch="b")
    assert finish(client, runtime) == {"succeeded": 6, "in_doubt": 2}
    assert paid(simulated) == paid_posts(simulated) == 8
    assert len(adopted(engine)) == 6
    assert held_within_the_bill(client, simulated, "posteverywhere")


def test_a_reference_tells_apart_what_a_prompt_cannot(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    lose(simulated, times=2)
    client.enqueue([row("banatie", aspect_ratio=ratio) for ratio in ("16:9", "1:1")], batch="b")
    assert finish(client, runtime) == {"succeeded": 2}
    shapes = [image["width"] / image["height"] for image in client.results("b")]
    assert shapes == [pytest.approx(16 / 9, rel=0.1), 1]
    assert paid(simulated) == 2


def lists(simulated: Simulator) -> int:
    return sum(request["method"] == "GET" for request in simulated.requests(limit=10_000))


def test_a_look_up_takes_slots_of_the_rate_windows_and_waits_where_they_have_no_room(
    database_url: str, endpoints: Endpoints, simulated: Simulator, engine: Engine
) -> None:
    with (
        opened(database_url, endpoints, simulated, banatie={"limits": "8/hour"}) as runtime,
        Client(settings=runtime.settings) as client,
    ):
        lose(simulated)
        client.enqueue([row("banatie")], batch="b")
        until_lost(client, runtime, 1)
        rows.rows(
            engine, "INSERT INTO request_slot (account, kind) SELECT 'banatie', 'poll' FROM generate_series(1, 7)"
        )
        look_up(runtime, engine, "banatie")
        assert lists(simulated) == 0
        assert client.totals("b") == {"checking": 1}
        rows.rows(engine, "DELETE FROM request_slot WHERE kind = 'poll'")
        look_up(runtime, engine, "banatie")
        taken = rows.rows(engine, "SELECT count(*) AS slots FROM request_slot WHERE kind = 'poll'")[0].slots
        assert taken == lists(simulated) > 0
        assert len(adopted(engine)) == 1


def test_a_list_that_is_refused_leaves_the_question_open_and_is_asked_again(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults(
        [
            {"match": {"route": "submit"}, "fault": "reply_lost"},
            {"match": {"route": "list"}, "fault": {"kind": "error_5xx", "status": 500}, "times": 2},
            {"match": {"route": "poll"}, "fault": {"kind": "error_5xx", "status": 500}, "times": 2},
        ]
    )
    client.enqueue([row("bloom")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    look_up(runtime, engine, "bloom")
    assert client.totals("b") == {"checking": 1}
    look_up(runtime, engine, "bloom")
    assert client.totals("b") == {"checking": 1}
    look_up(runtime, engine, "bloom")
    assert finish(client, runtime) == {"succeeded": 1}
    assert paid(simulated) == paid_posts(simulated) == 1
