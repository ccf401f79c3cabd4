"""Webhooks: written with what they tell of, sent at least once, signed, and never to a private address."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.client.webhooks import NewEndpoint
from shared.db.engine import DatabaseUnavailableError, Engine, transaction
from shared.db.webhooks import deliveries, settled
from shared.db.webhooks.schedule import FAILURES_BEFORE_PROBES
from shared.settings import Settings, SettingsError
from shared.webhooks import TYPES
from tests.support import held, rows, waiting
from tests.support.command import genqueue
from tests.support.drain import drain, on_loop, settings_for
from tests.support.outcome import BLOOM, ended
from tests.support.receiver import Message, Receiver, receiver
from worker.runtime import Runtime
from worker.upkeep.webhooks import WebhookSender

KEY = SecretStr("k" * 32)
QUICK = (0.0,) * 10
EVENTS = int(os.environ.get("DOORS_EVENTS", "200"))
"""Events in the proof that none is lost; `make doors-long` sends 10,000."""


@pytest.fixture
def settings(database_url: str, endpoints: Endpoints, simulated: Simulator) -> Settings:
    return settings_for(database_url, endpoints, simulated.url, webhook_key=KEY.get_secret_value())


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def send(
    runtime: Runtime,
    until: Callable[[], bool],
    *,
    schedule: tuple[float, ...] = QUICK,
    seconds: float = 20,
    key: SecretStr = KEY,
    before: SecretStr | None = None,
) -> None:
    """Send what is due until `until()`; raises TimeoutError after `seconds`."""

    async def work() -> None:
        sender = WebhookSender(runtime, key, schedule, before)
        try:
            with anyio.fail_after(seconds):
                async with anyio.create_task_group() as group:
                    while not until():
                        await sender.look(group)
                        await anyio.sleep(0.02)
        finally:
            await sender.close()

    on_loop(runtime, work)


def test_a_database_that_is_away_while_old_events_are_deleted_does_not_end_the_sender(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def away(_connection: object) -> int:
        tried.append("prune")
        raise DatabaseUnavailableError("the database is away")

    async def work() -> None:
        sender = WebhookSender(runtime, KEY)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(sender.run)
                await anyio.to_thread.run_sync(waiting.until, lambda: len(tried) > 1)
                group.cancel_scope.cancel()
        await sender.close()

    monkeypatch.setattr(deliveries, "prune", away)
    on_loop(runtime, work)
    assert len(tried) >= 2


def settle(engine: Engine) -> None:
    with transaction(engine) as connection:
        settled.tell(connection)


def events(engine: Engine) -> list[str]:
    return [row.type for row in rows.rows(engine, "SELECT type FROM delivery ORDER BY created_at, type")]


def over(engine: Engine) -> Callable[[], bool]:
    return lambda: rows.rows(engine, "SELECT 1 FROM delivery WHERE due_at IS NOT NULL") == []


def add(client: Client, shop: Receiver, *types: str, prefix: str = "") -> NewEndpoint:
    return client.add_webhook(f"{shop.url}/hook", types=types or TYPES, batch_prefix=prefix)


def cancelled(client: Client, batch: str = "b", custom_id: str = "a", **row: Any) -> None:
    """End a job without a worker."""
    client.enqueue([{"custom_id": custom_id, **BLOOM, **row}], batch=batch)
    client.cancel(batch=batch)


def test_a_job_that_ends_is_told_with_its_facts_and_a_signature_that_verifies(
    client: Client, runtime: Runtime, engine: Engine, shop: Receiver
) -> None:
    made = add(client, shop, "job.*", "batch.settled")
    client.enqueue([{"custom_id": "hero", "metadata": {"sku": 7}, **BLOOM, "n": 2}], batch="spring")
    drain(runtime, ended(client, "spring"))
    settle(engine)
    send(runtime, over(engine))
    told = {event["type"]: event for event in (one.verified(made.secret.get_secret_value()) for one in shop.got)}
    job = client.find_job("spring/hero")
    assert told["job.succeeded"]["data"] == {
        "job_id": str(job),
        "batch": "spring",
        "custom_id": "hero",
        "provider": "bloom",
        "account": "bloom",
        "state": "succeeded",
        "images_asked": 2,
        "images_stored": 2,
        "cost": {"settled": "2", "unit": "credit"},
        "metadata": {"sku": 7},
    }
    assert told["batch.settled"]["data"] == {
        "batch": "spring",
        "revision": 1,
        "jobs": {"succeeded": 1},
        "cost": [{"unit": "credit", "settled": "2", "held": "0"}],
    }
    assert b"harbour" not in b"".join(message.body for message in shop.got)


def test_an_event_is_there_if_and_only_if_its_transition_is(client: Client, engine: Engine, shop: Receiver) -> None:
    add(client, shop, "job.cancelled")
    client.enqueue([{"custom_id": "a", **BLOOM}], batch="b")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO job_event (job_id, epoch, from_state, to_state, actor) "
            "SELECT id, 0, 'queued', 'cancelled', 'x' FROM job"
        )
        assert connection.exec_driver_sql("SELECT count(*) FROM delivery").scalar_one() == 1
        connection.rollback()
    assert events(engine) == []


def test_without_an_endpoint_nothing_is_written(client: Client, engine: Engine) -> None:
    cancelled(client)
    assert rows.rows(engine, "SELECT 1 FROM delivery UNION ALL SELECT 1 FROM batch_news") == []


def test_an_endpoint_is_told_only_of_its_types_and_batches(client: Client, engine: Engine, shop: Receiver) -> None:
    add(client, shop, "job.failed")
    add(client, shop, "job.cancelled", prefix="shop-")
    cancelled(client, "shop-1")
    cancelled(client, "news-1")
    (one,) = rows.rows(engine, "SELECT type, data ->> 'batch' AS batch FROM delivery")
    assert tuple(one) == ("job.cancelled", "shop-1")


def test_a_held_job_is_told_once_for_each_reason(client: Client, engine: Engine, shop: Receiver) -> None:
    add(client, shop, "job.held")
    held.held(engine, batch="b")
    assert events(engine) == ["job.held"]
    rows.rows(
        engine,
        "INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code) "
        "SELECT id, epoch, state, state, 'x', error_code FROM job",
    )
    assert events(engine) == ["job.held"]


def test_a_batch_is_told_settled_once_and_again_with_a_higher_revision(
    client: Client, engine: Engine, shop: Receiver
) -> None:
    add(client, shop, "batch.settled")
    client.enqueue([{"custom_id": name, **BLOOM} for name in "ab"], batch="b")
    client.cancel(job=client.find_job("b/a"))
    settle(engine)
    assert events(engine) == []
    client.cancel(batch="b")
    for _ in range(3):
        settle(engine)
    cancelled(client, custom_id="c")
    settle(engine)
    told = [row.data for row in rows.rows(engine, "SELECT data FROM delivery ORDER BY created_at")]
    assert [(data["revision"], data["jobs"]) for data in told] == [(1, {"cancelled": 2}), (2, {"cancelled": 3})]


def test_an_account_that_pauses_and_resumes_is_told(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    rows.register(engine, rows.account_row())
    add(client, shop, "account.*")
    client.pause("bloom", "for a test")
    client.resume("bloom")
    told = rows.rows(engine, "SELECT type, data FROM delivery ORDER BY created_at")
    assert [(row.type, row.data["account"], row.data["code"]) for row in told] == [
        ("account.paused", "bloom", "paused_by_hand"),
        ("account.resumed", "bloom", "paused_by_hand"),
    ]


def test_a_failed_delivery_comes_again_with_the_same_id_until_it_is_taken(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    made = add(client, shop, "job.cancelled")
    shop.answer = lambda _message: 500 if len(shop.got) < 4 else 200
    cancelled(client)
    send(runtime, over(engine))
    assert len(shop.got) == 4
    assert len(shop.ids()) == 1
    assert all(message.verified(made.secret.get_secret_value()) for message in shop.got)
    (one,) = rows.rows(engine, "SELECT tries, status, error FROM delivery")
    assert tuple(one) == (4, 200, None)


def test_after_the_last_of_ten_tries_a_delivery_is_given_up_and_can_be_replayed(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    made = add(client, shop, "job.cancelled")
    shop.answer = lambda _message: 500
    cancelled(client)
    # The tenth failure in a row makes the endpoint one that is probed, which would add a wait to this test.
    send(runtime, over(engine))
    assert len(shop.got) == 10
    (one,) = client.webhook_deliveries(str(made.id), only_failed=True)
    assert (one["tries"], one["status"], one["error"]) == (10, 500, "HTTP 500")
    shop.answer = lambda _message: 200
    client.resume_webhook(str(made.id))
    now = datetime.now(UTC)
    assert client.replay_span(str(made.id), now - timedelta(hours=1), now + timedelta(hours=1)) == 1
    send(runtime, over(engine))
    assert (len(shop.got), len(shop.ids())) == (11, 1)
    assert client.replay_delivery(one["id"]) == 1
    send(runtime, over(engine))
    assert (len(shop.got), len(shop.ids())) == (12, 1)


def test_a_410_switches_the_endpoint_off_and_tells_the_others(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    gone = client.add_webhook(f"{shop.url}/gone", types=["job.cancelled"])
    add(client, shop, "endpoint.disabled")
    shop.answer = lambda message: 410 if message.path == "/gone" else 204
    cancelled(client)
    send(runtime, lambda: len(shop.got) == 2 and over(engine)())
    states = {row["url"]: row["disabled_code"] for row in client.webhooks()}
    assert states == {f"{shop.url}/gone": "gone", f"{shop.url}/hook": None}
    assert {message.path for message in shop.got} == {"/gone", "/hook"}
    cancelled(client, custom_id="b")
    assert events(engine) == ["job.cancelled", "endpoint.disabled"]
    assert client.resume_webhook(f"{shop.url}/gone") == gone.id


def test_an_endpoint_that_fails_is_probed_one_delivery_at_a_time_and_the_others_wait_unspent(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    made = add(client, shop, "job.cancelled")
    rows.rows(
        engine, "UPDATE endpoint SET failures = :failures, failing_since = now()", failures=FAILURES_BEFORE_PROBES
    )
    client.enqueue([{"custom_id": f"n{number}", **BLOOM} for number in range(8)], batch="b")
    client.cancel(batch="b")
    shop.answer = lambda _message: 500
    send(runtime, lambda: rows.rows(engine, "SELECT 1 FROM endpoint WHERE held_until > now() AND failures > 10") != [])
    assert len(shop.got) == 1
    assert [row.tries for row in rows.rows(engine, "SELECT tries FROM delivery ORDER BY tries DESC")] == [1] + [0] * 7
    shop.answer = lambda _message: 200
    rows.rows(engine, "UPDATE endpoint SET held_until = now()")
    send(runtime, over(engine))
    assert len(shop.ids()) == 8
    assert {row["failures"] for row in client.webhooks()} == {0}
    assert made.id


def test_an_endpoint_that_failed_for_days_is_switched_off(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    add(client, shop, "job.cancelled")
    rows.rows(engine, "UPDATE endpoint SET failures = 20, failing_since = now() - interval '121 hours'")
    shop.answer = lambda _message: 500
    cancelled(client)
    send(runtime, lambda: client.webhooks()[0]["disabled_at"] is not None)
    assert client.webhooks()[0]["disabled_code"] == "failing"
    assert client.webhooks()[0]["waiting"] == 1


def test_a_redirect_is_a_failure_and_is_not_followed(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    add(client, shop, "job.cancelled")
    shop.answer = lambda _message: (307, {"location": f"{shop.url}/elsewhere"})
    cancelled(client)
    send(runtime, lambda: len(shop.got) >= 2)
    assert {message.path for message in shop.got} == {"/hook"}
    assert {row.error for row in rows.rows(engine, "SELECT error FROM delivery")} <= {"HTTP 307"}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest", "a link-local or metadata address"),
        ("https://10.1.2.3/hook", "a private address"),
        ("http://example.com/hook", "plain http"),
        ("https://[::1]/hook", "a loopback address"),
        ("https://user:secret@example.com/hook", "the link holds credentials"),
    ],
)
def test_nothing_is_sent_to_an_address_that_is_not_public(
    client: Client, engine: Engine, runtime: Runtime, url: str, words: str
) -> None:
    client.add_webhook(url, types=["job.cancelled"])
    cancelled(client)
    send(runtime, lambda: rows.rows(engine, "SELECT 1 FROM delivery WHERE error IS NOT NULL") != [])
    (one,) = rows.rows(engine, "SELECT error, status FROM delivery")
    assert words in one.error
    assert "secret" not in one.error
    assert one.status is None


def test_retry_after_postpones_the_next_try(client: Client, engine: Engine, runtime: Runtime, shop: Receiver) -> None:
    add(client, shop, "job.cancelled")
    shop.answer = lambda _message: (429, {"retry-after": "3600"})
    cancelled(client)
    send(runtime, lambda: rows.rows(engine, "SELECT 1 FROM delivery WHERE status = 429") != [])
    (one,) = rows.rows(engine, "SELECT extract(epoch FROM due_at - now()) AS wait FROM delivery")
    assert 3500 < one.wait <= 3600


def test_what_a_sender_that_died_had_in_hand_is_sent_by_the_next(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    add(client, shop, "job.cancelled")
    cancelled(client)
    with transaction(engine) as connection:
        assert len(deliveries.claim(connection, most=5, each=5)) == 1
    with transaction(engine) as connection:
        assert deliveries.claim(connection, most=5, each=5) == []
    rows.rows(engine, "UPDATE delivery SET due_at = now()")  # as at the end of its lease
    send(runtime, over(engine))
    assert len(shop.got) == 1


def test_a_slow_receiver_leaves_room_for_the_others(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    with receiver() as slow:
        slow.answer = lambda _message: 500
        client.add_webhook(f"{slow.url}/slow", types=["job.cancelled"])
        add(client, shop, "job.cancelled")
        client.enqueue([{"custom_id": f"n{number}", **BLOOM} for number in range(60)], batch="b")
        client.cancel(batch="b")
        with transaction(engine) as connection:
            claimed = deliveries.claim(connection, most=40, each=5)
        assert sorted(one.url for one in claimed).count(f"{slow.url}/slow") == 5
        assert len(claimed) == 10


def test_after_a_rotation_the_old_and_the_new_secret_verify(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    made = add(client, shop, "job.cancelled")
    new = client.rotate_webhook(str(made.id)[:13])
    cancelled(client)
    send(runtime, over(engine))
    for secret in (made.secret, new):
        assert shop.got[0].verified(secret.get_secret_value())["type"] == "job.cancelled"


def test_a_new_master_key_signs_beside_the_one_before_until_receivers_know_it(
    settings: Settings, client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    new_key = SecretStr("n" * 40)
    made = add(client, shop, "job.cancelled")
    with Client(settings=settings.model_copy(update={"webhook_key": new_key})) as renewed:
        new = renewed.rotate_webhook(str(made.id))
    cancelled(client)
    send(runtime, over(engine), key=new_key, before=KEY)
    for secret in (made.secret, new):
        assert shop.got[0].verified(secret.get_secret_value())["type"] == "job.cancelled"


def test_the_list_has_one_line_for_each_webhook_and_its_beginning_of_an_id_names_it(
    client: Client, database_url: str
) -> None:
    long = "https://shop.example/hooks/" + "x" * 80
    made = [client.add_webhook(f"{long}{number}", types=list(TYPES)) for number in range(3)]
    env = {"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"}
    head, *listed = genqueue("webhook", "list", env=env).out.splitlines()
    assert max(map(len, [head, *listed])) <= 80
    for line, one in zip(listed, made, strict=True):
        assert str(one.id).startswith(line.split()[0])
        assert client.webhook_deliveries(line.split()[0], only_failed=False, limit=1) == []
    whole = [json.loads(line) for line in genqueue("webhook", "list", "--json", env=env).out.splitlines()]
    assert [row["id"] for row in whole] == [str(one.id) for one in made]


def test_the_database_holds_no_secret(client: Client, engine: Engine, shop: Receiver) -> None:
    made = add(client, shop)
    stored = str(rows.rows(engine, "SELECT CAST(endpoint AS text) FROM endpoint"))
    assert made.secret.get_secret_value().removeprefix("whsec_") not in stored


def test_without_a_master_key_no_endpoint_is_added(settings: Settings) -> None:
    keyless = settings.model_copy(update={"webhook_key": SecretStr("")})
    with Client(settings=keyless) as client, pytest.raises(SettingsError, match="GENQUEUE_WEBHOOK_KEY is not set"):
        client.add_webhook("https://example.com/hook")


def test_erasing_a_job_takes_its_metadata_out_of_what_is_sent_again(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    add(client, shop, "job.cancelled")
    cancelled(client, metadata={"customer": "somebody"})
    assert "somebody" not in str(rows.rows(engine, "SELECT data FROM delivery"))
    send(runtime, over(engine))
    assert b"somebody" in shop.got[0].body
    client.carry_out_erase(client.plan_erase(batch="b"))
    client.replay_delivery(rows.rows(engine, "SELECT id FROM delivery")[0].id)
    send(runtime, over(engine))
    assert b"somebody" not in shop.got[1].body


@pytest.mark.timeout(300 + EVENTS)
def test_a_receiver_that_fails_redirects_and_breaks_off_loses_no_event(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    secret = add(client, shop, "job.cancelled").secret.get_secret_value()
    seen: set[str] = set()

    def answer(message: Message) -> int | tuple[int, dict[str, str]]:
        kind = int(message.id[-1], 16)
        if message.id in seen or kind > 6:
            seen.add(message.id)
            return 200
        seen.add(message.id)
        if kind == 6:
            raise ConnectionResetError
        return (302, {"location": f"{shop.url}/elsewhere"}) if kind == 5 else 500

    shop.answer = answer
    client.enqueue([{"custom_id": f"n{number}", **BLOOM} for number in range(EVENTS)], batch="b")
    while client.cancel(batch="b").more:
        pass
    assert client.totals("b") == {"cancelled": EVENTS}  # no job's end waits for a delivery
    send(runtime, over(engine), seconds=60 + EVENTS)
    assert len(shop.ids()) == EVENTS
    assert {message.path for message in shop.got} == {"/hook"}
    assert {message.verified(secret)["type"] for message in shop.got} == {"job.cancelled"}
    assert rows.rows(engine, "SELECT 1 FROM delivery WHERE delivered_at IS NULL") == []


@pytest.mark.parametrize(
    ("url", "named", "warned"),
    [
        ("http://127.0.0.1:9999/hook", "", "127.0.0.1"),
        ("http://127.0.0.1:9999/hook", "127.0.0.1", None),
        ("https://10.0.0.7/hook", "", "10.0.0.7"),
        ("https://[::1]/hook", "", "::1"),
        ("https://localhost/hook", "", "localhost"),
        ("http://shop.example/hook", "", "shop.example"),
        ("https://shop.example/hook", "", None),
    ],
)
def test_whoever_adds_an_address_that_workers_do_not_post_to_is_warned_with_the_setting_that_names_it(
    url: str, named: str, warned: str | None, client: Client, database_url: str
) -> None:
    env = {"GENQUEUE_DATABASE_URL": database_url, "GENQUEUE_WEBHOOK_KEY": KEY.get_secret_value()}
    ran = genqueue("webhook", "add", url, env={**env, "GENQUEUE_ALLOW_PRIVATE_URLS": named})
    assert ran.code == 0
    assert [row["url"] for row in client.webhooks()] == [url]
    said = " ".join(ran.err.split())
    assert ("warning: workers post only to public addresses over https" in said) is (warned is not None)
    if warned:
        assert f"{warned} is told nothing unless GENQUEUE_ALLOW_PRIVATE_URLS of the workers names it" in said
