"""What the commands say of a job, and that each command they name works as it stands, whatever the job is called."""

import re
import shlex
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ops.simulator import Simulator
from producer import Client
from producer.money import CapError
from tests.support.command import Ran, genqueue
from tests.support.drain import drain
from tests.support.outcome import BLOOM, GETIMG, ended, ends, only
from worker.runtime import Runtime

PRICE = Decimal("0.035")
LOST = [{"match": {"route": "submit"}, "fault": "reply_lost"}]
Run = Callable[..., Ran]


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "400"})


def hold(client: Client, runtime: Runtime, simulated: Simulator, batch: str = "b", custom_id: str = "a") -> UUID:
    """Return a job at getimg that was bought although its answer was lost."""
    simulated.put_faults(LOST)
    client.enqueue([{**GETIMG, "custom_id": custom_id}], batch=batch)
    drain(runtime, ended(client, batch))
    ((_, (state, code)),) = ends(client, batch).items()
    assert (state, code) == ("in_doubt", "answer_lost")
    return UUID(str(client.jobs(batch)[0]["id"]))


def commands(text: str) -> list[list[str]]:
    """Return every command that stands between backquotes, as a shell would split it."""
    return [shlex.split(found)[1:] for found in re.findall(r"`(genqueue [^`]*)`", text)]


@pytest.mark.parametrize(
    ("batch", "custom_id"),
    [
        ("b", "a cat's eye"),
        ("my prompts", "JOB;id"),
        ("BATCH", "$(touch pwned)"),
        ("b", "q\\[/b]"),
        ("[/x]", "[bold]"),
        ("-x", "--resend"),
    ],
)
@pytest.mark.usefixtures("older_names")
def test_the_command_that_ends_a_held_job_works_as_it_stands(
    batch: str, custom_id: str, run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    job = hold(client, runtime, simulated, batch, custom_id)
    told = run("explain", str(job))
    assert told.code == 0
    assert f"{batch}/{custom_id}" in told.out
    resend, fail = commands(told.out)[:2]
    assert (resend[-1], fail[-1]) == ("--resend", "--fail")
    ran = run(*fail)
    assert (ran.code, client.totals(batch)) == (0, {"failed": 1})
    assert run("jobs", "--", batch).code == 0


def test_a_job_that_is_still_looked_for_is_not_to_be_ended_by_hand(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults(LOST)
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b", on_unknown="resend")
    drain(runtime, lambda: client.totals("b") == {"checking": 1})
    told = run("explain", "b/a").out
    assert "you can: wait for that" in told
    assert "sends it again if it is proved unbought" in told
    assert commands(told) == []
    assert run("jobs", "b", "--state", "checking").out.splitlines()[1].split()[:2] == ["a", "checking"]


@pytest.mark.parametrize("charged", ["1e30", "1_0", "-1", "nan", "1e140000", "0.0000000001", "much", ""])
def test_what_is_no_amount_settles_nothing(
    charged: str, run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    job = hold(client, runtime, simulated)
    ran = run("resolve", str(job), "--fail", f"--charged={charged}")
    assert (ran.code, len(ran.error_lines)) == (2, 1)
    assert client.totals("b") == {"in_doubt": 1}
    with pytest.raises(ValueError, match="not an amount"):
        client.resolve(job, resend=False, charged=Decimal("1e30"))


def test_a_slip_in_what_was_charged_can_be_corrected_and_the_provider_s_word_cannot(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    hold(client, runtime, simulated)
    assert run("resolve", "b/a", "--fail", "--charged", "35").code == 0
    ran = run("resolve", "b/a", "--fail", "--charged", "0.035")
    assert (ran.code, ran.err.strip()) == (0, "b/a is failed; the ledger says 0.035")
    (line,) = client.bill("b")
    assert (line["settled"], line["held"]) == (PRICE, 0)
    assert run("resolve", "b/a", "--fail", "--charged", "0").code == 0
    assert client.bill("b")[0]["settled"] == 0
    client.enqueue([{**GETIMG, "custom_id": "fine"}], batch="c")
    drain(runtime, ended(client, "c"))
    assert run("resolve", "c/fine", "--fail", "--charged", "0").code == 2


def test_money_that_is_open_after_the_end_is_told_with_the_command_that_settles_it(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    hold(client, runtime, simulated)
    client.resolve(client.find_job("a"), resend=False)
    settle = commands(run("explain", "b/a").out)[-1]
    assert settle == ["resolve", "b/a", "--fail", "--charged", "AMOUNT"]
    assert run(*settle[:-1], "0.035").code == 0
    told = run("explain", "b/a").out
    assert "still open" not in told
    assert "settled by hand: 0.035" in told or "given up by hand" in told


def test_resolve_says_where_the_job_really_went(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    hold(client, runtime, simulated)
    held = run("cancel", "--batch", "b", "--yes")
    assert (held.code, client.totals("b")) == (0, {"in_doubt": 1})
    assert "1 of them held in doubt: end those with genqueue resolve" in held.err
    assert run("resolve", "b/a", "--resend").err.strip() == "b/a is cancelled; the money stays held"


def test_what_a_cancelled_job_bought_and_did_not_get_can_be_collected(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "download"}, "fault": "wrong_content", "times": 3}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    cancelled: list[Any] = []

    def cancel_once_bought() -> bool:
        if not cancelled and client.totals("b").keys() & {"pending", "processing", "transferring"}:
            cancelled.append(client.cancel(batch="b"))
        return ended(client)()

    drain(runtime, cancel_once_bought)
    assert ends(client) == {"a": ("cancelled", "result_invalid")}
    (retry,) = commands(run("explain", "b/a").out)
    assert run(*retry).code == 0
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("cancelled", None)}
    assert only(client)["images"][0]["state"] == "stored"


def test_a_job_that_was_cancelled_for_nothing_is_left_alone_by_a_retry(run: Run, client: Client) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    client.cancel(batch="b")
    assert run("retry", "--batch", "b").code == 2
    assert commands(run("explain", "b/a").out) == []


def test_raising_one_provider_s_cap_leaves_the_others(run: Run, client: Client) -> None:
    client.enqueue([BLOOM, GETIMG], batch="my batch", max_cost=["bloom=1", "getimg=1"])
    ran = run("cap", "my batch", "bloom=2")
    assert (ran.code, ran.err.strip()) == (0, "batch my batch: bloom 2, getimg 1")
    client.enqueue([{**BLOOM, "custom_id": "another"}], batch="my batch", max_cost=["bloom=3"])
    assert client.cap("my batch", ["getimg=5"]) == {"bloom": Decimal(3), "getimg": Decimal(5)}


def test_no_amount_is_no_wish_to_remove_the_caps(client: Client) -> None:
    client.enqueue([BLOOM], batch="b", max_cost=["bloom=1"])
    with pytest.raises(CapError, match="only uncap removes the caps"):
        client.cap("b", [])
    assert client.caps("b") == {"bloom": Decimal(1)}
    client.uncap("b")
    assert client.caps("b") == {}


def test_a_look_at_a_batchs_caps_changes_nothing_and_only_none_removes_them(run: Run, client: Client) -> None:
    client.enqueue([BLOOM, GETIMG], batch="b", max_cost=["bloom=1.5"])
    shown = run("cap", "b")
    assert (shown.code, shown.err.strip()) == (0, "batch b: bloom cap 1.5, 0 credit spent or set aside")
    assert client.caps("b") == {"bloom": Decimal("1.5")}
    assert run("cap", "b", "--none", "bloom=2").code == 2
    assert client.caps("b") == {"bloom": Decimal("1.5")}
    removed = run("cap", "b", "--none")
    assert (removed.code, removed.err.strip()) == (0, "batch b: no cap")
    assert client.caps("b") == {}
    assert run("cap", "b").err.strip() == "batch b: no cap"
    assert run("cap", "nobody").code == 2


def test_what_a_batch_has_spent_stands_beside_its_cap(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b", max_cost=["getimg=2"])
    drain(runtime, ended(client))
    (row,) = client.bill("b")
    assert row["settled"] > 0
    assert f"getimg cap 2, {row['settled'].normalize():f} USD spent or set aside" in run("cap", "b").err


def test_a_cancelled_job_that_lacks_nothing_is_left_alone_by_a_retry(
    run: Run, client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": {"kind": "slow", "seconds": 60}}])
    client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b")
    cancelled: list[Any] = []

    def cancel_in_the_air() -> bool:
        if not cancelled and client.totals("b") == {"submitting": 1}:
            cancelled.append(client.cancel(batch="b"))
        return ended(client)()

    drain(runtime, cancel_in_the_air)
    assert ends(client) == {"a": ("cancelled", None)}
    assert only(client)["images"][0]["state"] == "stored"
    assert run("retry", "--batch", "b").code == 2
    assert client.totals("b") == {"cancelled": 1}


def test_a_plan_keeps_the_caps_of_other_providers(run: Run, client: Client, tmp_path: Path) -> None:
    client.enqueue([BLOOM], batch="b", max_cost=["bloom=0.5"])
    rows = tmp_path / "more.csv"
    rows.write_text("custom_id,provider,prompt\nx,bloom,a harbour\n")
    told = run("plan", rows, "--batch", "b", "--max-cost", "getimg=5")
    assert "genqueue cap b bloom=" in " ".join(told.out.split())
