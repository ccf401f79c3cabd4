"""Drift against the simulator: its balance beside our ledger, with foreign charges, held money and top-ups."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db import accounts, folding
from shared.db.engine import Engine, transaction
from shared.db.payments import drift, submissions
from shared.db.payments.drift import BalanceSpan, FigureVerdict
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from tests.support import rows
from tests.support.browsing import signed_in
from tests.support.command import genqueue
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.outcome import ended
from worker import event_loop
from worker.runtime import Runtime
from worker.upkeep.balances import ask

ROWS: dict[str, dict[str, Any]] = {
    "bloom": {"provider": "bloom", "prompt": "a quiet harbour", "n": 2},
    "posteverywhere": {"provider": "posteverywhere", "prompt": "a quiet harbour", "model": "ideogram-v2"},
}
PRICE = {"bloom": 2, "posteverywhere": 8}


@pytest.fixture
def runtime(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Iterator[Runtime]:
    known = five_accounts(simulated.url)
    chosen = {name: {**known[name], "quiet_seconds": 3600, "concurrency": 6} for name in ROWS}
    # Its library gives no links: without this, five jobs in a row would stop the account.
    chosen["posteverywhere"]["media_without_url"] = "succeed"
    settings = settings_for(database_url, endpoints, simulated.url, accounts=chosen)
    with runtime_for(settings, endpoints) as made:
        yield made


@pytest.fixture
def client(runtime: Runtime) -> Iterator[Client]:
    with Client(settings=runtime.settings) as opened:
        drain(runtime, lambda: len(opened.accounts()) == len(ROWS))
        yield opened


@pytest.fixture(params=list(ROWS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def survey(runtime: Runtime, name: str) -> None:
    account = runtime.accounts[name]

    async def look() -> None:
        await ask(runtime, account)
        await account.get.close()

    event_loop.run(look)


def buy(client: Client, runtime: Runtime, name: str, batch: str, count: int = 3) -> None:
    client.enqueue([ROWS[name]] * count, batch=batch)
    drain(runtime, ended(client, batch))


def lose(client: Client, runtime: Runtime, simulated: Simulator, name: str) -> None:
    """Have job `a` charged and its answer lost; nobody looks for it within the test."""
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([{**ROWS[name], "custom_id": "a"}], batch="b")
    drain(runtime, lambda: client.totals("b") == {"checking": 1})


def current(client: Client, name: str) -> BalanceSpan:
    (span,) = [one for one in client.balance_spans() if one.account == name and one.current]
    return span


def foreign(simulated: Simulator, name: str, amount: int) -> None:
    """Another user of the same account spends, or tops it up where negative."""
    simulated.change_account(name, "sim-test", add=-amount)


def test_what_we_buy_is_what_the_balance_loses(
    name: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    survey(runtime, name)
    buy(client, runtime, name, "b")
    survey(runtime, name)
    span = current(client, name)
    assert (span.spent, span.verdict) == (3 * PRICE[name], FigureVerdict.EXACT)
    assert span.expected == span.last.balance == span.base.balance - 3 * PRICE[name]


def test_a_foreign_charge_is_drift_of_exactly_its_amount(
    name: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    survey(runtime, name)
    buy(client, runtime, name, "b", 2)
    foreign(simulated, name, 7)
    buy(client, runtime, name, "c", 1)
    survey(runtime, name)
    span = current(client, name)
    assert (span.verdict, span.drift, span.spent) == (FigureVerdict.MORE, 7, 3 * PRICE[name])


def test_a_lost_paid_call_is_explained_by_its_held_money_until_somebody_says_otherwise(
    name: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    survey(runtime, name)
    lose(client, runtime, simulated, name)
    survey(runtime, name)
    span = current(client, name)
    assert (span.verdict, span.by_held, span.difference) == (FigureVerdict.EXPLAINED, True, PRICE[name])
    client.resolve(client.find_job("a"), resend=False, charged=Decimal(0))
    survey(runtime, name)
    assert (current(client, name).verdict, current(client, name).drift) == (FigureVerdict.MORE, PRICE[name])


def test_a_lost_call_that_was_charged_leaves_nothing_to_explain(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    survey(runtime, "bloom")
    lose(client, runtime, simulated, "bloom")
    client.resolve(client.find_job("a"), resend=False, charged=Decimal(2))
    survey(runtime, "bloom")
    assert current(client, "bloom").verdict is FigureVerdict.EXACT


def test_a_top_up_is_no_drift_and_begins_a_new_span(
    name: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    survey(runtime, name)
    buy(client, runtime, name, "b", 1)
    survey(runtime, name)
    foreign(simulated, name, -500)
    survey(runtime, name)
    buy(client, runtime, name, "c", 1)
    survey(runtime, name)
    spans = [span for span in client.balance_spans() if span.account == name]
    assert [(span.verdict, span.spent, span.current) for span in spans] == [
        (FigureVerdict.EXACT, PRICE[name], False),
        (FigureVerdict.EXACT, PRICE[name], True),
    ]


def test_drift_found_before_a_top_up_stays_on_the_bill(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    survey(runtime, "bloom")
    foreign(simulated, "bloom", 7)
    survey(runtime, "bloom")
    foreign(simulated, "bloom", -500)
    survey(runtime, "bloom")
    assert [(span.drift, span.current) for span in client.balance_spans()] == [(7, False), (0, True)]


def test_readings_in_the_midst_of_many_paid_calls_show_no_drift_that_is_none(
    name: str, client: Client, runtime: Runtime, endpoints: Endpoints
) -> None:
    survey(runtime, name)
    client.enqueue([ROWS[name]] * 40, batch="b")
    seen: list[BalanceSpan] = []
    with runtime_for(runtime.settings, endpoints) as another:
        drain(another, lambda: True)  # a runtime is whole once its loop has run

        def look() -> bool:
            survey(another, name)
            seen.append(current(client, name))
            return ended(client)()

        drain(runtime, look)
    survey(runtime, name)
    assert {span.verdict for span in seen} <= {FigureVerdict.EXACT, FigureVerdict.EXPLAINED}
    assert len([span for span in seen if span.spent]) > 1
    assert (current(client, name).verdict, current(client, name).spent) == (FigureVerdict.EXACT, 40 * PRICE[name])


def test_readings_do_not_pile_up(client: Client, runtime: Runtime, engine: Engine) -> None:
    survey(runtime, "posteverywhere")
    buy(client, runtime, "posteverywhere", "b", 6)
    survey(runtime, "posteverywhere")
    found = rows.rows(engine, "SELECT base FROM balance_reading WHERE account = 'posteverywhere' ORDER BY id")
    assert [row.base for row in found] == [True, False]


def command(runtime: Runtime, *arguments: str) -> Any:
    return genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": runtime.settings.database_url.get_secret_value()})


def test_the_bill_shows_drift_and_accepting_it_begins_anew(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine, tmp_path: Path
) -> None:
    survey(runtime, "bloom")
    buy(client, runtime, "bloom", "b", 1)
    foreign(simulated, "bloom", 5)
    survey(runtime, "bloom")
    shown = command(runtime, "bill").out
    assert "5 more taken" in shown
    assert "reported (UTC)" in shown
    assert re.search(r"\d, read (?:\w{3} \d\d )?\d\d:\d\d  credit", shown)
    with signed_in(engine, tmp_path) as browser:
        page = browser.get("/money").text.partition("<h2>Balances</h2>")[2]
    (span,) = client.balance_spans()
    assert "read (UTC)" in page
    assert f'datetime="{span.last.at.isoformat()}"' in page
    told = [json.loads(line) for line in command(runtime, "bill", "--json").out.splitlines()]
    (balance,) = [line for line in told if "drift" in line]
    assert (balance["account"], balance["drift"], balance["difference"], balance["spent"]) == ("bloom", "5", "5", "2")
    assert int(balance["expected"]) - int(balance["reported"]) == 5
    assert "more taken" not in command(runtime, "bill", "b").out
    assert "NO  balance bloom" in command(runtime, "doctor", "--no-settings").out
    assert command(runtime, "bill", "--accept-drift", "nobody").code == 2
    assert command(runtime, "bill", "--accept-drift", "bloom").code == 0
    assert "ok  balance bloom" in command(runtime, "doctor", "--no-settings").out
    assert [(span.drift, span.current) for span in client.balance_spans()] == [(5, False), (0, True)]


def read(engine: Engine, balance: int | Decimal, *, asked_seconds: float = 0) -> None:
    with transaction(engine) as connection:
        accounts.record_survey(connection, "bloom", balance=Decimal(balance), notes=None)
        drift.record(connection, "bloom", Decimal(balance), asked_seconds=asked_seconds)


def only(engine: Engine) -> BalanceSpan:
    with transaction(engine) as connection:
        (span,) = drift.spans(connection)
    return span


def test_a_call_in_the_air_may_be_charged_already_and_one_just_settled_not_yet(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    read(engine, 100)
    intent = rows.one_intent(engine)
    read(engine, 98)
    assert (only(engine).verdict, only(engine).difference) == (FigureVerdict.EXPLAINED, 2)
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, rows.accepted())
    read(engine, 100, asked_seconds=60)  # asked before the charge, recorded after it
    assert only(engine).last.balance == 98
    read(engine, 98, asked_seconds=60)
    assert (only(engine).verdict, only(engine).spent) == (FigureVerdict.EXACT, 2)


def test_a_span_that_began_in_the_midst_of_calls_begins_anew_when_all_is_quiet(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    intent = rows.one_intent(engine)
    read(engine, 98)
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, rows.accepted())
    read(engine, 98)
    assert (only(engine).base.is_clean, only(engine).base.settled) == (True, 2)
    read(engine, 97)
    assert (only(engine).verdict, only(engine).drift) == (FigureVerdict.MORE, 1)


def test_a_balance_that_was_wrong_for_one_reading_leaves_no_drift_when_it_is_back(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    read(engine, 100)
    read(engine, 0)
    assert (only(engine).verdict, only(engine).drift) == (FigureVerdict.MORE, 100)
    read(engine, 100)
    assert (only(engine).verdict, only(engine).base.balance) == (FigureVerdict.EXACT, 100)
    read(engine, 93)
    assert (only(engine).verdict, only(engine).drift) == (FigureVerdict.MORE, 7)


@pytest.mark.parametrize("back", [99, 101])
def test_a_balance_that_comes_back_as_another_was_topped_up_and_its_drift_stays(back: int, engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    for balance in (100, 93, back):
        read(engine, balance)
    with transaction(engine) as connection:
        assert [(span.drift, span.current) for span in drift.spans(connection)] == [(7, False), (0, True)]


def test_the_noise_of_binary_fractions_is_no_top_up(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    for balance in ("9.7", "9.70000000000000004"):
        read(engine, Decimal(balance))
    assert only(engine).verdict is FigureVerdict.EXACT


def test_a_held_call_without_a_price_leaves_the_span_open(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    read(engine, 100)
    rows.add(engine, [rows.new_job("a")])
    (intent,) = rows.open_intents(engine, rows.claim(engine), price=None)
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, Answer(Outcome.UNKNOWN))
    read(engine, 91)
    assert (only(engine).verdict, only(engine).difference) == (FigureVerdict.OPEN, 9)


def test_a_reading_counts_calls_of_all_times_whether_their_deltas_were_added_up_or_not(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    for _ in range(5):
        intent = rows.one_intent(engine)
        with transaction(engine) as connection:
            submissions.record(connection, intent.submission_id, rows.accepted())
        read(engine, 100)
        rows.rows(engine, "UPDATE ledger SET at = at - interval '40 minutes'")
        with transaction(engine) as connection:
            folding.fold(connection)
    last = only(engine).last
    assert (last.settled, last.in_air, last.held_ever) == (10, 0, 0)


def test_readings_of_one_account_at_once_leave_one_span(engine: Engine) -> None:
    rows.register(engine, rows.account_row())
    together = threading.Barrier(8)

    def one(number: int) -> None:
        together.wait(10)
        read(engine, 100 - number // 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert only(engine).verdict is FigureVerdict.EXACT
    assert len(rows.rows(engine, "SELECT 1 FROM balance_reading")) == 2
