"""Several keys at one provider: jobs are dealt out, each account has its own limits, pause and balance."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import anyio
import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client import is_settled
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.balances import ask

ROW = {"provider": "bloom", "prompt": "a quiet harbour"}


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    bloom = five_accounts(simulated.url)["bloom"]
    accounts = {"bloom": bloom, "bloom_eu": {**bloom, "api_key": "sim-eu"}}
    settings = settings_for(database_url, endpoints, simulated.url, accounts=accounts)
    with runtime_for(settings, endpoints) as made:
        yield made


@pytest.fixture
def client(runtime: Runtime) -> Iterator[Client]:
    with Client(settings=runtime.settings) as opened:
        drain(runtime, lambda: len(opened.accounts()) == 2)
        yield opened


def used(simulated: Simulator) -> Counter[str]:
    return Counter(line["key"] for line in simulated.bill()["lines"])


def test_jobs_are_dealt_out_over_the_accounts_of_their_provider(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([ROW] * 10, batch="b")
    drain(runtime, lambda: is_settled(client.totals("b")))
    assert client.totals("b") == {"succeeded": 10}
    assert used(simulated) == {"sim-test": 5, "sim-eu": 5}


def test_rows_that_come_one_at_a_time_are_dealt_out_too(client: Client, engine: Engine) -> None:
    for number in range(40):
        client.enqueue_one({**ROW, "custom_id": f"n{number}"}, batch="b")
    dealt = {row.account: row.jobs for row in rows.rows(engine, "SELECT account, count(*) AS jobs FROM job GROUP BY 1")}
    assert set(dealt) == {"bloom", "bloom_eu"}
    assert min(dealt.values()) >= 5  # of 40; by chance fewer in one run of five million


def test_a_paused_account_is_dealt_nothing_and_its_neighbour_goes_on(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.pause("bloom_eu", "by hand")
    client.enqueue([ROW] * 4, batch="b")
    drain(runtime, lambda: is_settled(client.totals("b")))
    assert used(simulated) == {"sim-test": 4}


def test_one_account_out_of_credit_does_not_stop_the_other(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.change_account("bloom", "sim-eu", balance="1")
    client.enqueue([ROW] * 8, batch="b")
    drain(runtime, lambda: client.totals("b") == {"succeeded": 5, "queued": 3})
    (paused,) = [account for account in client.accounts() if account["paused_at"]]
    assert (paused["name"], paused["paused_code"]) == ("bloom_eu", "account_out_of_credit")
    simulated.change_account("bloom", "sim-eu", add="10")
    client.resume("bloom_eu")
    drain(runtime, lambda: is_settled(client.totals("b")))
    assert client.totals("b") == {"succeeded": 8}


def survey_once(runtime: Runtime, name: str) -> None:
    async def run() -> None:
        async with anyio.create_task_group() as group:
            runtime.start(group)
            await ask(runtime, runtime.accounts[name])
            await runtime.accounts[name].get.close()
            group.cancel_scope.cancel()

    event_loop.run(run)


def test_what_an_account_has_left_is_known_without_paying(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.change_account("bloom", "sim-eu", balance="137")
    survey_once(runtime, "bloom_eu")
    (account,) = [account for account in client.accounts() if account["name"] == "bloom_eu"]
    assert account["balance"] == Decimal(137)
    assert "analyzing" in str(account["notes"])
    assert used(simulated) == {}


def test_a_refused_key_pauses_its_account_before_a_job_meets_it(
    client: Client, database_url: str, endpoints: Endpoints, simulated: Simulator
) -> None:
    bloom = {**five_accounts(simulated.url)["bloom"], "api_key": "wrong"}
    settings = settings_for(database_url, endpoints, simulated.url, accounts={"bloom": bloom})
    with runtime_for(settings, endpoints) as made:
        survey_once(made, "bloom")
    (account,) = [account for account in client.accounts() if account["paused_at"]]
    assert (account["name"], account["paused_code"]) == ("bloom", "account_unauthorized")
