"""SQL's `enqueue`: rows in the caller's own transaction, checked by a worker before anything is bought."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from ops.simulator import Simulator
from producer import Client, InvalidRowsError, NoSuchBatchError, NoSuchJobError
from producer.client import is_settled
from shared.db.engine import Engine
from shared.db.jobs import inbox
from shared.db.jobs.enqueue import enqueue
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG
from worker.dispatch import Dispatcher
from worker.runtime import Runtime

Connection = psycopg.Connection[Any]
HANDED = "SELECT job_id, custom_id, added FROM genqueue.enqueue(%s, %s, %s)"


@pytest.fixture
def app(database_url: str) -> Iterator[Connection]:
    """A connection of an application: nothing of ours is on its path."""
    with psycopg.connect(database_url) as connection:
        yield connection


def hand_in(
    connection: Connection, *given: dict[str, Any], batch: str = "shop", **options: Any
) -> list[tuple[Any, ...]]:
    return connection.execute(HANDED, (batch, Jsonb(list(given)), Jsonb(options))).fetchall()


def tick(runtime: Runtime) -> None:
    dispatcher = Dispatcher(runtime, lambda _parcel: None, lambda _parcel: None)
    dispatcher._register()
    dispatcher.tick()


def settled(client: Client) -> Callable[[], bool]:
    def done() -> bool:
        try:
            return is_settled(client.totals("shop"))
        except NoSuchBatchError:
            return False

    return done


def row(custom_id: str, **changes: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, **BLOOM, **changes}


def test_a_row_that_commits_becomes_a_job_with_the_id_that_its_caller_got(
    app: Connection, runtime: Runtime, client: Client, simulated: Simulator
) -> None:
    ((job_id, custom_id, added),) = hand_in(app, row("order-1"))
    app.commit()
    assert (custom_id, added) == ("order-1", True)
    drain(runtime, settled(client))
    assert client.find_job("shop/order-1") == job_id
    assert client.totals("shop") == {"succeeded": 1}


def test_whoever_has_an_id_is_answered_before_a_worker_checks_the_row(
    app: Connection, runtime: Runtime, client: Client
) -> None:
    ((job_id, *_),) = hand_in(app, row("order-1", n=2, metadata={"sku": "a"}, priority=3))
    app.commit()
    before, mark = client.job(job_id), client.mark(job_id)
    assert (before.job["state"], before.job["batch"], before.job["custom_id"]) == ("queued", "shop", "order-1")
    assert (before.job["images_asked"], before.job["metadata"], before.job["priority"]) == (2, {"sku": "a"}, 3)
    tick(runtime)
    after = client.job(job_id)
    assert before.job.keys() == after.job.keys()
    assert (after.job["id"], after.job["state"], after.job["images_asked"]) == (job_id, "queued", 2)
    assert client.mark(job_id) != mark


def test_a_row_whose_parts_are_anything_is_shown_too(app: Connection, client: Client) -> None:
    ((job_id, *_),) = hand_in(app, row("order-1", n="many", priority=1.5, model=7))
    app.commit()
    shown = client.job(job_id).job
    assert (shown["images_asked"], shown["priority"], shown["model"]) == (1, 0, None)


def test_a_row_that_is_another_doors_job_says_which(app: Connection, runtime: Runtime, client: Client) -> None:
    ((job_id, *_),) = hand_in(app, row("order-1"))
    app.commit()
    first = client.enqueue_one(row("order-1"), batch="shop")
    tick(runtime)
    with pytest.raises(NoSuchJobError, match=str(first.id)):
        client.job(job_id)


def test_a_row_that_rolls_back_leaves_nothing(app: Connection, runtime: Runtime, engine: Engine) -> None:
    hand_in(app, row("order-1"))
    app.rollback()
    tick(runtime)
    assert rows.rows(engine, "SELECT 1 FROM inbox UNION ALL SELECT 1 FROM job") == []


def test_the_same_row_again_adds_nothing_before_and_after_it_became_a_job(
    app: Connection, runtime: Runtime, engine: Engine
) -> None:
    given = row("order-1", n=1, references=[], options={})
    ((first, _, _),) = hand_in(app, given)
    app.commit()
    assert hand_in(app, given) == [(first, "order-1", False)]
    app.commit()
    tick(runtime)
    assert hand_in(app, given) == [(first, "order-1", False)]
    app.commit()
    tick(runtime)
    assert [job.id for job in rows.rows(engine, "SELECT id FROM job")] == [first]


def test_a_row_of_another_door_is_known_by_its_custom_id(app: Connection, client: Client) -> None:
    client.enqueue([row("order-1")], batch="shop")
    assert hand_in(app, row("order-1")) == [(client.find_job("order-1"), "order-1", False)]


@pytest.mark.parametrize("taken", [False, True])
def test_a_custom_id_that_stands_for_another_request_is_refused(
    app: Connection, runtime: Runtime, *, taken: bool
) -> None:
    hand_in(app, row("order-1"))
    app.commit()
    if taken:
        tick(runtime)
    with pytest.raises(errors.UniqueViolation, match="batch 'shop' already holds order-1 with a different request"):
        hand_in(app, row("order-1", prompt="another"))


def test_a_bad_row_ends_unspent_with_the_words_of_every_other_door(
    app: Connection, runtime: Runtime, client: Client, engine: Engine, simulated: Simulator
) -> None:
    wrong = row("bad", promt="x", n="two")
    with pytest.raises(InvalidRowsError) as refused:
        client.enqueue([wrong], batch="elsewhere")
    ((bad, _, _), _) = hand_in(app, wrong, row("good"))
    app.commit()
    drain(runtime, settled(client))
    job = rows.job(engine, bad)
    assert (job.state, job.error_code) == ("failed", inbox.INVALID)
    assert job.error == "; ".join(f"{fault.field}: {fault.message}" for fault in refused.value.faults)
    assert client.totals("shop") == {"succeeded": 1, "failed": 1}
    assert rows.rows(engine, "SELECT 1 FROM submission WHERE job_id = :id", id=bad) == []


def test_a_bad_row_is_never_bought_by_a_retry(app: Connection, runtime: Runtime, client: Client) -> None:
    hand_in(app, row("bad", aspect_ratio="7:3"))
    app.commit()
    tick(runtime)
    assert client.totals("shop") == {"failed": 1}
    assert client.plan_retry(batch="shop").of(buy_again=True) == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"provider": "bloom", "prompt": "x"}, "row 1, custom_id: is missing: without one, a repeated call would buy"),
        ({"custom_id": 7, **BLOOM}, "row 1, custom_id: must be text"),
        ({"custom_id": " a", **BLOOM}, "row 1, custom_id: must be printable, without spaces at its ends"),
        ({"custom_id": " ", **BLOOM}, "row 1, custom_id: is blank"),
        ({"custom_id": "x" * 256, **BLOOM}, "row 1, custom_id: has 256 characters; the limit is 255"),
        ({"custom_id": "a", "prompt": "x"}, "row 1, provider: is missing"),
        ({"custom_id": "a", "prompt": "x", "provider": "blom"}, "row 1, provider: must be one of banatie, bloom"),
    ],
)
def test_a_row_that_no_job_could_stand_for_is_refused_at_once(
    app: Connection, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=words):
        hand_in(app, given)


@pytest.mark.parametrize(
    "options", [{"provder": "bloom"}, {"on_unknown": "buy"}, {"max_cost": {"bloom": "much"}}, {"max_cost": {"x": "1"}}]
)
def test_options_that_nobody_knows_are_refused(app: Connection, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="options: "):
        hand_in(app, row("a"), **options)


def test_options_name_the_provider_the_policy_and_the_caps(app: Connection, runtime: Runtime, engine: Engine) -> None:
    given = {"custom_id": "a", "prompt": "x"}
    hand_in(app, given, provider="bloom", priority=3, on_unknown="resend", max_cost={"bloom": "9.50"})
    app.commit()
    tick(runtime)
    (found,) = rows.rows(
        engine, "SELECT provider, priority, on_unknown, caps FROM job JOIN batch ON batch.id = job.batch_id"
    )
    assert tuple(found) == ("bloom", 3, "resend", {"bloom": "9.50"})


def test_a_caller_by_sql_can_only_tighten_a_batch_that_is_there(
    app: Connection, runtime: Runtime, client: Client, engine: Engine
) -> None:
    client.enqueue([row("a")], batch="shop")
    client.cap("shop", ["bloom=5"])
    asked = "SELECT on_unknown, caps FROM batch"
    hand_in(app, row("b"), on_unknown="resend", max_cost={"bloom": "100000"})
    app.commit()
    tick(runtime)
    assert tuple(rows.rows(engine, asked)[0]) == ("hold", {"bloom": "5"})
    client.set_policy("shop", "resend")
    hand_in(app, row("c"), on_unknown="hold", max_cost={"bloom": "3", "getimg": "1"})
    app.commit()
    tick(runtime)
    assert tuple(rows.rows(engine, asked)[0]) == ("hold", {"bloom": "3", "getimg": "1"})


def test_of_two_callers_whose_rows_arrive_together_the_second_cannot_loosen_what_the_first_asked(
    app: Connection, runtime: Runtime, engine: Engine
) -> None:
    hand_in(app, row("a"), max_cost={"bloom": "5"})
    hand_in(app, row("b"), on_unknown="resend", max_cost={"bloom": "7"})
    app.commit()
    tick(runtime)
    assert tuple(rows.rows(engine, "SELECT on_unknown, caps FROM batch")[0]) == ("hold", {"bloom": "5"})


@pytest.mark.parametrize(
    "default",
    [{}, {"n": 1}, {"n": 1.0}, {"references": []}, {"options": {}}, {"options": {"x": "LONG"}}],
    ids=repr,
)
def test_the_same_wrong_row_again_returns_its_job(
    app: Connection, runtime: Runtime, engine: Engine, default: dict[str, Any]
) -> None:
    wrong = json.dumps([row("a", aspect_ratio="nonsense", **default)]).replace('"LONG"', "0." + "3" * 30)
    ((job, _, _),) = app.execute(HANDED, ("shop", wrong, Jsonb({}))).fetchall()
    app.commit()
    tick(runtime)
    assert rows.rows(engine, "SELECT state FROM job")[0].state == "failed"
    assert app.execute(HANDED, ("shop", wrong, Jsonb({}))).fetchall() == [(job, "a", False)]


def test_an_open_transaction_stops_no_other_producer(
    app: Connection, database_url: str, runtime: Runtime, client: Client
) -> None:
    hand_in(app, row("mine"))
    with psycopg.connect(database_url) as other:
        other.execute("SET lock_timeout = '1s'")
        hand_in(other, row("theirs"))
    client.enqueue([row("by-file")], batch="shop")
    tick(runtime)
    assert client.totals("shop") == {"queued": 2}
    app.commit()
    tick(runtime)
    assert client.totals("shop") == {"queued": 3}


def test_the_call_changes_no_setting_of_its_caller(app: Connection) -> None:
    asked = "SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'"
    app.execute("SELECT now()")
    before = app.execute(asked).fetchall()
    hand_in(app, row("a"))
    assert set(app.execute(asked).fetchall()) - set(before) == set()


def test_two_callers_with_the_same_row_get_the_same_job(database_url: str, runtime: Runtime, engine: Engine) -> None:
    meet = threading.Barrier(4)

    def call(_number: int) -> UUID:
        with psycopg.connect(database_url) as connection:
            meet.wait(10)
            ((job_id, _, _),) = hand_in(connection, row("order-1"))
            return UUID(str(job_id))

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(call, range(4)))
    tick(runtime)
    assert {job.id for job in rows.rows(engine, "SELECT id FROM job")} == ids


def test_a_repeat_in_an_old_snapshot_gets_the_job_or_an_error_that_says_to_try_again(
    app: Connection, database_url: str, runtime: Runtime
) -> None:
    with psycopg.connect(database_url) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1 FROM pg_class")
        hand_in(app, row("order-1"))
        app.commit()
        tick(runtime)
        with pytest.raises(errors.SerializationFailure):
            hand_in(old, row("order-1"))
        old.rollback()
        assert hand_in(old, row("order-1"))[0][2] is False


def test_rows_of_one_call_keep_their_order(app: Connection, runtime: Runtime, client: Client) -> None:
    names = [f"n{number}" for number in range(300)]
    hand_in(app, *(row(name) for name in names))
    app.commit()
    tick(runtime)
    tick(runtime)
    assert [job["custom_id"] for job in client.jobs("shop", limit=1000)] == names


def test_whoever_asks_before_a_worker_looked_is_told_so(app: Connection, client: Client) -> None:
    ((job_id, _, _),) = hand_in(app, row("order-1"))
    app.commit()
    for name in (str(job_id), "order-1", "shop/order-1"):
        with pytest.raises(NoSuchJobError, match="its row waits for a worker to check it"):
            client.find_job(name)
    with pytest.raises(NoSuchBatchError, match="its rows wait for a worker"):
        client.totals("shop")


def test_waiting_for_a_batch_waits_for_its_rows_in_the_inbox_too(
    app: Connection, client: Client, engine: Engine
) -> None:
    client.enqueue([row("first")], batch="shop")
    client.cancel(batch="shop")
    hand_in(app, row("second"))
    app.commit()
    with pytest.raises(TimeoutError):
        client.wait("shop", timeout_seconds=0)


def test_a_row_whose_check_fails_by_a_defect_fails_alone_and_stops_no_other(
    app: Connection, runtime: Runtime, client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = inbox._Taking._checked

    def failing(self: Any, request: dict[str, Any]) -> Any:
        if request["custom_id"] == "broken":
            raise ZeroDivisionError
        return checked(self, request)

    monkeypatch.setattr(inbox._Taking, "_checked", failing)
    ((broken, _, _), _) = hand_in(app, row("broken"), row("sound"))
    app.commit()
    tick(runtime)
    assert client.totals("shop") == {"queued": 1, "failed": 1}
    job = rows.job(engine, client.find_job("shop/broken"))
    assert (job.id, job.error_code, job.error) == (broken, inbox.INVALID, inbox.DEFECT)


def test_a_row_that_another_door_enqueued_meanwhile_says_which_job_it_is(
    app: Connection, runtime: Runtime, client: Client
) -> None:
    ((job_id, _, _),) = hand_in(app, row("order-1"))
    client.enqueue([row("order-1")], batch="shop")
    app.commit()
    tick(runtime)
    assert client.totals("shop") == {"queued": 1}
    with pytest.raises(NoSuchJobError, match=f"it is the job {client.find_job('shop/order-1')}"):
        client.find_job(str(job_id))


def test_a_row_that_another_door_commits_while_a_worker_takes_it_says_which_job_it_is(
    app: Connection, runtime: Runtime, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((job_id, _, _), (other, _, _)) = hand_in(app, row("order-1"), row("order-2"))
    app.commit()

    def late(*given: Any) -> Any:
        client.enqueue_one(row("order-1"), batch="shop")
        return enqueue(*given)

    monkeypatch.setattr(inbox, "enqueue", late)
    tick(runtime)
    assert client.totals("shop") == {"queued": 2}
    with pytest.raises(NoSuchJobError, match=f"it is the job {client.find_job('shop/order-1')}"):
        client.find_job(str(job_id))
    assert client.find_job("shop/order-2") == client.find_job(str(other)) == other


def test_a_caller_needs_no_right_but_to_call(app: Connection, engine: Engine) -> None:
    allowed = rows.rows(
        engine, "SELECT has_function_privilege('public', 'enqueue(text, jsonb, jsonb)', 'EXECUTE') AS may"
    )
    assert not allowed[0].may


def test_a_temporary_table_does_not_stand_in_for_ours(app: Connection, runtime: Runtime, client: Client) -> None:
    app.execute("CREATE TEMPORARY TABLE inbox (LIKE genqueue.inbox)")
    hand_in(app, {"custom_id": "a", **GETIMG})
    app.commit()
    tick(runtime)
    assert client.totals("shop") == {"queued": 1}
