"""Pauses that end by themselves: a free look decides, then one paid call, then two at once; a person's stays."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.account_settings import RateWindow
from shared.db import accounts, pauses, rate_windows
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Move
from shared.db.pauses import Probing
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from tests.support import rows
from tests.support.drain import runtime_for, settings_for
from tests.support.living import living
from tests.support.outcome import BLOOM, GETIMG, paid, paid_posts
from tests.support.waiting import until
from worker.upkeep.probe import take_turn

KEY = "sim-test"
LOOK = 0.2
OFTEN = Probing(0.001, 0.001)
IN_THE_AIR = 4
Working = Callable[..., Any]


@pytest.fixture
def working(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Working:
    """A function that runs so many workers, hasty to look again, and yields a client."""

    @contextmanager
    def start(*, workers: int = 1, getimg: dict[str, Any] | None = None, **changes: Any) -> Iterator[Client]:
        given: dict[str, Any] = {"probe_first_seconds": LOOK, "probe_max_seconds": LOOK, **changes}
        priced = {"prices": {"seedream-5-lite": "0.035"}, "concurrency": IN_THE_AIR, **(getimg or {})}
        settings = settings_for(database_url, endpoints, simulated.url, getimg=priced, **given)
        with ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(living(stack.enter_context(runtime_for(settings, endpoints))))
            yield stack.enter_context(Client(settings=settings))

    return start


def account(client: Client, name: str = "getimg") -> Any:
    return next(row for row in client.accounts() if row["name"] == name)


def paused(client: Client, name: str = "getimg") -> Any:
    return account(client, name)["paused_code"]


def refused(simulated: Simulator, status: int) -> int:
    return len(simulated.requests(route="submit", status=str(status)))


def looks(simulated: Simulator) -> int:
    return sum(1 for entry in simulated.requests(method="GET") if entry["path"].endswith("/billing/balance"))


def test_credits_that_end_at_the_137th_of_500_jobs_cost_no_job_a_try_and_a_top_up_is_found_by_itself(
    working: Working, simulated: Simulator
) -> None:
    simulated.change_account("getimg", KEY, balance=str(137 * Decimal("0.035")))
    with working() as client:
        client.enqueue([GETIMG] * 500, batch="b")
        until(lambda: client.totals("b") == {"succeeded": 137, "queued": 363}, 120)
        until(
            lambda: paused(client) == "account_out_of_credit"
        )  # the last purchase may settle before the next is refused
        seen = looks(simulated)
        until(lambda: looks(simulated) >= seen + 3)
        assert 1 <= refused(simulated, 402) <= IN_THE_AIR
        waiting = client.jobs("b", state="queued", limit=500)
        assert {row["error_code"] for row in waiting} <= {None, "account_out_of_credit"}
        assert {client.story(row["id"])["job"]["tries"] for row in waiting[:20]} == {0}
        simulated.change_account("getimg", KEY, add="100")
        assert client.wait("b", timeout_seconds=150) == {"succeeded": 500}
        assert refused(simulated, 402) <= IN_THE_AIR
    assert paid(simulated) == 500


def test_a_top_up_too_small_for_what_was_refused_starts_nothing(working: Working, simulated: Simulator) -> None:
    simulated.change_account("getimg", KEY, balance="0")
    with working() as client:
        client.enqueue([GETIMG] * 3, batch="b")
        until(lambda: paused(client))
        refusals = refused(simulated, 402)
        simulated.change_account("getimg", KEY, add="0.034")
        seen = looks(simulated)
        until(lambda: looks(simulated) >= seen + 3)
        assert (refused(simulated, 402), paused(client)) == (refusals, "account_out_of_credit")
        simulated.change_account("getimg", KEY, add="1")
        assert client.wait("b", timeout_seconds=30) == {"succeeded": 3}


def test_where_no_balance_is_shown_one_paid_call_a_look_finds_out(working: Working, simulated: Simulator) -> None:
    empty = {"match": {"provider": "bloom", "route": "submit"}, "fault": "402", "times": None}
    unreadable = {"match": {"provider": "bloom", "route": "account"}, "fault": "wrong_content", "times": None}
    simulated.put_faults([empty, unreadable])
    with working() as client:
        client.enqueue([BLOOM] * 12, batch="b")
        until(lambda: refused(simulated, 402))
        until(lambda: paused(client, "bloom"))
        first = refused(simulated, 402)
        until(lambda: refused(simulated, 402) >= first + 4)
        calls = [entry["time"] for entry in simulated.requests(route="submit", status="402")][first:]
        gaps = [later - earlier for earlier, later in pairwise(calls)]
        assert min(gaps) >= LOOK * 0.9
        simulated.put_faults([])
        assert client.wait("b", timeout_seconds=60) == {"succeeded": 12}
    assert paid(simulated) == 12


def test_a_key_that_is_put_right_at_the_provider_is_found_by_itself(working: Working, simulated: Simulator) -> None:
    with working(getimg={"api_key": "late-key"}) as client:
        client.enqueue([GETIMG] * 5, batch="b")
        until(lambda: paused(client))
        assert paused(client) == "account_unauthorized"
        assert paid(simulated) == 0
        simulated.change_account("getimg", "late-key", balance="10")
        assert client.wait("b", timeout_seconds=30) == {"succeeded": 5}
    assert paid(simulated) == 5


def test_an_account_that_is_unbanned_goes_on_by_itself(working: Working, simulated: Simulator) -> None:
    simulated.change_account("getimg", KEY, banned=True)
    with working() as client:
        client.enqueue([GETIMG] * 5, batch="b")
        until(lambda: paused(client))
        assert paused(client) == "account_forbidden"
        refusals = paid_posts(simulated)
        seen = looks(simulated)
        until(lambda: looks(simulated) >= seen + 2)
        assert paid_posts(simulated) == refusals <= IN_THE_AIR
        simulated.change_account("getimg", KEY, banned=False)
        assert client.wait("b", timeout_seconds=30) == {"succeeded": 5}
    assert paid(simulated) == 5


def test_after_an_outage_one_call_tries_and_one_more_doubt_pauses_again(working: Working, simulated: Simulator) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "error_5xx", "times": None}])
    with working(doubts_before_pause=IN_THE_AIR) as client:
        client.enqueue([GETIMG] * 12, batch="b")
        until(lambda: paused(client))
        assert paused(client) == "provider_failing"
        until(lambda: client.totals("b").get("in_doubt", 0) >= IN_THE_AIR)
        first = client.totals("b")["in_doubt"]
        until(lambda: client.totals("b")["in_doubt"] >= first + 3)
        calls = [entry["time"] for entry in simulated.requests(route="submit", status="500")][first:]
        gaps = [later - earlier for earlier, later in pairwise(calls)]
        assert min(gaps) >= LOOK * 0.9
        simulated.put_faults([])
        totals = client.wait("b", timeout_seconds=30)
        assert totals["succeeded"] == 12 - totals["in_doubt"] == paid(simulated)
        assert paid_posts(simulated) == 12


def test_an_address_that_is_wrong_is_never_tried_again_by_itself(working: Working, simulated: Simulator) -> None:
    astray = {"kind": "redirect_to", "url": "https://elsewhere.example/"}
    simulated.put_faults([{"match": {"route": "submit"}, "fault": astray, "times": 4}])
    with working() as client:
        client.enqueue([GETIMG] * 4, batch="b")
        until(lambda: paused(client))
        assert paused(client) == "account_address_wrong"
        assert account(client)["probe_at"] is None


def test_a_pause_by_hand_is_never_ended_by_a_look(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as connection:
        assert pauses.pause(connection, "bloom", code="paused_by_hand", reason="no", action_url=None)
        assert pauses.probe(connection, "bloom", OFTEN) is None
        assert not pauses.resume(connection, "bloom", ended="account_out_of_credit")
        locked = accounts.lock(connection, "bloom", wait=True)
        assert locked is not None
        assert locked.paused


def test_a_pause_by_hand_stays_although_the_account_was_paused_already(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    with transaction(engine) as connection:
        pausing: dict[str, Any] = {"reason": "no", "action_url": None}
        pauses.pause(connection, "bloom", code="account_out_of_credit", probing=OFTEN, **pausing)
        pauses.pause(connection, "bloom", code="paused_by_hand", **pausing)
    with transaction(engine) as connection:
        assert pauses.probe(connection, "bloom", OFTEN) is None
        assert not pauses.resume(connection, "bloom", ended="account_out_of_credit")


def test_of_many_workers_one_takes_the_look_and_the_waits_between_looks_grow(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    probing = Probing(30, 3600)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="provider_failing", reason="no", action_url=None, probing=probing)

    def take(_number: int) -> bool:
        with transaction(engine) as connection:
            return pauses.probe(connection, "bloom", probing) is not None

    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(take, range(8)))
        waits = []
        for _ in range(6):
            rows.rows(engine, "UPDATE account SET probe_at = now()")
            assert sum(threads.map(take, range(8))) == 1
            (wait,) = rows.rows(engine, "SELECT extract(epoch FROM probe_at - now()) FROM account WHERE name = 'bloom'")
            waits.append(float(wait[0]))
    assert waits == sorted(waits)
    assert waits[-1] > 10 * waits[0]


def test_a_look_that_has_no_room_in_the_rate_window_stays_due(engine: Engine) -> None:
    rows.register(engine, rows.account_row(windows=(RateWindow(requests=1, seconds=60, scope="all"),)))
    probing = Probing(30, 3600)
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code="provider_failing", reason="no", action_url=None, probing=probing)
        rate_windows.take(connection, "bloom", "poll", 1)
    rows.rows(engine, "UPDATE account SET probe_at = now()")
    with transaction(engine) as connection:
        assert take_turn(connection, "bloom", probing) is None
        assert pauses.due_probes(connection, ["bloom"]) == ["bloom"]
    rows.rows(engine, "DELETE FROM request_slot")
    with transaction(engine) as connection:
        assert take_turn(connection, "bloom", probing) is not None
    with transaction(engine) as connection:
        assert pauses.due_probes(connection, ["bloom"]) == []


def pause(engine: Engine, code: str = "account_out_of_credit") -> None:
    with transaction(engine) as connection:
        pauses.pause(connection, "bloom", code=code, reason="no", action_url=None, probing=OFTEN)


def resume(engine: Engine, code: str | None = "account_out_of_credit") -> None:
    with transaction(engine) as connection:
        assert pauses.resume(connection, "bloom", ended=code)


def buy(engine: Engine, intent: Intent) -> None:
    with transaction(engine) as connection:
        pauses.reset_failures(connection, "bloom", bought=True)
    after = Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 60)
    assert rows.settle(engine, intent, rows.accepted(), after)


@pytest.fixture
def claimed(engine: Engine) -> Callable[[], list[Intent]]:
    """Ask for as many intents as there are jobs, by claims as old as the oldest message."""
    rows.register(engine, rows.account_row(concurrency=8))
    rows.add(engine, [rows.new_job(str(number)) for number in range(60)])

    def begin() -> list[Intent]:
        rows.rows(engine, "UPDATE job SET due_at = now(), claimed_by = NULL WHERE state = 'queued'")
        return rows.open_intents(engine, rows.claim(engine, count=20))

    return begin


@pytest.mark.parametrize("ended", ["account_out_of_credit", None])
def test_after_a_pause_calls_begin_with_one_and_double_with_each_purchase(
    engine: Engine, claimed: Callable[[], list[Intent]], ended: str | None
) -> None:
    pause(engine)
    assert claimed() == []
    resume(engine, ended)
    (first,) = claimed()
    assert claimed() == []
    buy(engine, first)
    second, third = claimed()
    assert claimed() == []
    buy(engine, second)
    assert len(claimed()) == 3
    buy(engine, third)
    assert len(claimed()) == 5
    assert rows.rows(engine, "SELECT slow_start_limit FROM account WHERE name = 'bloom'") == [(None,)]


def test_calls_begun_before_the_pause_count_after_it(engine: Engine, claimed: Callable[[], list[Intent]]) -> None:
    before = claimed()
    assert len(before) == 8
    pause(engine)
    resume(engine)
    assert claimed() == []
    for intent in before:
        back = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 60)
        assert rows.settle(engine, intent, Answer(Outcome.REJECTED), back)
    assert len(claimed()) == 1


def test_messages_of_the_time_before_the_pause_open_no_more_than_the_ramp_allows(engine: Engine) -> None:
    rows.register(engine, rows.account_row(concurrency=8))
    rows.add(engine, [rows.new_job(str(number)) for number in range(8)])
    parcels = [rows.claim(engine, count=2) for _ in range(4)]
    pause(engine)
    resume(engine)
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda parcel: rows.open_intents(engine, parcel), parcels))
    assert sum(len(intents) for intents in opened) == 1
