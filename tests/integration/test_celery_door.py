"""The Celery door on a pipeline's own Redis: orders in, ends out, and what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection
from pydantic import SecretStr
from redis import Redis
from sqlalchemy.exc import DataError

from ops.stack import Endpoints
from producer import Client
from producer.celery_door import CeleryDoor, MessageError, door, open_connection, read_order
from shared.db.engine import DatabaseUnavailableError, Engine
from shared.db.webhooks.deliveries import Reply
from tests.support import rows
from tests.support.command import genqueue
from tests.support.drain import drain
from tests.support.outcome import BLOOM, ended
from tests.support.pipeline import HEARS, QUEUE, Pipeline, open_door
from tests.support.waiting import until
from worker.runtime import Runtime


@pytest.fixture
def broker(endpoints: Endpoints) -> Iterator[SecretStr]:
    """A Redis of the pipeline's own: another database of the one that runs."""
    url = endpoints.broker_url.replace("db=0", "db=7")
    yield SecretStr(url)
    with Redis.from_url(url) as client:
        client.flushdb()


@pytest.fixture
def pipeline(broker: SecretStr) -> Pipeline:
    return Pipeline(broker)


def row(custom_id: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, **BLOOM, **more}


def jobs(engine: Engine) -> list[str]:
    return [job.custom_id for job in rows.rows(engine, "SELECT custom_id FROM job ORDER BY custom_id")]


def test_an_order_becomes_jobs_and_the_end_of_each_comes_back_as_a_task(
    client: Client, runtime: Runtime, engine: Engine, broker: SecretStr, pipeline: Pipeline
) -> None:
    with open_door(client, broker):
        pipeline.send(row("hero", metadata={"order": 7}))
        until(lambda: jobs(engine) == ["hero"])
        drain(runtime, ended(client, "shop"))
        task_id, event = pipeline.hear()
    assert event["id"] == task_id
    assert event["type"] == "job.succeeded"
    assert event["data"]["custom_id"] == "hero"
    assert event["data"]["metadata"] == {"order": 7}
    assert event["data"]["images_stored"] == 1


def test_an_order_that_comes_twice_adds_nothing_and_its_end_is_one_event(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline
) -> None:
    with open_door(client, broker):
        for _ in range(2):
            pipeline.send(row("hero"))
        until(lambda: jobs(engine) == ["hero"] and pipeline.has_no_orders())
        client.cancel(batch="shop")
        assert pipeline.hear()[1]["type"] == "job.cancelled"
        pipeline.send(row("hero"))
        until(pipeline.has_no_orders)
    assert len(rows.rows(engine, "SELECT 1 FROM delivery")) == 1


def test_an_order_that_is_sent_again_brings_an_end_again_that_the_broker_lost(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline
) -> None:
    with open_door(client, broker):
        pipeline.send(row("hero"))
        until(lambda: jobs(engine) == ["hero"])
        client.cancel(batch="shop")
        lost, _ = pipeline.hear()
        pipeline.send(row("hero"))
        again, event = pipeline.hear()
    assert (again, event["type"]) == (lost, "job.cancelled")


def test_a_task_whose_broker_was_away_for_days_hears_of_later_orders(client: Client, engine: Engine) -> None:
    address = json.dumps(["door", "shop", "shop.image_ready"])
    client.enqueue_told([row("a")], batch="shop", address=address)
    client.cancel(batch="shop")
    for _ in range(11):
        rows.rows(engine, "UPDATE delivery SET due_at = now() WHERE due_at IS NOT NULL")
        rows.rows(engine, "UPDATE endpoint SET held_until = NULL, failing_since = failing_since - interval '1 day'")
        for one in client.claim_events('["door",'):
            client.event_sent(one, Reply(1, None, "ConnectionError"))
    assert rows.rows(engine, "SELECT disabled_code FROM endpoint")[0].disabled_code == "failing"
    rows.rows(engine, "DELETE FROM delivery")
    client.enqueue_told([row("b")], batch="shop", address=address)
    client.cancel(batch="shop")
    assert [one.data["custom_id"] for one in client.claim_events('["door",')] == ["b"]


def test_a_task_that_is_switched_off_is_switched_on_by_the_id_that_status_shows(client: Client, engine: Engine) -> None:
    client.enqueue_told([row("a")], batch="shop", address=json.dumps(["door", "shop", "shop.image_ready"]))
    (made,) = rows.rows(
        engine, "UPDATE endpoint SET disabled_at = now(), disabled_code = 'failing' RETURNING CAST(id AS text)"
    )
    client.resume_webhook(made.id)
    assert rows.rows(engine, "SELECT disabled_at FROM endpoint")[0].disabled_at is None


def test_a_job_that_ended_before_its_caller_named_anybody_is_told(
    client: Client, broker: SecretStr, pipeline: Pipeline
) -> None:
    client.enqueue([row("hero")], batch="shop")
    client.cancel(batch="shop")
    with open_door(client, broker):
        pipeline.send(row("hero"))
        assert pipeline.hear()[1]["data"]["state"] == "cancelled"


def test_a_bad_row_refuses_the_whole_order_and_the_caller_hears_why(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline
) -> None:
    with open_door(client, broker):
        message_id = pipeline.send(row("good"), row("bad", n=99))
        _, event = pipeline.hear()
    assert event["type"] == "message.refused"
    assert event["data"]["message_id"] == message_id
    assert event["data"]["faults"] == [{"row": 2, "field": "n", "message": "must be a whole number from 1 to 10"}]
    assert jobs(engine) == []


def test_a_changed_row_under_the_same_custom_id_is_refused(
    client: Client, broker: SecretStr, pipeline: Pipeline
) -> None:
    client.enqueue([row("hero")], batch="shop")
    with open_door(client, broker):
        pipeline.send(row("hero", prompt="another"))
        assert "already holds hero with a different request" in pipeline.hear()[1]["data"]["error"]


def test_what_is_not_json_or_not_an_order_is_dropped_and_the_next_order_is_taken(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline
) -> None:
    with open_connection(broker) as connection:
        send_raw(connection, b"\x80\x04K\x01.", "application/x-python-serialize", "binary")
        send_raw(connection, b"[1, 2", "application/json", "utf-8")
        send_raw(connection, json.dumps({"no": "order"}).encode(), "application/json", "utf-8")
        send_raw(connection, json.dumps([[], {"rows": [], "notify": 7}, {}]).encode(), "application/json", "utf-8")
    pipeline.send(row("hero"))
    with open_door(client, broker):
        until(lambda: jobs(engine) == ["hero"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": "a\x00b"},
        {"batch": "a\ud800b"},
        {"on_unknown": []},
        {"on_unknown": {}},
        {"provider": "bl\x00oom"},
        {"max_cost": {"bloom": "1\x00"}},
        {"rows": [{"custom_id": ["x"], **BLOOM}]},
        {"rows": [{"custom_id": "a\x00", **BLOOM}]},
        {"rows": [{"custom_id": "a", **BLOOM, "metadata": {"a": "\ud800"}}]},
        {"rows": [{"custom_id": "a", **BLOOM, "\ud800": 1}]},
    ],
    ids=repr,
)
def test_an_order_that_cannot_be_taken_is_refused_and_does_not_stop_the_next(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    given = dict(wrong)
    pipeline.send(*given.pop("rows", [row("bad")]), **given)
    pipeline.send(row("good"))
    with open_door(client, broker):
        until(lambda: jobs(engine) == ["good"])
        assert pipeline.hear()[1]["type"] == "message.refused"


@pytest.mark.parametrize("fault", [KeyError("ours"), DataError("INSERT", None, ValueError("no such value"))])
def test_a_fault_that_nobody_foresaw_refuses_one_order_and_the_next_is_taken(
    client: Client,
    engine: Engine,
    broker: SecretStr,
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    def failing(self: Client, given: Any, **more: Any) -> Any:
        if given[0]["custom_id"] == "bad":
            raise fault
        return enqueue(self, given, **more)

    enqueue = Client.enqueue_told
    monkeypatch.setattr(Client, "enqueue_told", failing)
    pipeline.send(row("bad"))
    pipeline.send(row("good"))
    with open_door(client, broker):
        until(lambda: jobs(engine) == ["good"])
        assert pipeline.hear()[1]["data"]["error"] == "the order cannot be taken as it is written"


def send_raw(connection: Connection, body: bytes, content_type: str, encoding: str) -> None:
    with connection.Producer() as producer:
        producer.publish(body, routing_key=QUEUE, content_type=content_type, content_encoding=encoding)


def test_while_the_database_is_away_an_order_is_not_acknowledged(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def failing(self: Client, *given: Any, **more: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise DatabaseUnavailableError("away")
        return enqueue(self, *given, **more)

    enqueue = Client.enqueue_told
    monkeypatch.setattr(Client, "enqueue_told", failing)
    monkeypatch.setattr(door, "_AWAY_SECONDS", 0.05)
    pipeline.send(row("hero"))
    with open_door(client, broker):
        until(lambda: jobs(engine) == ["hero"])
    assert len(tries) == 3


def test_an_order_in_the_hands_of_a_door_that_died_is_taken_by_the_next(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(door._REDIS, "visibility_timeout", 0.2)
    pipeline.send(row("hero"))
    dying = open_connection(broker)
    message = dying.SimpleQueue(QUEUE).get(timeout=5)
    assert message.payload[1]["rows"][0]["custom_id"] == "hero"
    dying.collect()  # as a process that is killed: nothing is given back
    with open_door(client, broker):
        until(lambda: jobs(engine) == ["hero"])


def test_an_event_that_the_broker_does_not_take_comes_again(
    client: Client, engine: Engine, broker: SecretStr, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = CeleryDoor(client, broker)
    monkeypatch.setattr(serving._app, "send_task", lambda *_given, **_more: (_ for _ in ()).throw(OSError("away")))
    client.enqueue_told([row("hero")], batch="shop", address=json.dumps(["door", "shop", "shop.image_ready"]))
    client.cancel(batch="shop")
    (one,) = client.claim_events('["door",')
    client.event_sent(one, serving._send(one))
    (kept,) = rows.rows(engine, "SELECT error, tries, delivered_at, due_at > now() AS later FROM delivery")
    assert tuple(kept) == ("OSError", 1, None, True)
    rows.rows(engine, "UPDATE delivery SET due_at = now()")
    with open_door(client, broker):
        assert pipeline.hear()[1]["id"] == str(one.id)


def test_an_order_can_only_tighten_a_batch_that_is_there(client: Client, engine: Engine) -> None:
    asked = "SELECT on_unknown, caps FROM batch"
    terms: dict[str, Any] = {"batch": "shop", "address": None, "max_cost": ("bloom=100",), "on_unknown": "resend"}
    client.enqueue_told([row("a")], **terms)
    assert tuple(rows.rows(engine, asked)[0]) == ("resend", {"bloom": "100"})
    client.cap("shop", ["bloom=5"])
    client.set_policy("shop", "hold")
    client.enqueue_told([row("b")], **terms)
    assert tuple(rows.rows(engine, asked)[0]) == ("hold", {"bloom": "5"})
    client.enqueue_told([row("c")], **{**terms, "max_cost": ("bloom=3",)})
    assert rows.rows(engine, asked)[0].caps == {"bloom": "3"}


def test_an_old_order_that_comes_again_undoes_no_cap_and_no_policy(client: Client, engine: Engine) -> None:
    terms: dict[str, Any] = {"batch": "shop", "address": None, "max_cost": ("bloom=3",), "on_unknown": "hold"}
    client.enqueue_told([row("a")], **terms)
    client.cap("shop", ["bloom=5"])
    client.set_policy("shop", "resend")
    client.enqueue_told([row("a")], **terms)
    assert tuple(rows.rows(engine, "SELECT on_unknown, caps FROM batch")[0]) == ("resend", {"bloom": "5"})


def test_a_door_sends_only_what_was_ordered_through_it(client: Client) -> None:
    client.enqueue_told([row("hero")], batch="shop", address=json.dumps(["other", "shop", "shop.image_ready"]))
    client.cancel(batch="shop")
    assert client.claim_events('["door",') == []
    assert len(client.claim_events('["other",')) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rows": [], "batch": "b"}, "rows: must be a list of 1 to 200 objects"),
        ({"rows": [{}] * 201, "batch": "b"}, "rows: must be"),
        ({"rows": [{"custom_id": "a"}], "batch": ""}, "batch: must be text"),
        ({"rows": [{"custom_id": "a"}], "batch": "a\x00b"}, "batch: must be text"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "on_unknown": []}, "on_unknown: must be"),
        ({"rows": [{"prompt": "x"}], "batch": "b"}, "row 1, custom_id: is missing"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "priority": 1}, "'priority' is not known"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "on_unknown": "buy"}, "on_unknown: must be"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "max_cost": {"bloom": 3}}, "max_cost: must be"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "notify": {"task": "t"}}, "notify: must be"),
        ({"rows": [{"custom_id": "a"}], "batch": "b", "notify": {**HEARS, "task": "a b"}}, "notify: must be"),
    ],
)
def test_a_message_that_is_no_order_is_refused_with_what_is_wrong(given: dict[str, Any], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        read_order(given)


def test_a_door_on_our_own_redis_is_refused_because_that_may_be_emptied(
    endpoints: Endpoints, database_url: str
) -> None:
    ours = endpoints.broker_url
    env = {"GENQUEUE_DATABASE_URL": database_url, "GENQUEUE_BROKER_URL": ours, "GENQUEUE_DOOR_BROKER_URL": ours}
    ran = genqueue("celery-door", env=env)
    assert ran.code == 2
    assert "own Redis, which may be emptied" in " ".join(ran.err.split())
