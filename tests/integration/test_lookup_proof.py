"""Lost calls at providers whose lists and figures lie: nothing is bought twice, whatever they show."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import httpx
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
    buy_all_later,
    fast_simulator,
    finish,
    look_up,
    lose,
    no_look_up,
    opened,
    row,
    until_lost,
)
from tests.support.outcome import paid, paid_posts
from worker.runtime import Runtime

LIES: Final[dict[str, dict[str, Any]]] = {
    "an honest list": {},
    "ten minutes slow": {"clock_seconds": -600},
    "ten minutes fast": {"clock_seconds": 600},
    "ten hours slow": {"clock_seconds": -36_000},
    "oldest first": {"list_order": "oldest"},
    "in no order": {"list_order": "shuffled"},
    "pages of two": {"list_page_limit": 2},
    "pages of two, in no order": {"list_page_limit": 2, "list_order": "shuffled"},
    "pages of one": {"list_page_limit": 1},
    "frozen": {"list_frozen": True},
    "an hour behind": {"list_lag_seconds": 3600},
    "prompts cut": {"prompt_echo": "cut"},
    "prompts decomposed": {"prompt_echo": "nfd"},
    "prompts with other quotes": {"prompt_echo": "typographic"},
    "prompts enhanced": {"prompt_echo": "enhanced"},
    "prompts null": {"prompt_echo": "null"},
    "prompts left out": {"prompt_echo": "absent"},
    "slow and cut": {"clock_seconds": -600, "prompt_echo": "cut"},
}
SOUND: Final = (
    "an honest list",
    "ten minutes slow",
    "ten minutes fast",
    "ten hours slow",
    "oldest first",
    "pages of two",
)
# The prompts are long, accented and quoted, so that each echo changes them.
PROMPTS: Final = 'the "caf\u00e9" of a quiet harbour\'s pilot, ' * 8


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    with fast_simulator().serve() as running:
        yield running


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    with opened(database_url, endpoints, simulated) as made:
        yield made


def pictures(batch: str, count: int = 2) -> list[dict[str, Any]]:
    """Return the rows of some pictures at each provider that has a list."""
    return [row(name, prompt=f"{PROMPTS} {batch} {number}") for name in FINDABLE for number in range(count)]


def buy(client: Client, runtime: Runtime, batch: str, count: int = 2) -> None:
    wanted = pictures(batch, count)
    client.enqueue(wanted, batch=batch)
    assert finish(client, runtime, batch=batch) == {"succeeded": len(wanted)}


def lose_one_each(client: Client, runtime: Runtime, simulated: Simulator, fault: Any = "reply_lost") -> None:
    lose(simulated, fault, times=len(FINDABLE))
    wanted = [row(name, prompt=f"{PROMPTS} lost", custom_id=name) for name in FINDABLE]
    client.enqueue(wanted, batch="b", on_unknown="resend")
    until_lost(client, runtime, len(FINDABLE))


def look_at_all(runtime: Runtime, engine: Engine) -> None:
    for name in FINDABLE:
        look_up(runtime, engine, name)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_a_lost_call_bought_is_never_bought_again_whatever_the_list_shows(
    lie: dict[str, Any], client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, "before")
    simulated.put_settings(dict.fromkeys(FINDABLE, lie))
    lose_one_each(client, runtime, simulated)
    buy(client, runtime, "later")
    look_at_all(runtime, engine)
    assert "queued" not in client.totals("b")
    assert paid(simulated) == paid_posts(simulated) == 5 * len(FINDABLE)
    assert not adopted(engine) - bought(simulated)


@pytest.mark.parametrize("lie", [LIES[name] for name in SOUND], ids=SOUND)
def test_what_was_not_bought_is_sent_again_once_however_odd_a_list_is_that_can_still_prove_it(
    lie: dict[str, Any], client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    buy(client, runtime, "before")
    simulated.put_settings(dict.fromkeys(FINDABLE, lie))
    lose_one_each(client, runtime, simulated, LOST_BEFORE)
    # A clock that jumps is only understood by several pictures.
    buy_all_later(client, runtime, pictures("later"))
    drain(runtime, lambda: client.totals("b") == {"succeeded": len(FINDABLE)})
    assert paid_posts(simulated) == 6 * len(FINDABLE)
    assert paid(simulated) == 5 * len(FINDABLE)


def test_what_a_lost_call_bought_is_not_bought_again_although_another_calls_answer_named_it(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """A provider mixes its answers up: the next call's answer names the picture of the lost one."""
    buy(client, runtime, "before")
    lose_one_each(client, runtime, simulated)
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "repeated_id", "times": len(FINDABLE)}])
    buy(client, runtime, "named", count=1)
    simulated.put_faults([])
    buy(client, runtime, "later")
    look_at_all(runtime, engine)
    assert "queued" not in client.totals("b")
    assert paid(simulated) == paid_posts(simulated) == 6 * len(FINDABLE)


def test_rows_of_strangers_without_prompts_hold_the_call_and_are_said_to_stand_in_the_way(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    buy(client, runtime, "before")
    simulated.put_settings({"bloom": {"list_null_rows": 3}})
    lose_one_each(client, runtime, simulated, LOST_BEFORE)
    buy(client, runtime, "later")
    look_up(runtime, engine, "bloom")
    (job,) = [one for one in client.jobs("b") if one["provider"] == "bloom"]
    assert (job["state"], "too long" in job["error"]) == ("in_doubt", False)
    assert "may be this call's" in job["error"]


def test_a_reference_of_ours_counts_for_the_picture_asked_for_and_four_more_and_the_rest_are_unowned(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated)
    client.enqueue([row("banatie")], batch="b", on_unknown="resend")
    until_lost(client, runtime, 1)
    ours = str(rows.rows(engine, "SELECT id FROM submission")[0].id)
    for _ in range(6):
        simulated.put_faults([])
        body = {"prompt": "copied", "meta": {"genqueue_submission": ours}}
        _post(simulated, body)
    look_up(runtime, engine, "banatie")
    assert finish(client, runtime) == {"succeeded": 1}
    assert len(adopted(engine)) == 5
    assert {"beyond the images that it asked for" in str(stray["note"]) for stray in client.unowned()} == {True}
    assert len(client.unowned()) == 2


def _post(simulated: Simulator, body: dict[str, Any]) -> None:
    url = f"{simulated.addresses()['banatie']}/api/v1/generations"
    httpx.post(url, json=body, headers={"x-api-key": "sim-test"}).raise_for_status()


def has_succeeded(client: Client, batch: str) -> bool:
    return client.totals(batch) == {"succeeded": 1}


@pytest.mark.parametrize("provider", ["bloom"])
def test_a_job_is_sent_again_by_itself_twice_and_then_held(
    provider: str, client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    lose(simulated, LOST_BEFORE, times=None)
    client.enqueue([row(provider)], batch="b", on_unknown="resend")
    for attempt in range(1, 4):
        until_lost(client, runtime, 1)
        simulated.put_faults([])
        later = f"later {attempt}"
        client.enqueue([row(provider, prompt=later)], batch=later)
        drain(runtime, partial(has_succeeded, client, later), seen=no_look_up)
        lose(simulated, LOST_BEFORE, times=None)
        look_up(runtime, engine, provider)
    assert client.totals("b") == {"in_doubt": 1}
    (job,) = client.jobs("b")
    assert job["error_code"] == "proved_unbought"
    assert "sent again 2 times already" in job["error"]
    assert paid_posts(simulated) == 3 + 3
