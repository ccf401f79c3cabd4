"""An account that takes money and brings no image stops buying, whatever keeps its images away."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState
from tests.support import rows
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.image_host import Answer, serving_images
from tests.support.looking import pending, tell
from tests.support.lost import fast_simulator
from tests.support.outcome import ended, paid
from worker.providers.contract import UpstreamImage
from worker.runtime import Runtime

POLLED = ("banatie", "bloom", "posteverywhere")
MODEL = {"posteverywhere": "flux-schnell"}
MANY = 100


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def paced(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[tuple[Client, Runtime]]:
    """A worker whose accounts buy twenty images a second."""
    accounts = {name: {**terms, "limits": "20/second"} for name, terms in five_accounts(simulated.url).items()}
    settings = settings_for(database_url, endpoints, simulated.url, accounts=accounts, probe_first_seconds=60)
    with ExitStack() as stack:
        runtime = stack.enter_context(runtime_for(settings, endpoints))
        yield stack.enter_context(Client(settings=settings)), runtime


def enqueue(client: Client, provider: str, rows: int, prompt: str = "a harbour") -> None:
    row = {"provider": provider, "prompt": prompt, **({"model": MODEL[provider]} if provider in MODEL else {})}
    client.enqueue([row] * rows, batch="b")


def account(client: Client, name: str) -> Any:
    return next(row for row in client.accounts() if row["name"] == name)


@pytest.mark.parametrize("provider", POLLED)
def test_an_account_whose_images_all_fail_stops_buying_long_before_its_batch_is_bought(
    paced: tuple[Client, Runtime], simulated: Simulator, provider: str
) -> None:
    client, runtime = paced
    match = {"route": "submit", "provider": provider}
    simulated.put_faults([{"match": match, "fault": "failed_generation", "times": None}])
    enqueue(client, provider, MANY)
    drain(runtime, lambda: account(client, provider)["paused_code"] is not None)
    stopped = account(client, provider)
    assert stopped["paused_code"] == "results_unreachable"
    assert "5 jobs in a row" in stopped["paused_reason"]
    assert paid(simulated) < MANY / 2


@pytest.mark.parametrize("provider", POLLED)
def test_prompts_that_a_safety_check_refuses_stop_no_account(
    paced: tuple[Client, Runtime], simulated: Simulator, provider: str
) -> None:
    client, runtime = paced
    enqueue(client, provider, 8, prompt="[sim:moderated] a harbour")
    drain(runtime, ended(client))
    assert account(client, provider)["paused_code"] is None
    assert set(client.totals("b")) == {"failed"}


def test_an_account_that_calls_images_finished_and_gives_no_links_stops_buying(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    unlinked = UpstreamImage(ImageState.PROCESSING, lacks_link=True)
    bought = [pending(engine) for _ in range(5)]
    for look in range(5):
        assert account(client, "bloom")["paused_code"] is None, look
        tell(runtime, engine, dict.fromkeys(bought, unlinked))
    stopped = account(client, "bloom")
    assert stopped["paused_code"] == "results_unreachable"
    assert "gives no link" in stopped["paused_reason"]


def test_a_link_that_two_jobs_are_given_is_stored_for_one_and_the_other_is_asked_about_again(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    first, second = pending(engine), pending(engine)
    with serving_images(Answer()) as host, capture_logs() as logs:
        shared = UpstreamImage(ImageState.READY, link=f"{host.url}/1")
        tell(runtime, engine, {first: shared, second: shared})
        states = "SELECT upstream_id, state FROM image ORDER BY state"
        assert {row.state for row in rows.rows(engine, states)} == {"stored", "processing"}
        own = UpstreamImage(ImageState.READY, link=f"{host.url}/2")
        tell(runtime, engine, {first: own, second: own})
        assert {row.state for row in rows.rows(engine, states)} == {"stored"}
    assert [line["images"] for line in logs if line["event"] == "link_of_another_image"] == [1]
    assert client.totals("b") == {"succeeded": 2}


def test_a_link_that_all_images_of_a_job_are_given_is_stored_for_one_however_often_it_is_shown(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    claim = rows.transferring(engine, ImageState.PENDING, ImageState.PENDING)
    rows.rows(engine, "UPDATE job SET state = 'pending' WHERE id = :id", id=claim.job_id)
    images = "SELECT upstream_id, state, link FROM image ORDER BY index"
    first, second = (row.upstream_id for row in rows.rows(engine, images))
    with serving_images(Answer()) as host:
        shared = UpstreamImage(ImageState.READY, link=f"{host.url}/1")
        for _ in range(4):
            tell(runtime, engine, {first: shared, second: shared})
        found = rows.rows(engine, images)
        assert [row.state for row in found] == ["stored", "processing"]
        assert host.url not in str(found[0].link)
        own = UpstreamImage(ImageState.READY, link=f"{host.url}/2")
        tell(runtime, engine, {second: own})
    assert [row.state for row in rows.rows(engine, images)] == ["stored", "stored"]
    assert host.asked == ["/1", "/2"]
    assert client.totals("b") == {"succeeded": 1}
