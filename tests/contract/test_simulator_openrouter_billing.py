"""What the simulated OpenRouter charges for: replies that were written to their last byte, and nothing else."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openrouter.errors import NotFoundResponseError

from ops.simulator import AccountConfig, OpenRouterSettings, Simulator
from tests.support.waiting import until

_WANTED = {"model": "sim/photo", "prompt": "p"}
_AUTHORIZED = {"authorization": "Bearer sim-a"}


def post(web: httpx.Client, sim: Simulator, **extra: Any) -> httpx.Response:
    return web.post(f"{sim.openrouter_url}/images", json={**_WANTED, **extra}, headers=_AUTHORIZED)


def usage(web: httpx.Client, sim: Simulator, key: str = "sim-a") -> Decimal:
    text = web.get(f"{sim.openrouter_url}/credits", headers={"authorization": f"Bearer {key}"}).text
    return Decimal(json.loads(text, parse_float=Decimal)["data"]["total_usage"])


def leave(sim: Simulator, *, after: int) -> None:
    """Send a whole request and go away once ``after`` bytes of its reply have come."""
    parts, content = urlsplit(f"{sim.openrouter_url}/images"), json.dumps(_WANTED).encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sim-a\r\n"
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        read = 0
        while read < after:
            read += len(connection.recv(after - read))


def settled(sim: Simulator, requests: int) -> list[dict[str, Any]]:
    """Wait until ``requests`` submits are in the log, which is when their fate is known."""
    while len(rows := sim.requests(route="submit")) < requests:
        continue
    return rows


def test_usage_moves_by_the_cost_when_the_reply_has_arrived(start: Any, web: httpx.Client) -> None:
    sim = start()
    assert usage(web, sim) == 0
    cost = json.loads(post(web, sim).text, parse_float=Decimal)["usage"]["cost"]
    assert usage(web, sim) == cost == Decimal(sim.bill()["lines"][0]["amount"])
    assert (sim.counters()["accepted"], sim.counters()["paid_posts"]) == ({"openrouter": 1}, {"openrouter": 1})


def test_a_client_gone_before_the_reply_begins_is_not_billed(start: Any, web: httpx.Client) -> None:
    sim = start(openrouter=OpenRouterSettings(latency=(20, 20)))
    leave(sim, after=0)
    rows = settled(sim, 1)
    assert [(row["outcome"], row["paid"]) for row in rows] == [("undelivered", False)]
    assert (sim.bill()["lines"], usage(web, sim)) == ([], 0)
    assert web.get(f"{sim.url}/_sim/images").json()["total"] == 0


def test_a_client_gone_in_the_middle_of_the_reply_is_not_billed(start: Any, web: httpx.Client) -> None:
    sim = start(openrouter=OpenRouterSettings(latency=(0, 0)))
    sim.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "drip", "seconds": 1}}])
    leave(sim, after=250)
    rows = settled(sim, 1)
    assert [(row["outcome"], row["paid"]) for row in rows] == [("drip", False)]
    assert (sim.bill()["lines"], usage(web, sim)) == ([], 0)


@pytest.mark.parametrize("read_on", [True, False])
def test_a_reply_larger_than_every_buffer_is_billed_only_if_it_is_read_on(start: Any, *, read_on: bool) -> None:
    sim = start(openrouter=OpenRouterSettings(latency=(0, 0)))
    sim.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "oversize", "bytes": 30_000_000}}])
    with httpx.stream("POST", f"{sim.openrouter_url}/images", json=_WANTED, headers=_AUTHORIZED) as reply:
        pieces = reply.iter_raw()
        next(pieces)
        if read_on:
            assert sum(map(len, pieces)) > 29_000_000
    assert [row["paid"] for row in settled(sim, 1)] == [read_on]


@pytest.mark.parametrize("fault", ["reply_lost", "truncate", {"kind": "error_5xx", "status": 502, "accepted": True}])
def test_a_reply_that_is_lost_on_the_way_is_not_billed(start: Any, web: httpx.Client, fault: Any) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": fault}])
    try:
        assert post(web, sim).status_code == 502
    except httpx.RemoteProtocolError:
        assert isinstance(fault, str)
    assert (sim.bill()["lines"], sim.counters()["paid_posts"]) == ([], {"openrouter": 1})
    assert post(web, sim).status_code == 200
    assert len(sim.bill()["lines"]) == 1


@pytest.mark.parametrize("fault", ["slow", "html_body", "empty_body", "not_utf8"])
def test_a_reply_that_arrives_late_or_damaged_is_billed(start: Any, web: httpx.Client, fault: str) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": fault}])
    assert post(web, sim).status_code == 200
    assert sim.counters()["accepted"] == {"openrouter": 1}


def test_a_switch_bills_what_nobody_received(start: Any, web: httpx.Client) -> None:
    sim = start(openrouter=OpenRouterSettings(latency=(1, 1), billing="accepted"))
    sim.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    with pytest.raises(httpx.RemoteProtocolError):
        post(web, sim)
    assert usage(web, sim) == Decimal(sim.bill()["lines"][0]["amount"]) > 0


def test_the_balance_runs_out_by_what_is_delivered_and_a_top_up_goes_on(start: Any, web: httpx.Client) -> None:
    sim = start(accounts=(AccountConfig(provider="openrouter", key="sim-a", balance=Decimal("0.09")),))
    sim.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    with pytest.raises(httpx.RemoteProtocolError):
        post(web, sim)
    assert [post(web, sim).status_code for _ in range(3)] == [200, 200, 402]
    sim.change_account("openrouter", "sim-a", add="1")
    assert post(web, sim).status_code == 200


def test_the_pictures_inside_a_reply_are_those_that_the_control_api_knows(start: Any, web: httpx.Client) -> None:
    sim = start()
    sent = post(web, sim, n=2).json()["data"]
    listed = web.get(f"{sim.url}/_sim/images").json()["images"]
    told = [web.get(f"{sim.url}/_sim/images/{row['id']}").json() for row in listed]
    assert [row["bytes"] for row in told] == [
        len(item["b64_json"]) * 3 // 4 - item["b64_json"].count("=") for item in sent
    ]
    assert [row["id"] for row in listed] == sim.bill()["lines"][0]["upstream_ids"]


@pytest.mark.filterwarnings("ignore:warning. .. DEPRECATED ..:DeprecationWarning")
def test_the_sdk_reads_credits_key_models_and_generation(start: Any, web: httpx.Client, openrouter: Any) -> None:
    limited = AccountConfig(provider="openrouter", key="sim-a", spending_limit=Decimal(2))
    sim = start(accounts=(limited,))
    sim.put_faults([{"match": {"route": "submit"}, "after": 1, "fault": "truncate"}])
    generation = post(web, sim).headers["x-generation-id"]
    with openrouter(sim) as sdk:
        cost = float(sim.bill()["lines"][0]["amount"])
        spent, key = sdk.credits.get_credits().data, sdk.api_keys.get_current_key_metadata().data
        assert (spent.total_credits, spent.total_usage) == (10_000, cost)
        assert (key.limit, key.usage, key.limit_remaining) == (2, cost, pytest.approx(2 - cost))
        models = {model.id: model for model in sdk.images.list_models().data}
        found = sdk.images.list_model_endpoints(author="sim", slug="photo").endpoints[0]
        assert models["openai/gpt-image-1"].supports_streaming
        assert [row.cost_usd for row in found.pricing][:2] == [0.0387654321, 0.0775308642]
        told = sdk.generations.get_generation(id=generation).data
        assert (told.id, told.api_type, told.total_cost, told.cancelled) == (generation, "image", cost, False)
        with pytest.raises(NotFoundResponseError):
            sdk.generations.get_generation(id="gen-nothing")


def test_a_generation_that_was_not_delivered_is_cancelled_and_free(start: Any, web: httpx.Client) -> None:
    sim = start(faults=[{"match": {"route": "submit"}, "fault": "truncate"}])
    with (
        web.stream("POST", f"{sim.openrouter_url}/images", json=_WANTED, headers=_AUTHORIZED) as reply,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        reply.read()
    url, query = f"{sim.openrouter_url}/generation", {"id": reply.headers["x-generation-id"]}
    told = web.get(url, params=query, headers=_AUTHORIZED).json()["data"]
    assert (told["cancelled"], told["total_cost"]) == (True, 0)
    assert web.get(url, params=query, headers={"authorization": "Bearer sim-b"}).status_code == 404


def test_a_request_that_outlasts_a_reset_leaves_no_trace(start: Any, web: httpx.Client) -> None:
    """A test whose caller went away must not add to what the next one counts."""
    sim = start(openrouter=OpenRouterSettings(latency=(0, 0)))
    slow = {"kind": "slow", "seconds": 0.3 * sim.world.config.time_scale}
    sim.put_faults([{"match": {"route": "submit"}, "fault": slow, "times": 1}])
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(post, web, sim)
        until(lambda: sim.world.journal._last_id)
        sim.reset()
        assert reply.result().is_success
    assert post(web, sim, prompt="q").is_success
    (entry,) = settled(sim, 1)
    assert entry["hint"] == "q"
    assert sim.counters()["paid_posts"] == {"openrouter": 1}
    assert len(sim.bill("openrouter")["lines"]) == 1
