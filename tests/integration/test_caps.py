"""Spend caps: kept to the cent by any number of senders, and what waits for room goes on once there is some."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from threading import Event
from typing import Any

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client import is_settled
from shared.db import accounts
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.jobs import claims
from shared.db.jobs.resolve import resolve
from shared.db.jobs.transitions import Move
from shared.db.payments import caps, submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome, Stage
from tests.support import rows
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.outcome import GETIMG, ended, paid
from tests.support.waiting import until
from worker.runtime import Runtime

PRICE = Decimal("0.035")
CAP = Decimal("10.00")
FIT = 285  # 285 x 0.035 = 9.975
IN_LINE = "SELECT count(*) FROM job WHERE state = 'queued' AND NOT on_hold"


def account(name: str, *, daily_cap: Decimal | None = None) -> AccountRow:
    return AccountRow(name, "getimg", "USD", 100, (), daily_cap)


def spent(engine: Engine) -> Decimal:
    (row,) = rows.rows(engine, "SELECT coalesce(sum(reserved + settled + held), 0) FROM ledger")
    return Decimal(row[0])


def buy(engine: Engine, intent: Intent) -> None:
    after = Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 60)
    assert rows.settle(engine, intent, rows.accepted(), after)


def lose(engine: Engine, intent: Intent) -> None:
    held = Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 60, code="answer_lost", on_hold=True)
    assert rows.settle(engine, intent, Answer(Outcome.UNKNOWN), held)


def refuse(engine: Engine, intent: Intent) -> None:
    back = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 60)
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED), back)


def return_to_line(engine: Engine, name: str = "bloom") -> int:
    with transaction(engine) as connection:
        return caps.requeue_affordable(connection, name, name)


def begin(engine: Engine, count: int = 1, **terms: Any) -> list[Intent]:
    return rows.open_intents(engine, rows.claim(engine, count=count), **terms)


def buy_until_the_line_is_empty(engine: Engine, name: str, names: list[str], failed: Event) -> None:
    """Do as a worker does, for each account in turn: claim a handful, write the intents, record the purchases."""
    while not failed.is_set() and rows.rows(engine, IN_LINE)[0][0]:
        for each in names:
            with transaction(engine) as connection:
                accounts.lock(connection, each, wait=True)
                found = claims.claim(connection, Stage.SUBMIT, each, count=7, worker=name, lease_seconds=60)
            for intent in rows.open_intents(engine, found.together, price=PRICE, account=each):
                buy(engine, intent)


def spend_at_once(engine: Engine, names: list[str], senders: int = 12) -> None:
    """Have as many senders spend as the engine has connections: one that had to wait for one could wait for good.

    If one fails, all end: what it had begun would keep the others waiting.
    """
    failed = Event()

    def spend(number: int) -> None:
        try:
            buy_until_the_line_is_empty(engine, f"w{number}", names[number % 2 :] + names, failed)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(senders) as threads:
        working = [threads.submit(spend, number) for number in range(senders)]
    for each in working:
        each.result()


def states(engine: Engine) -> dict[tuple[str, bool, str | None], int]:
    found = rows.rows(engine, "SELECT state, on_hold, error_code, count(*) FROM job GROUP BY 1, 2, 3")
    return {(row[0], row[1], row[2]): row[3] for row in found}


def test_many_senders_on_two_accounts_buy_exactly_what_a_batch_cap_has_room_for(engine: Engine) -> None:
    rows.register(engine, account("one"), account("two"))
    jobs = [rows.new_job(str(number), account="getimg") for number in range(320)]
    rows.add(engine, jobs, caps={"getimg": CAP})
    spend_at_once(engine, ["one", "two"])
    assert spent(engine) == FIT * PRICE <= CAP
    assert states(engine) == {
        ("transferring", False, None): FIT,
        ("queued", True, caps.BATCH_CAP): len(jobs) - FIT,
    }


def test_many_senders_keep_a_daily_cap_and_the_next_day_has_room_again(engine: Engine) -> None:
    rows.register(engine, account("one", daily_cap=Decimal("0.35")))
    rows.add(engine, [rows.new_job(str(number), account="getimg") for number in range(30)])
    with ThreadPoolExecutor(8) as threads:
        handfuls = [rows.claim(engine, account="one", count=5) for _ in range(6)]
        opened = list(threads.map(lambda some: rows.open_intents(engine, some, price=PRICE, account="one"), handfuls))
    intents = [intent for some in opened for intent in some]
    assert len(intents) == 10
    for intent in intents:
        buy(engine, intent)
    rows.rows(engine, "UPDATE job SET due_at = now(), claimed_by = NULL WHERE state = 'queued'")
    again = rows.claim(engine, account="one", count=20)
    assert rows.open_intents(engine, again, price=PRICE, account="one") == []
    assert not rows.rows(engine, "SELECT 1 FROM job WHERE on_hold")
    rows.rows(engine, "UPDATE submission SET opened_at = opened_at - interval '1 day'")
    rows.rows(engine, "UPDATE account SET not_before = NULL")
    rows.rows(engine, "UPDATE job SET due_at = now(), claimed_by = NULL WHERE state = 'queued'")
    tomorrow = rows.claim(engine, account="one", count=20)
    assert len(rows.open_intents(engine, tomorrow, price=PRICE, account="one")) == 10


def test_two_batches_of_one_account_do_not_disturb_each_other(engine: Engine) -> None:
    for batch in ("small", "free"):
        rows.add(engine, [rows.new_job(f"{batch}-{number}") for number in range(5)], batch=batch)
    with transaction(engine) as connection:
        caps.set_for(connection, "small", {"bloom": Decimal(4)})
    for intent in begin(engine, 10):
        buy(engine, intent)

    def all_bought() -> bool:
        for one in begin(engine, 10):
            buy(engine, one)
        return not rows.rows(engine, IN_LINE)[0][0]

    until(all_bought)
    found = rows.rows(engine, "SELECT name, on_hold, count(*) FROM job JOIN batch b ON b.id = batch_id GROUP BY 1, 2")
    assert {(row[0], row[1]): row[2] for row in found} == {
        ("small", False): 2,
        ("small", True): 3,
        ("free", False): 5,
    }


def test_a_refusal_while_calls_are_in_the_air_waits_and_does_not_park(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")], caps={"bloom": Decimal(3)})
    (first,) = begin(engine, 2)
    (waiting,) = rows.rows(engine, "SELECT *, due_at - now() AS wait FROM job WHERE state = 'queued'")
    assert (waiting.on_hold, waiting.claimed_by, waiting.error_code) == (False, None, None)
    assert waiting.wait.total_seconds() < 3
    refuse(engine, first)
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE id = :id", id=waiting.id)
    (second,) = begin(engine)
    assert second.claim.job_id == waiting.id


def test_one_refusal_parks_the_whole_line_of_its_batch_and_no_other(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(20)], caps={"bloom": Decimal(1)})
    rows.add(engine, [rows.new_job("other")], batch="other")
    assert begin(engine) == []
    assert states(engine) == {("queued", True, caps.BATCH_CAP): 20, ("queued", False, None): 1}


def test_jobs_on_hold_go_on_by_themselves_once_money_comes_back(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")], caps={"bloom": Decimal(3)})
    (lost,) = begin(engine)
    lose(engine, lost)
    assert begin(engine) == []
    assert states(engine)["queued", True, caps.BATCH_CAP] == 1
    assert return_to_line(engine) == 0
    with transaction(engine) as connection:
        resolve(connection, lost.claim.job_id, resend=False, charged=Decimal(0), actor="person")
    assert return_to_line(engine) == 1
    assert len(begin(engine)) == 1


def test_what_costs_what_was_reserved_wakes_no_job_on_hold(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")], caps={"bloom": Decimal(3)})
    (lost,) = begin(engine)
    lose(engine, lost)
    assert begin(engine) == []
    with transaction(engine) as connection:
        submissions.record(connection, lost.submission_id, rows.accepted())
    assert return_to_line(engine) == 0


def test_answers_of_another_provider_wake_no_job_on_hold(engine: Engine) -> None:
    jobs = [rows.new_job("a"), rows.new_job("b"), rows.new_job("c", account="getimg")]
    rows.add(engine, jobs, caps={"bloom": Decimal(1)})
    (other,) = rows.open_intents(engine, rows.claim(engine, account="getimg"), account="getimg")
    assert begin(engine) == []
    refuse(engine, other)
    assert return_to_line(engine) == 0


def test_what_turned_out_cheaper_leaves_room(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(3)], caps={"bloom": Decimal(4)})
    first, second = begin(engine, 2)
    buy(engine, first)
    lose(engine, second)
    assert begin(engine) == []
    with transaction(engine) as connection:
        resolve(connection, second.claim.job_id, resend=False, charged=Decimal("0.5"), actor="person")
    assert return_to_line(engine) == 1
    assert begin(engine, price=Decimal("1.5"))
    assert spent(engine) == Decimal(4)


def test_a_job_without_a_known_price_is_put_on_hold_unless_its_account_allows_it(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    assert begin(engine, price=None, allow_unknown_price=False) == []
    assert states(engine) == {("queued", True, caps.PRICE_UNKNOWN): 1}
    with transaction(engine) as connection:
        assert caps.requeue_priced(connection, ["getimg"]) == 0
        assert caps.requeue_priced(connection, ["bloom"]) == 1
    assert len(begin(engine, price=None, allow_unknown_price=True)) == 1


def test_a_cap_cannot_be_kept_without_a_price_and_so_nothing_is_bought(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")], caps={"bloom": Decimal(100)})
    assert begin(engine, price=None) == []
    assert states(engine) == {("queued", True, caps.PRICE_UNKNOWN): 1}


def test_without_its_cap_a_job_of_unknown_price_goes_on(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")], caps={"bloom": Decimal(100)})
    assert begin(engine, price=None) == []
    with transaction(engine) as connection:
        assert caps.set_for(connection, "b", {})
    assert len(begin(engine, price=None)) == 1


def test_a_daily_cap_cannot_be_kept_without_a_price_either(engine: Engine) -> None:
    rows.register(engine, account("one", daily_cap=Decimal(100)))
    rows.add(engine, [rows.new_job("a", account="getimg")])
    assert rows.open_intents(engine, rows.claim(engine, account="one"), price=None, account="one") == []
    assert states(engine) == {("queued", True, caps.PRICE_UNKNOWN): 1}


def test_what_costs_nothing_is_bought_under_a_cap_of_nothing(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")], caps={"bloom": Decimal(0)})
    assert len(begin(engine, price=Decimal(0))) == 1


def test_a_job_on_hold_can_be_cancelled_for_nothing(client: Client, engine: Engine) -> None:
    client.enqueue([GETIMG], batch="b", max_cost=["getimg=0.01"])
    assert rows.open_intents(engine, rows.claim(engine, account="getimg"), account="getimg") == []
    assert client.totals("b") == {"on_hold": 1}
    assert client.cancel(batch="b").ended == 1
    assert client.totals("b") == {"cancelled": 1}


def test_the_same_file_with_another_cap_replaces_it_and_lets_jobs_on_hold_try_again(
    client: Client, engine: Engine
) -> None:
    client.enqueue([GETIMG], batch="b", max_cost=["getimg=1"])
    assert rows.open_intents(engine, rows.claim(engine, account="getimg"), account="getimg") == []
    assert client.totals("b") == {"on_hold": 1}
    again = client.enqueue([GETIMG], batch="b", max_cost=["5"])
    assert (again.given, again.added) == (1, 0)
    assert client.totals("b") == {"queued": 1}
    with transaction(engine) as connection:
        assert caps.of_batch(connection, "b") == {"getimg": Decimal(5)}
    client.enqueue([GETIMG], batch="b")
    with transaction(engine) as connection:
        assert caps.of_batch(connection, "b") == {"getimg": Decimal(5)}


@pytest.fixture
def priced(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Any:
    getimg = {"prices": {"seedream-5-lite": PRICE}, "allow_unknown_price": False, "concurrency": 25}
    settings = settings_for(database_url, endpoints, simulated.url, getimg=getimg)
    second = settings.accounts["getimg"].model_copy(update={"provider": "getimg"})
    return settings.model_copy(update={"accounts": {**settings.accounts, "second": second}})


def drain_together(runtimes: list[Runtime], client: Client) -> None:
    with ThreadPoolExecutor(len(runtimes)) as threads:
        for each in [threads.submit(drain, runtime, ended(client)) for runtime in runtimes]:
            each.result()


def test_two_workers_with_two_accounts_keep_a_cap_and_a_raised_cap_lets_the_rest_go_on(
    priced: Any, endpoints: Endpoints, simulated: Simulator
) -> None:
    with ExitStack() as stack:
        runtimes = [stack.enter_context(runtime_for(priced, endpoints)) for _ in range(2)]
        client = stack.enter_context(Client(settings=priced))
        with transaction(runtimes[0].engine) as connection:
            accounts.register(connection, [each.row for each in runtimes[0].accounts.values()])
        client.enqueue([GETIMG] * 40, batch="b", max_cost=["getimg=1.00"])
        drain_together(runtimes, client)
        assert client.totals("b") == {"succeeded": 28, "on_hold": 12}
        assert is_settled(client.totals("b"))
        assert Decimal(simulated.bill()["totals"]["getimg"]["amount"]) == 28 * PRICE
        assert {line["key"] for line in simulated.bill()["lines"]} == {"sim-test"}
        on_hold = client.jobs("b", state="queued")
        assert {(row["error_code"], row["error"]) for row in on_hold} == {
            (caps.BATCH_CAP, "the batch has a cap: 0.980 of 1.00 USD are spent or set aside, this needs 0.035")
        }
        assert client.cap("b", ["getimg=20"]) == {"getimg": Decimal(20)}
        drain_together(runtimes, client)
        assert client.totals("b") == {"succeeded": 40}
        assert paid(simulated) == 40
