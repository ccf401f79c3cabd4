"""The whole road in one process: from rows to objects, judged by the simulator's bill and the bucket."""

import hashlib
import io
from decimal import Decimal

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, ended, ends, only, paid, paid_posts
from worker.runtime import Runtime


def test_every_image_is_stored_with_the_hash_that_its_row_names(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "n": 3}, BLOOM, GETIMG], batch="b")
    drain(runtime, ended(client))
    found = list(client.results("b"))
    assert [row["state"] for row in found] == ["stored"] * 5
    for row in found:
        file = io.BytesIO()
        runtime.storage.get_to(row["key"], file)
        assert hashlib.sha256(file.getvalue()).hexdigest() == row["sha256"]
        assert len(file.getvalue()) == row["bytes"]
    assert paid(simulated) == paid_posts(simulated) == 3
    assert simulated.counters()["credentials_on_result_urls"] == 0


def test_the_bill_of_the_ledger_is_the_bill_of_the_provider(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**BLOOM, "n": 2, "size": "4K"}, BLOOM, GETIMG, GETIMG], batch="b")
    drain(runtime, ended(client))
    theirs = {name: float(total["amount"]) for name, total in simulated.bill(summary=True)["totals"].items()}
    assert {row["account"]: float(row["settled"]) for row in client.bill()} == theirs
    assert all(row["held"] == row["reserved"] == 0 for row in client.bill())


SUBMIT_FAULTS = {
    "reply_lost": ("reply_lost", ("in_doubt", "answer_lost"), 1),
    "closed": ("close_after_read", ("in_doubt", "answer_lost"), 0),
    "closed_bought": ({"kind": "close_after_read", "accepted": True}, ("in_doubt", "answer_lost"), 1),
    "reset": ("reset_after_read", ("in_doubt", "answer_lost"), 0),
    "reset_bought": ({"kind": "reset_after_read", "accepted": True}, ("in_doubt", "answer_lost"), 1),
    "e500": ("error_5xx", ("in_doubt", "provider_error"), 0),
    "e502_bought": ({"kind": "error_5xx", "status": 502, "accepted": True}, ("in_doubt", "provider_error"), 1),
    "e503": ("refuse_503", ("in_doubt", "provider_error"), 0),
    "truncated": ("truncate", ("in_doubt", "answer_unreadable"), 1),
    "html": ("html_body", ("in_doubt", "answer_unreadable"), 1),
    "empty": ("empty_body", ("in_doubt", "answer_unreadable"), 1),
    "not_utf8": ("not_utf8", ("in_doubt", "answer_unreadable"), 1),
    "e400": ({"kind": "error_5xx", "status": 400}, ("failed", "provider_rejected"), 0),
    "fine": (None, ("succeeded", None), 1),
}


def test_each_lost_or_refused_answer_ends_where_it_belongs_and_nothing_is_sent_twice(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    script = [
        {"match": {"route": "submit", "prompt_contains": f"<{name}>"}, "fault": fault, "times": None}
        for name, (fault, _, _) in SUBMIT_FAULTS.items()
        if fault
    ]
    simulated.put_faults(script)
    made = [
        {**row, "custom_id": f"{row['provider']}-{name}", "prompt": f"<{name}>"}
        for name in SUBMIT_FAULTS
        for row in (BLOOM, GETIMG)
    ]
    client.enqueue(made, batch="b")
    drain(runtime, ended(client))
    found = ends(client)
    for name, end in found.items():
        # Bloom's list may prove meanwhile that a call bought nothing.
        if end == ("in_doubt", "proved_unbought") and name.startswith("bloom-"):
            found[name] = SUBMIT_FAULTS[name.removeprefix("bloom-")][1]
            assert not SUBMIT_FAULTS[name.removeprefix("bloom-")][2]
    assert found == {
        f"{provider}-{name}": ("succeeded", None) if provider == "bloom" and bought else end
        for name, (_, end, bought) in SUBMIT_FAULTS.items()
        for provider in ("bloom", "getimg")
    }
    assert paid_posts(simulated) == len(made)
    assert paid(simulated) == 2 * sum(bought for _, _, bought in SUBMIT_FAULTS.values())


def test_a_payment_that_is_redirected_is_held_and_not_followed(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    elsewhere = {"kind": "redirect_to", "url": f"{simulated.url}/getimg/v2/images/generations", "status": 307}
    simulated.put_faults([{"match": {"route": "submit"}, "fault": elsewhere, "times": None}])
    client.enqueue([GETIMG], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"in_doubt": 1}
    assert paid_posts(simulated) == 1


def test_held_money_lies_between_what_is_settled_and_what_was_billed(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    lost = {"match": {"route": "submit", "prompt_contains": "lost"}, "fault": "reply_lost", "times": None}
    closed = {"match": {"route": "submit", "prompt_contains": "closed"}, "fault": "close_after_read", "times": None}
    simulated.put_faults([lost, closed])
    client.enqueue([{**GETIMG, "prompt": prompt} for prompt in ("lost", "closed", "fine")], batch="b")
    drain(runtime, ended(client))
    (bill,) = client.bill()
    charged = Decimal(simulated.bill(summary=True)["totals"]["getimg"]["amount"])
    assert bill["settled"] <= charged <= bill["settled"] + bill["held"]
    price = Decimal("0.035")
    assert (bill["settled"], bill["held"], charged) == (price, 2 * price, 2 * price)


def test_a_429_slows_the_account_down_and_spends_no_attempt(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "times": 3, "fault": {"kind": "429", "retry_after": 0}}])
    client.enqueue([GETIMG], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 1}
    assert (paid(simulated), paid_posts(simulated)) == (1, 4)


def test_a_wait_beyond_belief_is_cut_to_a_day(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    fault = {"kind": "429", "retry_after": "99999999999"}
    simulated.put_faults([{"match": {"route": "submit"}, "fault": fault}])
    client.enqueue([GETIMG], batch="b")
    drain(runtime, lambda: bool(client.accounts()[1]["not_before"]))
    story = only(client)
    assert (story["job"]["state"], story["job"]["error_code"]) == ("queued", "rate_limited")
    assert 86_000 < (story["job"]["not_before"] - story["job"]["now"]).total_seconds() <= 86_400


def test_a_402_pauses_the_account_and_a_resume_finishes_the_jobs(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit", "provider": "bloom"}, "fault": "402"}])
    client.enqueue([BLOOM] * 3, batch="b")
    drain(runtime, lambda: any(account["paused_at"] for account in client.accounts()))
    paused = next(account for account in client.accounts() if account["paused_at"])
    assert paused["paused_code"] == "account_out_of_credit"
    assert str(paused["action_url"]).startswith("http")
    client.resume("bloom")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 3}
    assert paid(simulated) == 3


def test_a_refused_key_pauses_the_account_and_its_jobs_wait_unspent(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "error_5xx", "status": 401}, "times": None}])
    client.enqueue([GETIMG] * 6, batch="b")
    drain(runtime, lambda: bool(rows.rows(engine, "SELECT 1 FROM account WHERE paused_code = 'account_unauthorized'")))
    posts = paid_posts(simulated)
    assert client.totals("b") == {"queued": 6}
    until_ticks = iter(range(10))
    drain(runtime, lambda: next(until_ticks, None) is None)
    assert paid_posts(simulated) == posts
    assert paid(simulated) == 0


def test_what_is_logged_of_a_job_names_its_batch_its_job_and_its_account(client: Client, runtime: Runtime) -> None:
    added = client.enqueue([{**BLOOM, "custom_id": "a"}, {**GETIMG, "custom_id": "b"}], batch="b")
    with capture_logs(processors=[merge_contextvars]) as logged:
        drain(runtime, ended(client))
    told = [line for line in logged if line["event"] in {"accepted", "stored"}]
    assert len(told) == 4
    jobs = {str(job["id"]): job["provider"] for job in client.jobs("b")}
    for line in told:
        assert line["batch"] == str(added.batch_id)
        assert line["account"] == jobs[line["job"]]
