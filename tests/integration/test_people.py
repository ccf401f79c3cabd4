"""What a person can do: retry, resolve and cancel, and what each costs, judged by the simulator's bill."""

from decimal import Decimal

import pytest

from ops.simulator import Simulator
from producer import Client
from shared.db.jobs.cancel import Cancelled
from shared.db.jobs.resolve import NotHeldError
from shared.db.jobs.retry import claims_of
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, ended, ends, paid
from worker.runtime import Runtime

PRICE = Decimal("0.035")


def money(client: Client) -> tuple[Decimal, Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["reserved"], line["held"]


def test_a_picture_that_could_not_be_copied_is_collected_again_for_nothing(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "download"}, "fault": "wrong_content", "times": 3}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("failed", "result_invalid")}
    plan = client.plan_retry(batch="b")
    assert (len(plan.ask), len(claims_of(plan))) == (1, 1)
    assert client.retry(plan) == 1
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


def test_a_refused_job_is_bought_for_the_first_time_by_a_retry(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": 400}}])
    client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    plan = client.plan_retry(batch="b", code="provider_rejected")
    assert len(plan.buy) == 1
    client.retry(plan)
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


def test_what_was_bought_is_bought_again_only_when_told_to(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "failed_generation"}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("failed", "generation_failed")}
    plan = client.plan_retry(batch="b")
    assert (len(plan.ask), len(plan.buy_again)) == (1, 0)
    assert client.retry(plan, buy_again=True) == 1  # free first, whatever is allowed
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("failed", "generation_failed")}
    assert paid(simulated) == 1
    plan = client.plan_retry(batch="b")
    assert (len(plan.ask), len(plan.buy_again)) == (0, 1)
    assert client.retry(plan) == 0
    assert paid(simulated) == 1
    assert client.retry(plan, buy_again=True) == 1
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 2


def test_a_retry_of_several_images_buys_only_what_is_missing(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "download"}, "fault": "wrong_content", "times": 3}])
    client.enqueue([{**BLOOM, "custom_id": "a", "n": 3}], batch="b")
    drain(runtime, ended(client))
    stored = {row["index"]: row["sha256"] for row in client.results("b") if row["state"] == "stored"}
    if ends(client)["a"][1] == "partial_result":
        client.retry(client.plan_retry(batch="b"))
        drain(runtime, ended(client))
    after = {row["index"]: row["sha256"] for row in client.results("b")}
    assert len(after) == 3
    assert {index: after[index] for index in stored} == stored
    assert paid(simulated) == 1


@pytest.fixture
def in_doubt(client: Client, runtime: Runtime, simulated: Simulator) -> Client:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("in_doubt", "answer_lost")}
    assert money(client) == (0, 0, PRICE)
    return client


def test_a_job_in_doubt_that_is_given_up_keeps_its_money_held_until_somebody_knows(in_doubt: Client) -> None:
    in_doubt.resolve(in_doubt.find_job("a"), resend=False)
    assert ends(in_doubt) == {"a": ("failed", "written_off")}
    assert money(in_doubt) == (0, 0, PRICE)


@pytest.mark.parametrize("charged", [None, Decimal(1)])
def test_a_job_that_was_given_up_may_have_been_paid_and_is_bought_again_only_when_told_to(
    charged: Decimal | None, in_doubt: Client
) -> None:
    in_doubt.resolve(in_doubt.find_job("a"), resend=False, charged=charged)
    plan = in_doubt.plan_retry(batch="b")
    assert (len(plan.buy), len(plan.buy_again)) == (0, 1)
    assert in_doubt.retry(plan) == 0


def test_a_job_that_was_given_up_and_known_unpaid_is_bought_for_the_first_time(in_doubt: Client) -> None:
    in_doubt.resolve(in_doubt.find_job("a"), resend=False, charged=Decimal(0))
    assert len(in_doubt.plan_retry(batch="b").buy) == 1


def test_a_job_in_doubt_that_was_charged_is_settled(in_doubt: Client) -> None:
    in_doubt.resolve(in_doubt.find_job("a"), resend=False, charged=PRICE)
    assert money(in_doubt) == (PRICE, 0, 0)


def test_a_job_in_doubt_that_is_sent_again_pays_again_and_the_books_hold(
    in_doubt: Client, runtime: Runtime, simulated: Simulator
) -> None:
    in_doubt.resolve(in_doubt.find_job("a"), resend=True, charged=PRICE)
    drain(runtime, ended(in_doubt))
    assert ends(in_doubt) == {"a": ("succeeded", None)}
    assert money(in_doubt) == (2 * PRICE, 0, 0)
    assert Decimal(simulated.bill()["totals"]["getimg"]["amount"]) == 2 * PRICE


def test_a_job_that_is_not_in_doubt_cannot_be_resolved(client: Client) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    with pytest.raises(NotHeldError, match="queued"):
        client.resolve(client.find_job("a"), resend=False)


def test_cancelling_ends_what_is_queued_and_leaves_what_is_bought(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(runtime, ended(client))
    client.enqueue([{**BLOOM, "custom_id": "z"}], batch="b")
    assert client.cancel(batch="b").ended == 1
    assert ends(client) == {"a": ("succeeded", None), "z": ("cancelled", None)}
    assert client.cancel(batch="b").ended == 0
    assert paid(simulated) == 1


def test_cancelling_while_workers_submit_pays_for_no_cancelled_job(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "custom_id": str(number)} for number in range(40)], batch="b")
    done: list[Cancelled] = []

    def some_done() -> bool:
        if not done and paid(simulated) >= 5:
            done.append(client.cancel(batch="b"))
        return ended(client)()

    drain(runtime, some_done)
    totals = client.totals("b")
    (cancelled,) = done
    assert cancelled.ended > 0
    assert totals["cancelled"] == cancelled.ended + cancelled.followed
    assert paid(simulated) == 40 - cancelled.ended == len([r for r in client.results("b") if r["state"] == "stored"])
