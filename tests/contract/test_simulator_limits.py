"""The simulator's rate windows, and the headers that tell of them."""

from typing import Any

import httpx
import pytest

from ops.simulator import AccountConfig, BanatieSettings, BloomSettings, PostEverywhereSettings, SimulatorConfig
from ops.simulator.accounts import Accounts
from ops.simulator.clock import SimulatedClock


def test_bloom_refuses_the_121st_request_of_a_minute_and_admits_one_when_the_window_slides(
    start: Any, web: httpx.Client
) -> None:
    sim = start(time_scale=0.01, bloom=BloomSettings())  # a minute lasts 100: it cannot end while requests are sent
    url, headers = f"{sim.bloom_url}/account", {"x-api-key": "sim-a"}
    assert [web.get(url, headers=headers).status_code for _ in range(121)] == [200] * 120 + [429]
    assert web.get(url, headers={"x-api-key": "sim-b"}).status_code == 200
    recent = sim.world.accounts.find("bloom", "sim-a").windows["minute"].recent
    recent[0] -= 6000  # the oldest request leaves
    assert [web.get(url, headers=headers).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("provider", ["openrouter", "posteverywhere", "banatie"])
def test_a_window_admits_its_number_of_requests_and_more_when_it_slides(provider: str) -> None:
    now = [1000.0]
    config = SimulatorConfig(
        time_scale=1, accounts=(AccountConfig(provider=provider, key="k", requests_per_minute=2, requests_per_hour=3),)
    )
    accounts = Accounts(config, config.wires(), SimulatedClock(1, lambda: now[0]))
    account = accounts.find(provider, "k")
    assert account is not None

    def full() -> str | None:
        window = accounts.take_turn(account)
        return window.name if window else None

    assert [full() for _ in range(3)] == [None, None, "minute"]
    now[0] += 60
    assert [full() for _ in range(2)] == [None, "hour"]
    now[0] += 3540
    assert [full() for _ in range(3)] == [None, None, "minute"]


def test_the_tightest_window_is_in_the_headers_and_generating_has_its_own(start: Any) -> None:
    settings = PostEverywhereSettings(latency=(0, 0), generations_per_hour=2)
    row = AccountConfig(provider="posteverywhere", key="sim-few", requests_per_minute=5)
    sim = start(time_scale=1, posteverywhere=settings, accounts=(row,))
    with httpx.Client(base_url=sim.posteverywhere_url, headers={"authorization": "Bearer sim-few"}) as api:
        replies = [
            api.get("/me"),
            *(api.post("/ai/generate-image", json={"prompt": "p"}) for _ in range(3)),
            api.get("/me"),
        ]
        told = [(r.status_code, r.headers["x-ratelimit-limit"], r.headers["x-ratelimit-remaining"]) for r in replies]
        assert told == [(200, "5", "4"), (201, "2", "1"), (201, "2", "0"), (429, "2", "0"), (200, "5", "1")]
        hour, minute = int(replies[3].headers["retry-after"]), int(replies[4].headers["x-ratelimit-reset"])
        assert 3500 < hour <= 3600
        assert 0 < minute - sim.world.clock.now() <= 61
        assert [api.get("/me").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("unit", ["seconds", "epoch"])
def test_every_request_counts_against_the_hour_and_every_answer_says_so(start: Any, unit: Any) -> None:
    settings = BanatieSettings(rate_reset=unit, retry_after=unit == "epoch")
    row = AccountConfig(provider="banatie", key="sim-few", requests_per_hour=3)
    sim = start(time_scale=1, banatie=settings, accounts=(row,))
    with httpx.Client(base_url=f"{sim.banatie_url}/api/v1", headers={"x-api-key": "sim-few"}) as api:
        replies = [api.post("/generations", json={"prompt": "p"}), *(api.get("/generations") for _ in range(3))]
    assert [(reply.status_code, reply.headers["x-ratelimit-remaining"]) for reply in replies] == [
        (201, "2"), (200, "1"), (200, "0"), (429, "0"),
    ]  # fmt: skip
    left = int(replies[3].headers["x-ratelimit-reset"]) - (sim.world.clock.now() if unit == "epoch" else 0)
    assert 3500 < left <= 3601
    assert ("retry-after" in replies[3].headers) == (unit == "epoch")


def test_the_documented_limit_is_a_hundred_an_hour(start: Any) -> None:
    sim = start(time_scale=1, banatie=BanatieSettings())
    with httpx.Client(base_url=f"{sim.banatie_url}/api/v1", headers={"x-api-key": "sim-a"}) as api:
        assert [api.get("/generations").status_code for _ in range(101)] == [200] * 100 + [429]
