"""A batch's policy for lost calls: changed by a person, what is held is looked at anew, and nothing is sent."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from uuid import UUID

import pytest

from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client, NoSuchBatchError
from shared.db.engine import Engine, transaction
from shared.db.jobs import policy
from tests.support import held, rows
from tests.support.drain import drain
from tests.support.lost import LOST_BEFORE, finish, lose, opened, row
from tests.support.outcome import paid_posts
from tests.support.waiting import until

Policy = Literal["hold", "resend"]


def due(engine: Engine) -> list[UUID]:
    return [found.id for found in rows.rows(engine, "SELECT id FROM job WHERE due_at <= now() ORDER BY id")]


@pytest.mark.parametrize(("before", "after"), [("hold", "resend"), ("resend", "hold")])
def test_a_new_policy_makes_held_jobs_due_and_leaves_them_held_and_unsent(
    before: Policy, after: Policy, client: Client, engine: Engine
) -> None:
    jobs = held.held(engine, 3)
    rows.rows(engine, "UPDATE batch SET on_unknown = :policy", policy=before)
    held.held(engine, batch="another")
    assert due(engine) == []
    change = client.set_policy("b", after)
    assert (change.before, change.now, change.due, client.policy("b")) == (before, after, 3, after)
    assert due(engine) == jobs
    assert client.totals("b") == {"in_doubt": 3}
    assert rows.rows(engine, "SELECT DISTINCT outcome FROM submission") == [("unknown",)]
    assert rows.claim(engine) == []


def test_each_job_s_story_says_who_changed_the_policy(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    client.set_policy("b", "resend")
    event = client.story(job)["events"][-1]
    assert (event["code"], event["actor"], event["from_state"]) == ("policy_changed", "person", "in_doubt")
    assert "resend" in event["note"]
    assert rows.job(engine, job).error == "lost; unclear"


def test_a_policy_given_with_more_rows_counts_as_a_change(client: Client, engine: Engine) -> None:
    jobs = held.held(engine)
    more: list[dict[str, Any]] = [{"provider": "bloom", "prompt": "one more"}]
    client.enqueue(more, batch="b", on_unknown="hold")
    assert due(engine) != jobs
    client.enqueue(more, batch="b", on_unknown="resend")
    assert set(jobs) <= set(due(engine))


def test_a_look_that_is_under_way_keeps_its_lease_and_is_followed_by_a_new_one(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    rows.rows(engine, "UPDATE job SET claimed_by = 'a-worker', due_at = now() + interval '1 minute'")
    with ThreadPoolExecutor(1) as thread:
        changing = thread.submit(client.set_policy, "b", "resend")
        until(lambda: rows.rows(engine, "SELECT 1 FROM batch WHERE on_unknown = 'resend'"))
        assert not rows.job(engine, job).due
        rows.rows(engine, "UPDATE job SET claimed_by = NULL, due_at = now() + interval '1 day'")
        assert changing.result().due == 1
    assert due(engine) == [job]


def test_a_look_that_ends_just_after_it_was_found_under_way_is_followed_by_a_new_one_too(
    client: Client, engine: Engine
) -> None:
    (job,) = held.held(engine)
    rows.rows(engine, "UPDATE job SET claimed_by = 'a-worker', due_at = now() + interval '1 minute'")
    with transaction(engine) as connection:
        claims = policy.in_doubt(connection, "b")
        assert policy.look_anew(connection, claims, "resend", actor="person") == 0
    rows.rows(engine, "UPDATE job SET claimed_by = NULL, due_at = now() + interval '1 day'")
    with transaction(engine) as connection:
        assert policy.busy(connection, claims) == claims
        assert policy.look_anew(connection, claims, "resend", actor="person") == 1
        assert policy.busy(connection, claims) == []
    assert due(engine) == [job]


def test_a_look_that_does_not_end_is_left_to_its_worker(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    rows.rows(engine, "UPDATE job SET claimed_by = 'a-worker', due_at = now() + interval '1 minute'")
    assert client.set_policy("b", "resend").due == 0
    found = rows.job(engine, job)
    assert (found.claimed_by, found.due) == ("a-worker", False)


def test_a_batch_that_is_not_there_has_no_policy(client: Client) -> None:
    with pytest.raises(NoSuchBatchError):
        client.set_policy("nowhere", "resend")
    with pytest.raises(NoSuchBatchError):
        client.policy("nowhere")


def test_only_held_jobs_that_a_provider_could_prove_unbought_are_said_to_be_held_by_policy(
    client: Client, engine: Engine
) -> None:
    held.held(engine, 2)
    held.held(engine, account="getimg", batch="g")
    held.held(engine, 3, account="openrouter", batch="o")
    held.held(engine, on_hold=False, batch="looking")
    held.held(engine, batch="resends")
    rows.rows(engine, "UPDATE batch SET on_unknown = 'resend' WHERE name = 'resends'")
    (cancelled,) = held.held(engine, batch="cancelled")
    client.cancel(job=cancelled)
    assert client.held_by_policy() == [("o", 3), ("b", 2)]
    assert client.held_by_policy("b") == [("b", 2)]
    assert client.held_by_policy("g") == []


def test_the_new_look_sends_again_what_it_proves_unbought_and_buys_it_once(
    database_url: str, endpoints: Endpoints, simulated: Simulator, client: Client
) -> None:
    with opened(database_url, endpoints, simulated) as runtime:
        client.enqueue([row("banatie", custom_id="first")], batch="before")
        assert finish(client, runtime, batch="before") == {"succeeded": 1}
        lose(simulated, LOST_BEFORE)
        client.enqueue([row("banatie", custom_id="lost")], batch="b")
        assert finish(client, runtime) == {"in_doubt": 1}
        client.enqueue([row("banatie", custom_id="after")], batch="after")
        assert finish(client, runtime, batch="after") == {"succeeded": 1}
        sent = paid_posts(simulated)
        client.set_policy("b", "resend")
        assert paid_posts(simulated) == sent
        assert client.totals("b") == {"in_doubt": 1}
        drain(runtime, lambda: client.totals("b") == {"succeeded": 1})
        assert paid_posts(simulated) == sent + 1
