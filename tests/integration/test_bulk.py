"""What a person does to many jobs at once: it is shown first, and done to exactly what was shown."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import text

from producer import Client
from shared.db.engine import Engine
from shared.db.jobs import bulk
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome
from tests.support import held, rows
from tests.support.waiting import until

EVERY = ("resolve", "retry", "cancel")


def states(engine: Engine, *jobs: object) -> list[str]:
    return [rows.job(engine, job).state for job in jobs]  # type: ignore[arg-type]


def money(client: Client, batch: str = "b") -> list[tuple[str, Decimal, Decimal]]:
    return [(line["account"], line["settled"], line["held"]) for line in client.bill(batch)]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"batch": "b"}, "b1 b2 b3"),
        ({"account": "bloom"}, "b1 b2 c1"),
        ({"code": "provider_error"}, "b2 c1"),
        ({"batch": "b", "account": "bloom"}, "b1 b2"),
        ({"batch": "b", "account": "bloom", "code": "provider_error"}, "b2"),
        ({"account": "getimg", "code": "provider_error"}, ""),
    ],
)
def test_only_held_jobs_that_match_every_filter_are_resolved(
    which: dict[str, str], expected: str, client: Client, engine: Engine
) -> None:
    jobs = {
        "b1": held.held(engine),
        "b2": held.held(engine, code="provider_error"),
        "b3": held.held(engine, account="getimg"),
        "c1": held.held(engine, batch="c", code="provider_error"),
    }
    looked_for = held.held(engine, on_hold=False) + held.held(engine, on_hold=False, code="provider_error")
    wanted = client.plan_resolve(resend=False, **which)  # type: ignore[arg-type]
    done = client.carry_out_resolve(wanted)
    ended = {name for name, (job,) in jobs.items() if states(engine, job) == ["failed"]}
    assert ended == set(expected.split())
    assert done.jobs.total() == len(ended)
    assert states(engine, *looked_for) == ["in_doubt", "in_doubt"]


def test_jobs_that_are_still_looked_for_are_counted_and_left_alone(client: Client, engine: Engine) -> None:
    held.held(engine, 2, on_hold=False)
    held.held(engine)
    wanted = client.plan_resolve(resend=True, batch="b")
    assert (len(wanted.plan.targets), wanted.plan.left) == (1, (("still looked for by the queue", 2),))
    assert client.carry_out_resolve(wanted).jobs == {"queued": 1}
    assert client.totals("b") == {"checking": 2, "queued": 1}


@pytest.mark.parametrize("act", EVERY)
def test_jobs_of_other_batches_are_never_touched(act: str, client: Client, engine: Engine) -> None:
    for batch in ("b", "c"):
        held.held(engine, batch=batch)
        held.failed(engine, batch=batch)
        rows.add(engine, [rows.new_job("waits")], batch=batch)
    before = client.jobs("c")
    DO[act](client)
    assert client.jobs("c") == before
    assert client.jobs("b") != before


DO: dict[str, Callable[[Client], object]] = {
    "resolve": lambda client: client.carry_out_resolve(client.plan_resolve(resend=True, batch="b")),
    "retry": lambda client: client.carry_out_retry(client.plan_retry(batch="b"), buy_again=True),
    "cancel": lambda client: client.carry_out_cancel(client.plan_cancel(batch="b")),
}


def test_a_plan_changes_nothing(client: Client, engine: Engine) -> None:
    held.held(engine, 2)
    held.failed(engine)
    before = held.everything(engine)
    client.plan_resolve(resend=True, batch="b")
    client.plan_resolve(resend=False, charged=Decimal(1), account="bloom")
    client.plan_retry(batch="b")
    client.plan_cancel(code="answer_lost")
    assert held.everything(engine) == before


def test_jobs_must_be_named_somehow(client: Client) -> None:
    with pytest.raises(ValueError, match="name the jobs"):
        client.plan_resolve(resend=True)
    with pytest.raises(ValueError, match="name the jobs"):
        client.plan_cancel()


def test_the_worst_second_charge_is_the_sum_of_the_reserves_of_calls_that_may_have_been_bought(
    client: Client, engine: Engine
) -> None:
    held.held(engine, 3, price=Decimal("1.5"))
    held.held(engine, 2, account="getimg", price=Decimal("0.04"))
    held.held(engine, 2, account="openrouter", price=None)
    held.held(engine, 4, account="banatie", price=Decimal(0))
    wanted = client.plan_resolve(resend=True, batch="b")
    assert wanted.second_charge == ({"credit of bloom": Decimal("4.5"), "USD": Decimal("0.08")}, 2)
    assert client.plan_resolve(resend=False, batch="b").second_charge == ({}, 0)


def test_a_call_that_cost_more_than_its_reserve_counts_with_what_it_cost(client: Client, engine: Engine) -> None:
    held.failed(engine)
    rows.rows(engine, "UPDATE submission SET reserved = 2, settled = 7")
    plan = client.plan_retry(batch="b")
    assert bulk.second_charge(plan.of(buy_again=True)) == ({"credit of bloom": Decimal(7)}, 0)
    assert plan.of(buy_again=False) == ()


def test_what_was_proved_unbought_is_no_second_charge(client: Client, engine: Engine) -> None:
    held.refused(engine)
    assert bulk.second_charge(client.plan_retry(batch="b").targets) == ({}, 0)


@pytest.mark.parametrize("act", EVERY)
def test_a_job_that_came_after_the_preview_is_not_touched(act: str, client: Client, engine: Engine) -> None:
    def one_more() -> object:
        return held.failed(engine)[0] if act == "retry" else held.held(engine)[0]

    one_more()
    plans = {
        "resolve": lambda: client.plan_resolve(resend=True, batch="b"),
        "retry": lambda: client.plan_retry(batch="b"),
        "cancel": lambda: client.plan_cancel(batch="b"),
    }
    plan = plans[act]()
    later = one_more()
    before = rows.job(engine, later)  # type: ignore[arg-type]
    done = {
        "resolve": client.carry_out_resolve,
        "retry": lambda plan: client.carry_out_retry(plan, buy_again=True),
        "cancel": client.carry_out_cancel,
    }[act](plan)
    after = rows.job(engine, later)  # type: ignore[arg-type]
    assert done.moved_on == 0
    assert (after.state, after.cancel_requested_at) == (before.state, None)


def test_a_job_that_moved_after_the_preview_is_left_alone_and_counted(client: Client, engine: Engine) -> None:
    first, second = held.held(engine, 2)
    wanted = client.plan_resolve(resend=True, batch="b")
    client.resolve(first, resend=False, charged=Decimal(1))
    done = client.carry_out_resolve(wanted)
    assert (done.jobs, done.moved_on) == ({"queued": 1}, 1)
    assert states(engine, first, second) == ["failed", "queued"]
    assert money(client) == [("bloom", 1, 2)]


def test_a_job_that_was_sent_and_lost_again_after_the_preview_is_left_alone(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    wanted = client.plan_resolve(resend=True, batch="b")
    client.resolve(job, resend=True)
    (intent,) = rows.open_intents(engine, rows.claim(engine))
    lost = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")
    rows.rows(engine, "UPDATE job SET state = 'in_doubt', on_hold = true, error_code = 'answer_lost'")
    with engine.begin() as connection:
        submissions.record(connection, intent.submission_id, lost)
    done = client.carry_out_resolve(wanted)
    assert (done.jobs.total(), done.moved_on) == (0, 1)
    assert states(engine, job) == ["in_doubt"]


def test_a_look_that_found_nothing_new_does_not_keep_a_job_from_being_resolved(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    wanted = client.plan_resolve(resend=True, batch="b")
    rows.rows(engine, "UPDATE job SET epoch = epoch + 1")
    assert client.carry_out_resolve(wanted).jobs == {"queued": 1}
    assert states(engine, job) == ["queued"]


def test_an_answer_that_came_after_the_preview_is_used_and_nothing_is_sent_again(
    client: Client, engine: Engine
) -> None:
    (job,) = held.held(engine)
    wanted = client.plan_resolve(resend=True, batch="b")
    (submission,) = rows.rows(engine, "SELECT id FROM submission")
    with engine.begin() as connection:
        submissions.record(connection, submission.id, rows.accepted())
        submissions.follow_late(connection, job, submission.id, actor="a-worker")
    done = client.carry_out_resolve(wanted)
    assert (done.jobs.total(), done.moved_on) == (0, 1)
    assert rows.rows(engine, "SELECT 1 FROM job WHERE state = 'queued'") == []


def test_a_job_that_turned_out_to_be_bought_is_not_retried_as_if_it_never_was(client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    client.resolve(job, resend=False, charged=Decimal(0))
    plan = client.plan_retry(batch="b")
    assert len(plan.buy) == 1
    client.resolve(job, resend=False, charged=Decimal(2))
    done = client.carry_out_retry(plan)
    assert (done.jobs.total(), done.moved_on) == (0, 1)
    assert states(engine, job) == ["failed"]


def test_a_job_that_ended_after_the_preview_is_not_cancelled_and_one_that_was_sent_is(
    client: Client, engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])
    ended, sent = (row["id"] for row in client.jobs("b"))
    plan = client.plan_cancel(batch="b")
    client.cancel(job=ended)
    rows.open_intents(engine, rows.claim(engine))
    done = client.carry_out_cancel(plan)
    assert (done.jobs, done.moved_on) == ({"followed": 1}, 1)
    assert rows.job(engine, sent).cancel_requested_at


def test_what_was_charged_is_booked_for_each_job(client: Client, engine: Engine) -> None:
    held.held(engine, 3, account="getimg")
    client.carry_out_resolve(client.plan_resolve(resend=False, charged=Decimal("0.04"), batch="b"))
    assert money(client) == [("getimg", Decimal("0.12"), 0)]


def test_an_amount_for_jobs_of_different_units_is_refused_and_zero_is_not(client: Client, engine: Engine) -> None:
    held.held(engine)
    held.held(engine, account="getimg")
    with pytest.raises(ValueError, match="USD and in credit of bloom"):
        client.plan_resolve(resend=False, charged=Decimal("0.04"), batch="b")
    client.carry_out_resolve(client.plan_resolve(resend=False, charged=Decimal(0), batch="b"))
    assert money(client) == [("bloom", 0, 0), ("getimg", 0, 0)]


def test_the_open_cost_of_jobs_that_were_given_up_is_settled_for_all_at_once(client: Client, engine: Engine) -> None:
    jobs = held.held(engine, 3)
    client.carry_out_resolve(client.plan_resolve(resend=False, batch="b"))
    assert money(client) == [("bloom", 0, 6)]
    assert client.plan_resolve(resend=False, batch="b").plan.targets == ()
    done = client.carry_out_resolve(
        client.plan_resolve(resend=False, charged=Decimal(1), batch="b", code="written_off")
    )
    assert (done.jobs, states(engine, *jobs)) == ({"failed": 3}, ["failed"] * 3)
    assert money(client) == [("bloom", 3, 0)]


def test_many_jobs_are_resolved_in_transactions_of_a_hundred(client: Client, engine: Engine) -> None:
    held.held(engine, 2 * bulk.CHUNK + 5)
    done = client.carry_out_resolve(client.plan_resolve(resend=True, batch="b"))
    assert done.jobs == {"queued": 2 * bulk.CHUNK + 5}
    assert rows.rows(engine, "SELECT count(DISTINCT CAST(xmin AS text)) FROM job") == [(3,)]


def test_jobs_that_a_sender_locks_the_other_way_round_are_resolved_once_it_is_done(
    client: Client, engine: Engine
) -> None:
    held.held(engine, 2)
    first, second = rows.rows(engine, "SELECT id FROM submission ORDER BY job_id")
    lock = text("SELECT 1 FROM submission WHERE id = :id FOR UPDATE")
    wanted = client.plan_resolve(resend=True, batch="b")
    with ThreadPoolExecutor(1) as thread, engine.begin() as sender:
        sender.execute(lock, {"id": second.id})
        resolving = thread.submit(client.carry_out_resolve, wanted)
        until(lambda: rows.rows(engine, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        sender.execute(lock, {"id": first.id})
        sender.commit()
        assert resolving.result().jobs == {"queued": 2}
