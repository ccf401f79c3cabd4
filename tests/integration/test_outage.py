"""A provider that fails call after call: its account pauses before its whole backlog is in doubt."""

from collections.abc import Iterator

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import GETIMG, ended, paid_posts
from worker.runtime import Runtime

LIMIT = 4


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    settings = settings_for(database_url, endpoints, simulated.url, doubts_before_pause=LIMIT)
    with runtime_for(settings, endpoints) as made:
        yield made


@pytest.fixture
def client(runtime: Runtime) -> Iterator[Client]:
    with Client(settings=runtime.settings) as opened:
        yield opened


def test_an_outage_pauses_the_account_and_the_rest_waits_unspent(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "error_5xx", "times": None}])
    client.enqueue([GETIMG] * 60, batch="b")
    drain(runtime, lambda: any(account["paused_at"] for account in client.accounts()))
    (account,) = [account for account in client.accounts() if account["paused_at"]]
    assert account["paused_code"] == "provider_failing"
    simulated.put_faults([])
    client.resume("getimg")
    drain(runtime, ended(client))
    totals = client.totals("b")
    concurrency = 4
    assert LIMIT <= totals["in_doubt"] < LIMIT + concurrency
    assert totals["succeeded"] == 60 - totals["in_doubt"]
    assert paid_posts(simulated) == 60


def test_doubts_that_are_not_in_a_row_pause_nothing(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    lost = [
        {"match": {"route": "submit", "prompt_contains": f"<{number}>"}, "fault": "reply_lost"}
        for number in range(0, 24, 3)
    ]
    simulated.put_faults(lost)
    for number in range(24):  # one by one, so that they are answered in this order
        client.enqueue([{**GETIMG, "prompt": f"<{number}>", "custom_id": str(number)}], batch="b")
        drain(runtime, ended(client))
    assert client.totals("b") == {"in_doubt": 8, "succeeded": 16}
    assert not [account for account in client.accounts() if account["paused_at"]]
