"""Settings that change while the simulator runs: how they are put, whose clock is wrong, what stands still."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from ops.simulator import BloomSettings, GetimgSettings, Simulator, SimulatorConfig
from tests.contract.simulated_lists import LISTING, TIME, Shop

_KEY = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}
_EVERY_LIST = pytest.mark.parametrize("provider", LISTING)


@pytest.fixture(scope="module")
def _running(base_config: SimulatorConfig) -> Iterator[Simulator]:
    with Simulator(base_config).serve() as running:
        yield running


@pytest.fixture
def sim(_running: Simulator) -> Simulator:
    """A simulator without a past, its settings as they were at its start."""
    _running.reset()
    return _running


@pytest.fixture
def put(sim: Simulator, web: httpx.Client) -> Callable[..., httpx.Response]:
    """Change settings of one provider over the wire."""

    def changed(provider: str, **settings: Any) -> httpx.Response:
        return web.put(f"{sim.url}/_sim/settings", json={provider: settings})

    return changed


def ahead(text: str) -> float:
    """Return by how many seconds an ISO time is ahead of true time."""
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


def getimg(web: httpx.Client, sim: Simulator, prompt: str = "p") -> httpx.Response:
    body = {"model": "sim-photo", "prompt": prompt}
    return web.post(f"{sim.getimg_url}/v2/images/generations", json=body, headers=_KEY)


def openrouter(web: httpx.Client, sim: Simulator, prompt: str = "p", model: str = "sim/single") -> httpx.Response:
    return web.post(f"{sim.openrouter_url}/images", json={"model": model, "prompt": prompt}, headers=_KEY)


def key_of(web: httpx.Client, sim: Simulator) -> dict[str, Any]:
    return dict(web.get(f"{sim.openrouter_url}/key", headers=_KEY).json()["data"])


@pytest.mark.parametrize(
    ("document", "named"),
    [({"bloom": {"list_odrer": "newest"}}, "bloom.list_odrer"), ({"blooom": {}}, "blooom"), ({"getimg": 7}, "")],
)
def test_a_setting_or_provider_that_does_not_exist_is_refused_by_name(
    sim: Simulator, web: httpx.Client, document: Any, named: str
) -> None:
    before = web.get(f"{sim.url}/_sim/settings").json()
    reply = web.put(f"{sim.url}/_sim/settings", json=document)
    assert (reply.status_code, named in reply.json()["error"]) == (400, True)
    assert web.get(f"{sim.url}/_sim/settings").json() == before


def test_the_python_way_raises_a_value_error_that_names_the_setting(sim: Simulator) -> None:
    with pytest.raises(ValueError, match=r"bloom\.colour"):
        sim.put_settings({"bloom": {"colour": "red"}})


def test_what_is_not_named_stays_and_a_reset_goes_back_to_the_start(
    sim: Simulator, web: httpx.Client, put: Callable[..., httpx.Response]
) -> None:
    start = web.get(f"{sim.url}/_sim/settings").json()
    put("bloom", list_order="oldest")
    changed = put("bloom", clock_seconds=-3).json()
    assert changed == {**start, "bloom": {**start["bloom"], "list_order": "oldest", "clock_seconds": -3}}
    sim.reset()
    assert web.get(f"{sim.url}/_sim/settings").json() == start


def test_accounts_that_open_later_have_the_new_terms(
    sim: Simulator, web: httpx.Client, put: Callable[..., httpx.Response]
) -> None:
    put("bloom", balance=7, requests_per_minute=0)
    assert web.get(f"{sim.bloom_url}/account", headers={"x-api-key": "sim-late"}).status_code == 429
    (account,) = (row for row in web.get(f"{sim.url}/_sim/accounts").json()["accounts"] if row["key"] == "sim-late")
    assert account["balance"] == "7"


@_EVERY_LIST
@pytest.mark.parametrize("seconds", [-600, 90])
def test_a_wrong_clock_shows_in_every_row_and_in_the_date_header(
    sim: Simulator, web: httpx.Client, provider: str, seconds: float
) -> None:
    at = Shop(sim, web, provider)
    at.set(clock_seconds=seconds)
    bought = at.buy()
    stated = [at.rows()[0][TIME[provider]], at.row(bought)[TIME[provider]]]
    header = parsedate_to_datetime(at.page().headers["date"])
    assert stated[0] == stated[1]
    assert ahead(stated[0]) == pytest.approx(seconds, abs=5)
    assert ahead(header.isoformat()) == pytest.approx(seconds, abs=5)


@_EVERY_LIST
def test_a_row_keeps_its_time_when_the_clock_is_put_right(sim: Simulator, web: httpx.Client, provider: str) -> None:
    at = Shop(sim, web, provider)
    at.set(clock_seconds=-600)
    at.buy("early")
    at.set(clock_seconds=0)
    at.buy("late")
    late, early = (ahead(row[TIME[provider]]) for row in at.rows())
    assert (early, late) == (pytest.approx(-600, abs=5), pytest.approx(0, abs=5))


def test_getimg_states_the_death_of_its_links_by_its_own_clock_and_serves_them_until_then(
    start: Any, web: httpx.Client
) -> None:
    sim = start(getimg=GetimgSettings(requests_per_minute=600, link_seconds=2000, clock_seconds=-600))
    reply = getimg(web, sim)
    item = reply.json()["data"][0]
    expires = int(httpx.URL(item["url"]).params["exp"])
    assert ahead(item["deletes_at"]) == pytest.approx(-590, abs=5)
    assert datetime.fromisoformat(item["deletes_at"]).timestamp() == expires
    assert int(reply.headers["x-ratelimit-reset"]) - datetime.now(UTC).timestamp() == pytest.approx(-600, abs=5)
    assert web.get(item["url"]).status_code == 200


def test_blooms_signed_links_live_as_long_under_a_wrong_clock(start: Any, web: httpx.Client) -> None:
    sim = start(bloom=BloomSettings(requests_per_minute=None, latency=(1, 1), link_seconds=2000, clock_seconds=600))
    at = Shop(sim, web, "bloom")
    url = web.get(f"{sim.bloom_url}/images/{at.buy()}?wait=1", headers=_KEY).json()["data"]["imageUrl"]
    target = web.get(url).headers["location"]
    assert int(httpx.URL(target).params["exp"]) - datetime.now(UTC).timestamp() == pytest.approx(610, abs=5)
    assert web.get(target).status_code == 200


def test_openrouter_states_its_times_by_its_own_clock(
    sim: Simulator, web: httpx.Client, put: Callable[..., httpx.Response]
) -> None:
    put("openrouter", clock_seconds=-600)
    reply = openrouter(web, sim)
    created = datetime.fromtimestamp(reply.json()["created"], UTC).isoformat()
    query = {"id": reply.headers["x-generation-id"]}
    generation = web.get(f"{sim.openrouter_url}/generation", params=query, headers=_KEY).json()["data"]
    for text in (created, generation["created_at"], parsedate_to_datetime(reply.headers["date"]).isoformat()):
        assert ahead(text) == pytest.approx(-600, abs=5)


def test_openrouters_generation_can_be_a_404_for_a_while(
    sim: Simulator, web: httpx.Client, put: Callable[..., httpx.Response]
) -> None:
    put("openrouter", get_lag_seconds=60)
    query = {"id": openrouter(web, sim).headers["x-generation-id"]}
    assert web.get(f"{sim.openrouter_url}/generation", params=query, headers=_KEY).status_code == 404
    put("openrouter", get_lag_seconds=0)
    assert web.get(f"{sim.openrouter_url}/generation", params=query, headers=_KEY).status_code == 200


def test_frozen_usage_stands_still_while_the_bill_grows_and_catches_up_when_it_thaws(
    sim: Simulator, web: httpx.Client, put: Callable[..., httpx.Response]
) -> None:
    def credit() -> tuple[float, float]:
        data = web.get(f"{sim.openrouter_url}/credits", headers=_KEY).json()["data"]
        return data["total_credits"], data["total_usage"]

    openrouter(web, sim, "before")
    put("openrouter", usage_frozen=True)
    openrouter(web, sim, "after")
    assert (key_of(web, sim)["usage"], credit()) == (0.01, (10_000, 0.01))
    assert sum(Decimal(line["amount"]) for line in sim.bill("openrouter")["lines"]) == Decimal("0.02")
    put("openrouter", usage_frozen=False)
    assert (key_of(web, sim)["usage"], credit()) == (0.02, (10_000, 0.02))
