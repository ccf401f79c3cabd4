"""Paid calls whose answer is lost, at providers that can be asked what they made, and what became of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import httpx
from sqlalchemy import text

from ops.simulator import BanatieSettings, BloomSettings, PostEverywhereSettings, Simulator, SimulatorConfig
from ops.stack import Endpoints
from producer import Client
from producer.client import is_settled
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Claim
from shared.lifecycle import Stage
from tests.support import rows
from tests.support.drain import BRAND, drain, run_stage, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.runtime import Runtime

PROMPT: Final = "a quiet harbour"
MODEL: Final = {
    "getimg": "seedream-5-lite",
    "openrouter": "bytedance-seed/seedream-4.5",
    "posteverywhere": "flux-schnell",
}
FINDABLE: Final = ("banatie", "bloom", "posteverywhere")
BY_HAND: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "bloom": ("/images/generations", {"prompt": PROMPT, "brandSessionId": BRAND}),
    "banatie": ("/api/v1/generations", {"prompt": PROMPT}),
    "openrouter": ("/images", {"prompt": PROMPT, "model": MODEL["openrouter"]}),
    "posteverywhere": ("/ai/generate-image", {"prompt": PROMPT, "model": "flux-schnell"}),
}
LOST_BEFORE: Final = {"kind": "close_after_read", "accepted": False}


def fast_simulator() -> Simulator:
    """Return a simulator in which every picture is made, and has its link, within milliseconds."""
    config = SimulatorConfig(
        time_scale=200,
        pixels=64,
        bloom=BloomSettings(requests_per_minute=None),
        banatie=BanatieSettings(requests_per_hour=None),
        posteverywhere=PostEverywhereSettings(url="permanent", generations_per_hour=None, requests_per_minute=None),
    )
    return Simulator(config)


def row(provider: str, **more: Any) -> dict[str, Any]:
    model = {"model": MODEL[provider]} if provider in MODEL else {}
    return {"provider": provider, "prompt": PROMPT, **model, **more}


def lose(simulated: Simulator, fault: Any = "reply_lost", times: int | None = 1) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": fault, "times": times}])


def finish(client: Client, runtime: Runtime, seconds: float = 30, *, batch: str = "b") -> dict[str, int]:
    drain(runtime, lambda: is_settled(client.totals(batch)), seconds=seconds)
    return client.totals(batch)


def buy_later(client: Client, runtime: Runtime, provider: str, *, batch: str = "later") -> None:
    """Buy one picture after the lost calls were over, so that a list can show that it is not too old to show them."""
    buy_all_later(client, runtime, [row(provider, prompt=f"a {batch} purchase")], batch=batch)


def buy_all_later(client: Client, runtime: Runtime, wanted: Sequence[dict[str, Any]], *, batch: str = "later") -> None:
    """Buy some pictures after the lost calls were over. Nobody looks these up meanwhile, by half of the pictures."""
    client.enqueue(wanted, batch=batch)
    drain(runtime, lambda: is_settled(client.totals(batch)), seen=no_look_up)
    assert client.totals(batch) == {"succeeded": len(wanted)}
    with transaction(runtime.engine) as connection:
        connection.execute(text("UPDATE job SET claimed_by = NULL, due_at = now() WHERE state = 'in_doubt'"))


def no_look_up(parcel: Parcel) -> None:
    """Lose the messages that ask for a look-up."""
    if parcel.stage is Stage.RECONCILE:
        raise LookupError


def until_lost(client: Client, runtime: Runtime, count: int) -> None:
    """Work until so many calls are in doubt and nothing else goes on; nobody looks them up."""

    def only_doubts() -> bool:
        totals = client.totals("b")
        return totals.get("checking") == count and is_settled({**totals, "checking": 0})

    drain(runtime, only_doubts, seen=no_look_up)


def doubts_of(engine: Engine, provider: str) -> list[Claim]:
    """Claim the calls in doubt once their quiet time has passed."""
    loud = "SELECT 1 FROM submission WHERE outcome = 'unknown' AND visible_by > now() - interval '0.3 seconds'"
    until(lambda: not rows.rows(engine, loud))
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE state = 'in_doubt'")
    return rows.claim(engine, "reconcile", account=provider, count=100)


def look_up(runtime: Runtime, engine: Engine, provider: str) -> None:
    run_stage(runtime, Parcel(Stage.RECONCILE, provider, tuple(doubts_of(engine, provider))))


def make_by_hand(simulated: Simulator, provider: str, **more: Any) -> str:
    """Buy a picture past the queue, under the account's own key; return its id at the provider."""
    path, body = BY_HAND[provider]
    body = {**body, **more}
    headers = {"x-api-key": "sim-test", "authorization": "Bearer sim-test"}
    before = len(simulated.bill()["lines"])
    httpx.post(simulated.addresses()[provider] + path, json=body, headers=headers).raise_for_status()
    (line,) = simulated.bill()["lines"][before:]
    return names(line)[0]


def names(line: dict[str, Any]) -> list[str]:
    """By what a provider calls the pictures of one line of its bill."""
    return [line["submission_id"]] if line["provider"] == "banatie" else line["upstream_ids"]


def bought(simulated: Simulator) -> Counter[str]:
    return Counter(name for line in simulated.bill()["lines"] for name in names(line))


def as_if_sent_a_minute_ago(engine: Engine) -> None:
    """Let the spans of all calls overlap, as those of calls that take a minute do."""
    rows.rows(
        engine,
        "UPDATE submission SET opened_at = opened_at - interval '1 minute', "
        "visible_by = (SELECT max(visible_by) FROM submission)",
    )


def adopted(engine: Engine) -> Counter[str]:
    """How often each picture at a provider is ours."""
    return Counter(found.upstream_id for found in rows.rows(engine, "SELECT upstream_id FROM image"))


def money(client: Client) -> tuple[Decimal, Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["reserved"], line["held"]


def charged(simulated: Simulator, provider: str) -> Decimal:
    return Decimal(simulated.bill()["totals"].get(provider, {"amount": "0"})["amount"])


def ledger_is_the_bill(client: Client, simulated: Simulator, provider: str) -> bool:
    return money(client) == (charged(simulated, provider), 0, 0)


def held_within_the_bill(client: Client, simulated: Simulator, provider: str) -> bool:
    settled, reserved, held = money(client)
    return reserved == 0 and settled <= charged(simulated, provider) <= settled + held


@contextmanager
def opened(
    database_url: str, endpoints: Endpoints, simulated: Simulator, **changes: dict[str, Any]
) -> Iterator[Runtime]:
    """Yield a runtime of accounts at all five providers; `changes` are of their settings, by account."""
    accounts = five_accounts(simulated.url)
    accounts["getimg"]["prices"] = {MODEL["getimg"]: "0.035"}
    for name, changed in changes.items():
        accounts[name] = {**accounts.get(name, {}), **changed}
    settings = settings_for(database_url, endpoints, simulated.url, accounts=accounts, held_recheck_seconds=3600)
    with runtime_for(settings, endpoints) as made:
        yield made
