"""Reconcile: a lost sender or answer holds its job, late evidence moves it on, and nothing is ever paid here."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Claim, Move
from shared.db.payments import submissions
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome, Stage
from tests.support import rows
from tests.support.drain import drain, run_stage
from tests.support.outcome import GETIMG, ends, paid, paid_posts
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.runtime import Runtime

WAITING = Answer(Outcome.REJECTED, http_status=429, error_code="rate_limited", error="slow")
REFUSED = Answer(Outcome.REJECTED, http_status=400, error_code="provider_rejected", error="no")
UNKNOWN = Answer(Outcome.UNKNOWN, error_code="answer_lost", error="lost")


def reconcile(runtime: Runtime, engine: Engine, *, count: int = 10) -> list[Claim]:
    claims = rows.claim(engine, "reconcile", count=count)
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(claims)))
    return claims


def late(engine: Engine, intent: Intent, answer: Answer) -> None:
    """Bring evidence whose sender lost its claim."""
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, answer)
        submissions.follow_late(connection, intent.claim.job_id, intent.submission_id, actor="a")


def outcome(engine: Engine) -> Any:
    return rows.rows(engine, "SELECT outcome, error_code FROM submission")[0]


def test_a_call_whose_sender_never_answered_is_held_and_its_money_too(runtime: Runtime, engine: Engine) -> None:
    intent = rows.one_intent(engine, lease=0)
    reconcile(runtime, engine)
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.error_code, job.due) == ("in_doubt", "sender_lost", False)
    assert outcome(engine) == ("unknown", "sender_lost")
    assert rows.rows(engine, "SELECT sum(reserved), sum(held) FROM ledger") == [(0, 2)]
    assert rows.SENDER.name in job.error


def test_a_running_call_is_not_looked_at(engine: Engine) -> None:
    rows.one_intent(engine)
    assert rows.claim(engine, "reconcile") == []


@pytest.mark.parametrize(
    ("answer", "state", "code"),
    [
        (rows.accepted(ImageState.PENDING), "pending", None),
        (rows.accepted(ImageState.READY), "transferring", None),
        (rows.accepted(ImageState.FAILED), "failed", "generation_failed"),
        (WAITING, "queued", "rate_limited"),
        (REFUSED, "failed", "provider_rejected"),
        (UNKNOWN, "in_doubt", "answer_lost"),
        (Answer(Outcome.ACCEPTED), "in_doubt", "answer_unreadable"),
    ],
)
@pytest.mark.parametrize("held", [False, True])
def test_evidence_that_came_too_late_for_its_sender_is_followed(
    *, runtime: Runtime, engine: Engine, answer: Answer, state: str, code: str | None, held: bool
) -> None:
    intent = rows.one_intent(engine, lease=0)
    if held:
        reconcile(runtime, engine)
        assert rows.states(engine) == {"in_doubt": 1}
    late(engine, intent, answer)
    reconcile(runtime, engine)
    job = rows.job(engine, intent.claim.job_id)
    expected = "sender_lost" if held and answer is UNKNOWN else code
    assert (job.state, job.error_code, job.claimed_by) == (state, expected, None)


def test_an_answer_on_its_way_into_the_database_is_waited_for_and_followed(runtime: Runtime, engine: Engine) -> None:
    intent = rows.one_intent(engine, lease=0)
    (claim,) = rows.claim(engine, "reconcile")
    begun, finish = threading.Event(), threading.Event()

    def sender() -> None:
        with transaction(engine) as connection:
            submissions.record(connection, intent.submission_id, rows.accepted(ImageState.PENDING))
            begun.set()
            finish.wait(10)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(sender)
        begun.wait(10)
        looking = pool.submit(run_stage, runtime, Parcel(Stage.RECONCILE, "bloom", (claim,)))
        until(lambda: rows.rows(engine, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        finish.set()
        writing.result(10)
        looking.result(10)
    assert outcome(engine) == ("accepted", None)
    assert rows.states(engine) == {"pending": 1}


def test_a_held_job_is_only_looked_at_again_much_later(runtime: Runtime, engine: Engine) -> None:
    rows.one_intent(engine, lease=0)
    (claim,) = reconcile(runtime, engine)
    rows.rows(engine, "UPDATE job SET due_at = now()")
    before = len(rows.rows(engine, "SELECT 1 FROM job_event"))
    (again,) = reconcile(runtime, engine)
    job = rows.job(engine, claim.job_id)
    assert again.epoch == claim.epoch + 1
    assert (job.state, job.due, job.claimed_by, job.error_code) == ("in_doubt", False, None, "sender_lost")
    assert len(rows.rows(engine, "SELECT 1 FROM job_event")) == before


def test_a_sender_that_comes_back_and_knows_nothing_leaves_a_held_job_to_a_person(
    runtime: Runtime, engine: Engine, client: Client
) -> None:
    rows.add(engine, [rows.new_job("a", account="getimg")])
    (intent,) = rows.open_intents(engine, rows.claim(engine, account="getimg"), lease=0, account="getimg")

    def look() -> None:
        claims = rows.claim(engine, "reconcile", account="getimg")
        run_stage(runtime, Parcel(Stage.RECONCILE, "getimg", tuple(claims)))

    look()
    assert client.totals("b") == {"in_doubt": 1}
    late(engine, intent, UNKNOWN)
    assert client.totals("b") == {"in_doubt": 1}
    look()
    assert client.totals("b") == {"in_doubt": 1}


def without_key(runtime: Runtime, name: str) -> Runtime:
    runtime.accounts.pop(name)
    return runtime


@pytest.mark.parametrize(("served", "totals"), [(True, {"checking": 1}), (False, {"in_doubt": 1})])
def test_a_worker_without_the_key_leaves_a_doubt_to_others_and_where_nobody_has_it_to_a_person(
    *, runtime: Runtime, engine: Engine, client: Client, served: bool, totals: dict[str, int]
) -> None:
    rows.one_intent(engine, lease=0)
    rows.rows(
        engine, "UPDATE account SET seen_at = now() - interval '1 hour' * CAST(:hours AS integer)", hours=not served
    )
    keyless = without_key(runtime, "bloom")
    for _ in range(2):
        rows.rows(engine, "UPDATE job SET due_at = now()")
        reconcile(keyless, engine)
    assert client.totals("b") == totals
    (job,) = rows.rows(engine, "SELECT due_at < now() + interval '20 minutes' AS soon, error FROM job")
    assert job.soon
    assert ("no worker has its account's key" in job.error) is not served


def test_a_doubt_that_a_worker_without_the_key_met_first_is_held_by_one_that_has_it_and_finds_nothing(
    runtime: Runtime, engine: Engine, client: Client
) -> None:
    rows.add(engine, [rows.new_job("a", account="getimg")])
    rows.rows(engine, "UPDATE account SET seen_at = now()")
    rows.open_intents(engine, rows.claim(engine, account="getimg"), lease=0, account="getimg")
    key = runtime.accounts["getimg"]
    for accounts, totals in (({}, {"checking": 1}), ({"getimg": key}, {"in_doubt": 1}), ({}, {"in_doubt": 1})):
        runtime.accounts = accounts
        rows.rows(engine, "UPDATE job SET due_at = now()")
        claims = tuple(rows.claim(engine, "reconcile", account="getimg"))
        run_stage(runtime, Parcel(Stage.RECONCILE, "getimg", claims))
        assert client.totals("b") == totals


def test_a_look_that_fails_is_given_back_and_is_no_crash(runtime: Runtime, engine: Engine) -> None:
    intent = rows.one_intent(engine, lease=0)
    reconcile(runtime, engine)
    rows.rows(
        engine, "UPDATE submission SET visible_by = now() - interval '1 hour', opened_at = now() - interval '2 hours'"
    )
    rows.rows(engine, """UPDATE job SET request = '{"n": "many"}', crashes = 1, due_at = now()""")
    reconcile(runtime, engine)
    job = rows.job(engine, intent.claim.job_id)
    assert (job.state, job.claimed_by, job.crashes, job.due) == ("in_doubt", None, 0, False)


def totals_are(client: Client, expected: dict[str, int]) -> bool:
    return client.totals("b") == expected


def test_a_dispatcher_hands_out_the_doubts_of_an_account_that_no_worker_has_the_key_of(
    runtime: Runtime, engine: Engine, client: Client
) -> None:
    rows.one_intent(engine, lease=0)
    rows.rows(engine, "UPDATE account SET seen_at = now() - interval '1 hour'")
    keyless = without_key(runtime, "bloom")
    for expected in ({"checking": 1}, {"in_doubt": 1}):
        rows.rows(engine, "UPDATE job SET due_at = now()")
        drain(keyless, partial(totals_are, client, expected))


def test_one_job_that_cannot_be_reconciled_keeps_no_other_from_it(runtime: Runtime, engine: Engine) -> None:
    first, second = rows.one_intent(engine, lease=0), rows.one_intent(engine, lease=0)
    claims = sorted(rows.claim(engine, "reconcile", count=2), key=lambda claim: claim.job_id != first.claim.job_id)
    rows.rows(
        engine,
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$",
    )
    rows.rows(
        engine,
        f"CREATE TRIGGER broken BEFORE UPDATE ON job FOR EACH ROW WHEN (OLD.id = '{first.claim.job_id}') "
        "EXECUTE FUNCTION broken()",
    )
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", tuple(claims)))
    assert rows.job(engine, first.claim.job_id).state == "submitting"
    assert rows.job(engine, second.claim.job_id).state == "in_doubt"


def test_a_stale_message_reconciles_nothing(runtime: Runtime, engine: Engine) -> None:
    rows.one_intent(engine, lease=0)
    (stale,) = rows.claim(engine, "reconcile", lease=0)
    rows.claim(engine, "reconcile")
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", (stale,)))
    assert outcome(engine) == (None, None)
    assert rows.states(engine) == {"submitting": 1}


def test_late_evidence_finishes_the_job_without_paying_again(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    """The sender is slow, not dead: its job is judged lost, and its answer comes after all."""
    simulated.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "slow", "seconds": 60}}])
    client.enqueue([{**GETIMG, "custom_id": "late"}], batch="b")
    held: list[dict[str, int]] = []

    def judge() -> bool:
        if not held and paid(simulated):
            rows.rows(engine, "UPDATE job SET due_at = now()")
            if client.totals("b") == {"in_doubt": 1}:
                held.append(client.totals("b"))
        return client.totals("b") == {"succeeded": 1}

    drain(runtime, judge)
    assert held
    assert ends(client) == {"late": ("succeeded", None)}
    assert paid(simulated) == paid_posts(simulated) == 1


def test_following_needs_no_legal_transition_from_a_final_job(runtime: Runtime, engine: Engine) -> None:
    intent = rows.one_intent(engine)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="provider_rejected")
    rows.settle(engine, intent, REFUSED, step)
    run_stage(runtime, Parcel(Stage.RECONCILE, "bloom", (intent.claim,)))
    assert rows.states(engine) == {"failed": 1}
