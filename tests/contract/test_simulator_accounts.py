"""The simulator's bill, balances and log."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ops.simulator import AccountConfig, Simulator, SimulatorConfig

Submission = Callable[..., dict[str, Any]]


def submit(web: httpx.Client, sim: Simulator, body: dict[str, Any], key: str = "sim-a") -> httpx.Response:
    return web.post(f"{sim.bloom_url}/images/generations", json=body, headers={"x-api-key": key})


def test_the_bill_has_one_line_per_accepted_post_lost_replies_included(
    start: Any, web: httpx.Client, submission: Submission
) -> None:
    sim = start()
    sim.put_faults([{"match": {"route": "submit"}, "after": 1, "fault": "reply_lost"}])
    first = submit(web, sim, submission("one", variantCount=3, imageSize="4K")).json()["data"]
    with pytest.raises(httpx.RemoteProtocolError):
        submit(web, sim, submission("two"))
    submit(web, sim, submission("", variantCount=3))
    bill = web.get(f"{sim.url}/_sim/bill").json()
    assert bill["totals"]["bloom"] == {"submissions": 2, "images": 4, "amount": "7", "unit": "credit"}
    assert bill["lines"][0]["upstream_ids"] == first["ids"]
    assert web.get(f"{sim.url}/_sim/bill?summary=1").json() == {"totals": bill["totals"]}
    assert sim.counters()["paid_posts"] == {"bloom": 3}
    assert sim.counters()["accepted"] == {"bloom": 2}
    assert [row["submission_id"] for row in sim.requests(paid="true")] == [
        line["submission_id"] for line in bill["lines"]
    ]


def test_a_balance_runs_out_exactly_and_a_top_up_goes_on(start: Any, web: httpx.Client, submission: Submission) -> None:
    sim = start(accounts=(AccountConfig(provider="bloom", key="three", balance=Decimal(3)),))
    bodies = [submission(f"p{n}") for n in range(4)]
    assert [submit(web, sim, body, "three").status_code for body in bodies] == [202, 202, 202, 402]
    told = web.post(f"{sim.url}/_sim/accounts/bloom/three", json={"add": "2"}).json()
    assert told["balance"] == "2"
    assert submit(web, sim, submission(imageSize="4K"), "three").status_code == 202
    assert submit(web, sim, submission(), "three").status_code == 402


def test_an_account_can_be_banned_and_readmitted_while_running(
    start: Any, web: httpx.Client, submission: Submission
) -> None:
    sim = start()
    url = f"{sim.url}/_sim/accounts/bloom/sim-a"
    web.post(url, json={"banned": True})
    assert submit(web, sim, submission()).json()["code"] == "ACCOUNT_BANNED"
    web.post(url, json={"banned": False})
    assert submit(web, sim, submission()).status_code == 202
    assert web.post(url, json={"colour": "red"}).status_code == 400
    assert web.post(f"{sim.url}/_sim/accounts/nobody/sim-a", json={}).status_code == 400


def test_the_same_body_sent_twice_is_two_submissions(start: Any, web: httpx.Client, submission: Submission) -> None:
    sim = start()
    ids = [submit(web, sim, submission("twice")).json()["data"]["ids"][0] for _ in range(2)]
    assert len(set(ids)) == 2
    assert len(sim.bill()["lines"]) == 2


def test_a_reset_forgets_everything_and_starts_over(start: Any, web: httpx.Client, submission: Submission) -> None:
    sim = start()
    first = submit(web, sim, submission()).json()
    web.post(f"{sim.url}/_sim/reset")
    assert (sim.bill()["lines"], sim.requests(), sim.counters()["requests"]) == ([], [], [])
    assert web.get(f"{sim.url}/_sim/images").json()["total"] == 0
    assert submit(web, sim, submission()).json() == first


def test_the_request_log_is_filtered_and_bounded(start: Any, web: httpx.Client) -> None:
    sim = start(request_log_size=5)
    for number in range(8):
        web.get(f"{sim.bloom_url}/account", headers={"x-api-key": f"sim-{number}"})
    rows = web.get(f"{sim.url}/_sim/requests").json()["requests"]
    assert [row["key"] for row in rows] == [f"sim-{number}" for number in range(3, 8)]
    assert web.get(f"{sim.url}/_sim/requests?key=sim-5&route=account").json()["requests"][0]["key"] == "sim-5"
    assert web.get(f"{sim.url}/_sim/requests?colour=red").status_code == 400
    assert sim.counters()["requests"] == [
        {"provider": "bloom", "method": "GET", "route": "account", "outcome": "200", "count": 8}
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("openrouter/api/v1/images", {"model": "sim/photo", "prompt": "p"}),
        ("posteverywhere/api/v1/ai/generate-image", {"prompt": "p"}),
        ("banatie/api/v1/generations", {"prompt": "p"}),
    ],
)
def test_ids_repeat_after_a_reset_and_at_no_other_time(
    start: Any, web: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    sim = start()

    def bought() -> str:
        web.post(f"{sim.url}/{path}", json=body, headers={"authorization": "Bearer sim-a", "x-api-key": "sim-a"})
        return str(sim.bill()["lines"][-1]["submission_id"])

    first, second = bought(), bought()
    sim.reset()
    assert sim.bill()["lines"] == []
    assert first != second
    assert (bought(), bought()) == (first, second)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("bloom/api/v1/nothing", "NOT_FOUND"),
        ("getimg/v1/images", "not_found"),
        ("openrouter/api/v1/images/generations", 404),
        ("posteverywhere/api/v1/nothing", "not_found"),
        ("banatie/api/v1/nothing", "NOT_FOUND"),
    ],
)
def test_a_path_that_no_provider_has_is_a_404_in_its_shape(
    shared_sim: Simulator, web: httpx.Client, path: str, code: Any
) -> None:
    key = {"authorization": "Bearer sim-a", "x-api-key": "sim-a"}
    reply = web.post(f"{shared_sim.url}/{path}", headers=key)
    error = reply.json()
    assert (reply.status_code, error.get("error", error)["code"]) == (404, code)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"colour": 1}, "config.colour"),
        ({"bloom": {"colour": 1}}, "bloom.colour"),
        ({"accounts": [{"provider": "bloom"}]}, "needs a provider and a key"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SimulatorConfig.from_json(document)


def test_a_configuration_is_read_from_json() -> None:
    config = SimulatorConfig.from_json(
        {"bloom": {"latency": [1, 2]}, "accounts": [{"provider": "bloom", "key": "k", "balance": "1.5"}]}
    )
    assert (config.bloom.latency, str(config.accounts[0].balance)) == ((1.0, 2.0), "1.5")
