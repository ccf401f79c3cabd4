"""Cancelling: free before the intent; after it the job is followed, its pictures stored and its cost recorded."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Literal

import pytest

from ops.simulator import Simulator, SimulatorConfig
from ops.simulator.config import BloomSettings
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs.cancel import cancel
from shared.db.jobs.transitions import Move
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, ended, ends, only, paid, paid_posts
from tests.support.waiting import until
from worker.runtime import Runtime

CANCELLED = {"a": ("cancelled", None)}
SLOW = {"kind": "slow", "seconds": 60}
LOST = [{"match": {"route": "submit"}, "fault": "reply_lost"}]
COST = {"bloom": Decimal(1), "getimg": Decimal("0.035")}


@pytest.fixture
def simulated() -> Iterator[Simulator]:
    """A simulator that takes long enough over a picture to be seen at it."""
    slow = BloomSettings(requests_per_minute=None, latency=(60.0, 60.0))
    with Simulator(SimulatorConfig(time_scale=100, pixels=64, bloom=slow)).serve() as running:
        yield running


def money(client: Client) -> tuple[Decimal, Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["reserved"], line["held"]


def cancel_in(state: str, client: Client, runtime: Runtime, job: dict[str, Any], until: Callable[[], bool]) -> None:
    """Work on one job, cancel it when it stands in `state`, and go on until `until`."""
    client.enqueue([{**job, "custom_id": "a"}], batch="b")
    followed: list[int] = []

    def look() -> bool:
        if not followed and rows.states(runtime.engine) == {state: 1}:
            followed.append(client.cancel(batch="b").followed)
        return bool(followed) and until()

    drain(runtime, look)
    assert followed == [1]


def assert_stored_and_accounted_for(client: Client, simulated: Simulator, provider: str) -> None:
    assert ends(client) == CANCELLED
    (image,) = client.results("b")
    assert (image["state"], image["job_state"], image["cost"]) == ("stored", "cancelled", COST[provider])
    assert image["s3_uri"]
    assert image["sha256"]
    assert money(client) == (COST[provider], 0, 0)
    assert paid(simulated) == 1
    assert only(client)["job"]["finished_at"]


@pytest.mark.parametrize(
    ("job", "state", "route"),
    [
        (GETIMG, "submitting", "submit"),
        (GETIMG, "transferring", "download"),
        (BLOOM, "submitting", "submit"),
        (BLOOM, "pending", "nothing"),
        (BLOOM, "processing", "nothing"),
        (BLOOM, "transferring", "download"),
    ],
)
def test_a_job_cancelled_after_its_intent_is_followed_to_its_end_and_ends_cancelled(
    job: dict[str, Any], state: str, route: str, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": route}, "fault": SLOW}])
    cancel_in(state, client, runtime, job, ended(client))
    assert_stored_and_accounted_for(client, simulated, job["provider"])


def test_a_job_cancelled_in_doubt_is_adopted_and_ends_cancelled(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults(LOST)
    cancel_in("in_doubt", client, runtime, BLOOM, lambda: ends(client) == CANCELLED)
    assert_stored_and_accounted_for(client, simulated, "bloom")


def test_a_job_cancelled_in_doubt_that_was_not_bought_is_let_go_by_the_look_up(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "close_after_read", "times": None}])
    cancel_in("in_doubt", client, runtime, BLOOM, lambda: ends(client)["a"][0] == "in_doubt")
    simulated.put_faults([])
    client.enqueue([{**BLOOM, "prompt": "a later purchase"}], batch="later")
    drain(runtime, lambda: ends(client)["a"][0] == "cancelled")
    assert money(client) == (0, 0, 0)
    assert paid_posts(simulated) == paid(simulated) + 1 == 2


@pytest.mark.parametrize(
    ("resend", "charged", "books"),
    [
        (True, None, (0, 0, COST["getimg"])),
        (True, Decimal(0), (0, 0, 0)),
        (False, None, (0, 0, COST["getimg"])),
        (False, COST["getimg"], (COST["getimg"], 0, 0)),
    ],
)
def test_a_job_cancelled_in_doubt_ends_cancelled_however_a_person_resolves_it(
    resend: Literal[True, False],
    charged: Decimal | None,
    books: tuple[Any, ...],
    client: Client,
    runtime: Runtime,
    simulated: Simulator,
) -> None:
    simulated.put_faults(LOST)
    client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert client.cancel(job=client.find_job("a")).followed == 1
    client.resolve(client.find_job("a"), resend=resend, charged=charged)
    assert ends(client)["a"][0] == "cancelled"
    assert money(client) == books
    drain(runtime, ended(client))
    assert paid_posts(simulated) == 1


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.NOT_SENT])
def test_a_job_cancelled_while_it_is_submitted_is_never_sent_again(outcome: Outcome, engine: Engine) -> None:
    intent = rows.one_intent(engine)
    with transaction(engine) as connection:
        assert cancel(connection, job=intent.claim.job_id, actor="person").followed == 1
    again = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 0, tries=1)
    assert rows.settle(engine, intent, Answer(outcome, error_code="rate_limited"), again)
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.due_at, job.claimed_by) == ("cancelled", None, None)
    assert job.finished_at
    assert rows.claim(engine) == []
    assert rows.rows(engine, "SELECT sum(reserved), sum(settled), sum(held) FROM ledger") == [(0, 0, 0)]


def test_a_queued_job_is_cancelled_for_nothing_and_its_message_buys_nothing(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    claims = rows.claim(engine, count=2)
    with transaction(engine) as connection:
        done = cancel(connection, batch="b", actor="person")
    assert (done.ended, done.followed, done.more) == (2, 0, False)
    assert rows.open_intents(engine, claims) == []
    assert rows.rows(engine, "SELECT count(*) FROM submission") == [(0,)]


def test_cancelling_twice_is_told_once(client: Client, engine: Engine) -> None:
    intent = rows.one_intent(engine)
    assert client.cancel(batch="b").followed == 1
    again = client.cancel(batch="b")
    assert (again.ended, again.followed, again.more) == (0, 0, False)
    codes = [event["code"] for event in client.story(intent.claim.job_id)["events"]]
    assert codes.count("cancel_requested") == 1


def test_a_whole_batch_is_cancelled_while_senders_take_and_pay_for_its_rows(client: Client, engine: Engine) -> None:
    rows.register(engine, rows.account_row(concurrency=1000))
    rows.add(engine, [rows.new_job(str(number)) for number in range(1200)])

    def send(number: int) -> int:
        opened = 0
        while rows.rows(engine, "SELECT 1 FROM job WHERE state = 'queued' LIMIT 1"):
            for intent in rows.open_intents(engine, rows.claim(engine, count=5, worker=str(number))):
                again = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 0)
                rows.settle(engine, intent, Answer(Outcome.REJECTED), again)
                opened += 1
        return opened

    with ThreadPoolExecutor(4) as threads:
        sending = [threads.submit(send, number) for number in range(4)]
        until(lambda: rows.rows(engine, "SELECT 1 FROM submission LIMIT 1"))
        done = client.cancel(batch="b")
        assert not done.more
        begun = rows.rows(engine, "SELECT count(*) FROM submission")[0][0]
        assert sum(each.result() for each in sending) >= 1
    assert done.ended + done.followed == 1200
    assert client.totals("b") == {"cancelled": 1200}
    assert rows.rows(engine, "SELECT count(*) FROM submission")[0][0] == begun


def test_cancelling_while_workers_submit_pays_for_nothing_afterwards(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "custom_id": str(number)} for number in range(40)], batch="b")
    done: list[Any] = []

    def look() -> bool:
        if not done and paid(simulated) >= 5:
            done.append(client.cancel(batch="b"))
        return bool(done) and ended(client)()

    drain(runtime, look)
    ((ended_free, followed, more),) = [(one.ended, one.followed, one.more) for one in done]
    totals = client.totals("b")
    assert not more
    assert ended_free > 0
    assert totals["cancelled"] == ended_free + followed
    assert totals.get("succeeded", 0) + followed == paid(simulated) == 40 - ended_free
    stored = [row for row in client.results("b") if row["state"] == "stored"]
    assert len(stored) == paid(simulated)
    assert money(client) == (paid(simulated), 0, 0)
