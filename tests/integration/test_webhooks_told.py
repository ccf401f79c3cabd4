"""Who hears what and when: a batch that settles again, rows that are still on their way, and many slow receivers."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import anyio
import psycopg
import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import inbox
from shared.db.jobs.insert_rows import JobTimes
from shared.db.jobs.resolve import resolve
from shared.db.jobs.transitions import Move
from shared.db.payments.submissions import Answer
from shared.db.webhooks import deliveries, settled
from shared.lifecycle import JobState, Outcome
from shared.settings import Settings
from tests.support import held, rows
from tests.support.drain import on_loop, settings_for
from tests.support.outcome import BLOOM
from tests.support.receiver import Message, Receiver, receiver
from worker.runtime import Runtime
from worker.upkeep.webhooks import WebhookSender

KEY = SecretStr("k" * 32)
HAND_IN = """SELECT genqueue.enqueue('b', '[{"custom_id": "late", "provider": "bloom", "prompt": "a harbour"}]')"""


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url, webhook_key=KEY.get_secret_value())


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def settle(engine: Engine) -> None:
    with transaction(engine) as connection:
        settled.tell(connection)


def told(engine: Engine) -> list[tuple[int, dict[str, int]]]:
    found = rows.rows(engine, "SELECT data FROM delivery WHERE type = 'batch.settled' ORDER BY created_at")
    return [(row.data["revision"], row.data["jobs"]) for row in found]


def hear_of_settled(client: Client, shop: Receiver) -> None:
    client.add_webhook(f"{shop.url}/hook", types=["batch.settled"])


def lost_again(engine: Engine) -> None:
    """Lose the call of the job that is due."""
    (intent,) = rows.open_intents(engine, rows.claim(engine))
    answer = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")
    terms: dict[str, Any] = {"code": "answer_lost", "note": "lost", "on_hold": True}
    assert rows.settle(
        engine, intent, answer, Move(intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, 86400, **terms)
    )


def test_a_batch_is_not_settled_while_rows_of_it_wait_to_be_checked(
    client: Client, engine: Engine, shop: Receiver, database_url: str
) -> None:
    hear_of_settled(client, shop)
    client.enqueue([{"custom_id": "a", **BLOOM}], batch="b")
    with psycopg.connect(database_url) as app:
        app.execute(HAND_IN)
    client.cancel(batch="b")
    settle(engine)
    assert told(engine) == []
    with transaction(engine) as connection:
        assert inbox.take(connection, "b", JobTimes(3600, 7200), actor="worker") == 1
    client.cancel(batch="b")
    settle(engine)
    assert told(engine) == [(1, {"cancelled": 2})]


def test_a_batch_whose_last_waiting_row_became_no_job_is_settled_after_all(
    client: Client, engine: Engine, shop: Receiver, database_url: str
) -> None:
    hear_of_settled(client, shop)
    client.enqueue([{"custom_id": "a", **BLOOM}], batch="b")
    with psycopg.connect(database_url) as app:
        app.execute(HAND_IN)
    client.enqueue([{"custom_id": "late", **BLOOM}], batch="b")
    client.cancel(batch="b")
    settle(engine)
    assert told(engine) == []
    with transaction(engine) as connection:
        assert inbox.take(connection, "b", JobTimes(3600, 7200), actor="worker") == 1
    settle(engine)
    assert told(engine) == [(1, {"cancelled": 2})]


def test_a_job_that_was_sent_again_and_is_held_again_settles_its_batch_again(
    client: Client, engine: Engine, shop: Receiver
) -> None:
    hear_of_settled(client, shop)
    (job,) = held.held(engine, batch="b")
    settle(engine)
    with transaction(engine) as connection:
        resolve(connection, job, resend=True, charged=None, actor="person")
    lost_again(engine)
    settle(engine)
    assert [revision for revision, _ in told(engine)] == [1, 2]


def test_a_job_that_was_retried_and_failed_again_within_a_second_settles_its_batch_again(
    client: Client, engine: Engine, shop: Receiver
) -> None:
    hear_of_settled(client, shop)
    held.refused(engine, batch="b")
    settle(engine)
    client.retry(client.plan_retry(batch="b"))
    (intent,) = rows.open_intents(engine, rows.claim(engine))
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="provider_rejected", note="no")
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED, error_code="provider_rejected", error="no"), step)
    settle(engine)
    assert told(engine) == [(1, {"failed": 1}), (2, {"failed": 1})]


def test_a_look_that_changes_nothing_settles_no_batch_again(client: Client, engine: Engine, shop: Receiver) -> None:
    hear_of_settled(client, shop)
    held.held(engine, batch="b")
    settle(engine)
    client.set_policy("b", "resend")  # leaves a line with each held job, and news
    assert rows.rows(engine, "SELECT 1 FROM batch_news")
    settle(engine)
    assert [revision for revision, _ in told(engine)] == [1]


def test_slow_receivers_with_a_backlog_leave_every_place_that_gets_free_to_another(
    client: Client, runtime: Runtime, engine: Engine, shop: Receiver
) -> None:
    heard = Event()

    def slow(_message: Message) -> int:
        # The first eight of each wait until the other one has heard all.
        assert heard.wait(10)
        return 204

    with receiver() as lame:
        lame.answer = slow
        for _ in range(4):
            client.add_webhook(f"{lame.url}/hook", types=["job.*"], batch_prefix="b")
        client.add_webhook(f"{shop.url}/hook", types=["job.*"], batch_prefix="b")
        client.enqueue([{"custom_id": f"j{number}", **BLOOM} for number in range(40)], batch="b")
        client.cancel(batch="b")
        send_until_heard(runtime, shop, heard, 40)
        assert len(lame.got) <= 4 * 8


def test_a_place_goes_first_to_the_endpoint_with_the_fewest_in_hand(
    client: Client, engine: Engine, shop: Receiver
) -> None:
    made = [client.add_webhook(f"{shop.url}/{name}", types=["job.*"]).id for name in "abc"]
    client.enqueue([{"custom_id": f"j{number}", **BLOOM} for number in range(20)], batch="b")
    client.cancel(batch="b")
    busy = {made[0]: 7, made[1]: 2}
    with transaction(engine) as connection:
        claimed = deliveries.claim(connection, most=6, each=8, busy=busy)
    places = [sum(one.endpoint_id == endpoint for one in claimed) for endpoint in made]
    assert places in ([0, 2, 4], [0, 1, 5])
    with transaction(engine) as connection:
        assert len(deliveries.claim(connection, most=90, each=8, busy=busy)) == 1 + 6 + 8


def send_until_heard(runtime: Runtime, shop: Receiver, heard: Event, count: int) -> None:
    """Send until a receiver got so many, then let the others answer."""

    async def work() -> None:
        sender = WebhookSender(runtime, KEY)
        try:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    while len(shop.got) < count:
                        await sender.look(group)
                        await anyio.sleep(0.02)
                    heard.set()
        finally:
            await sender.close()

    on_loop(runtime, work)
