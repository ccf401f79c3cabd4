"""The commands for many jobs, as people and scripts type them: the preview, the question, and what is refused."""

import os
import pty
import re
import select
import shlex
import subprocess
from collections.abc import Callable
from decimal import Decimal

import pytest

from producer import Client
from shared.db.engine import Engine
from tests.e2e.spawning import COMMAND, IMPORTS
from tests.support import held, rows
from tests.support.command import Ran, genqueue

Run = Callable[..., Ran]
RESEND = ("resolve", "--batch", "b", "--resend")


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue(*arguments, env={"GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80"})


def printed_command(ran: Ran) -> list[str]:
    """The command that a dry run says would do exactly what it showed."""
    (line,) = [line for line in ran.out.splitlines() if "--confirm" in line]
    return shlex.split(line)[1:]


def at_a_terminal(answer: str, *arguments: str, database_url: str) -> tuple[int, str]:
    """Run a command at a terminal of 80 columns and answer its question."""
    leader, follower = pty.openpty()
    env = {**os.environ, **IMPORTS, "GENQUEUE_DATABASE_URL": database_url, "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=follower, stdout=follower, stderr=follower, env=env, close_fds=True
    )
    os.close(follower)
    said = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            said += (more := os.read(leader, 4096))
        except OSError:
            break
        if more.rstrip().endswith(b"[y/N]:"):
            os.write(leader, answer.encode() + b"\n")
    os.close(leader)
    return process.wait(60), said.decode()


@pytest.mark.parametrize("command", [RESEND, ("retry", "--batch", "b", "--buy-again"), ("cancel", "--batch", "b")])
def test_a_dry_run_shows_counts_by_account_and_reason_and_changes_nothing(
    command: tuple[str, ...], run: Run, engine: Engine
) -> None:
    held.held(engine, 12)
    held.held(engine, 3, account="getimg", code="provider_error")
    held.failed(engine, 4)
    before = held.everything(engine)
    ran = run(*command, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert held.everything(engine) == before
    shown = [line.split() for line in ran.out.splitlines()]
    if command[0] == "retry":
        assert ["bloom", "generation_failed", "4", "bought", "again,", "perhaps", "twice"] in shown
    else:
        assert ["bloom", "answer_lost", "12"] in [line[:3] for line in shown]
        assert ["getimg", "provider_error", "3"] in [line[:3] for line in shown]
    assert "Nothing was changed" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_worst_second_charge_is_shown_by_unit_with_calls_of_unknown_price(run: Run, engine: Engine) -> None:
    held.held(engine, 3, price=Decimal("1.50"))
    held.held(engine, 2, account="getimg", price=Decimal("0.04"))
    held.held(engine, 2, account="openrouter", price=None)
    ran = run(*RESEND, "--dry-run")
    worst = "worst second charge: 0.08 USD and 4.5 credit of bloom and 2 calls of unknown price"
    assert worst in " ".join(ran.out.split())
    assert "if one of them was charged all the same" in " ".join(
        run(*RESEND, "--charged", "0", "--dry-run").out.split()
    )


def test_the_printed_command_does_exactly_what_was_shown(run: Run, client: Client, engine: Engine) -> None:
    held.held(engine, 3)
    held.held(engine, code="provider_error")
    ran = run(*printed_command(run(*RESEND, "--error-code", "answer_lost", "--dry-run")))
    assert ran.code == 0
    assert "3 wait in line to be sent again" in ran.err
    assert client.totals("b") == {"queued": 3, "in_doubt": 1}


def test_a_token_is_refused_once_the_jobs_are_others_and_the_difference_is_named(
    run: Run, client: Client, engine: Engine
) -> None:
    first, *_ = held.held(engine, 3)
    confirmed = printed_command(run(*RESEND, "--dry-run"))
    client.resolve(first, resend=False)
    held.held(engine, 2)
    before = held.everything(engine)
    ran = run(*confirmed)
    assert ran.code == 2
    said = " ".join(ran.err.split())
    assert "it showed 3; since then 2 began to match, and 1 no longer match" in said
    assert held.everything(engine) == before


def test_a_token_is_refused_once_nothing_is_left_of_what_it_showed(run: Run, client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    confirmed = printed_command(run(*RESEND, "--dry-run"))
    client.resolve(job, resend=False)
    ran = run(*confirmed)
    assert (ran.code, "since then 0 began to match, and 1 no longer match" in " ".join(ran.err.split())) == (2, True)


@pytest.mark.parametrize("other", [("--fail",), ("--resend", "--charged", "0")])
def test_a_token_of_one_act_is_none_of_another(
    other: tuple[str, ...], run: Run, client: Client, engine: Engine
) -> None:
    held.held(engine)
    *_, token = printed_command(run(*RESEND, "--dry-run"))
    ran = run("resolve", "--batch", "b", *other, "--confirm", token)
    assert (ran.code, client.totals("b")) == (2, {"in_doubt": 1})


@pytest.mark.parametrize("token", ["yes", "1-2-3", "x-y-z", "", "1-ffffffffffffffffffff-abc"])
def test_what_is_no_token_confirms_nothing(token: str, run: Run, client: Client, engine: Engine) -> None:
    held.held(engine)
    ran = run(*RESEND, f"--confirm={token}")
    assert (ran.code, client.totals("b")) == (2, {"in_doubt": 1})
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (RESEND, ()),
        (RESEND, ("--yes",)),
        (("retry", "--account", "bloom", "--buy-again"), ("--yes",)),
        (("retry", "--error-code", "provider_rejected"), ()),
        (("resolve", "--batch", "b", "--fail"), ()),
        (("cancel", "--batch", "b"), ()),
    ],
)
def test_a_script_that_confirms_nothing_is_refused_with_the_words_to_use(
    command: tuple[str, ...], more: tuple[str, ...], run: Run, engine: Engine
) -> None:
    held.held(engine)
    held.failed(engine)
    held.refused(engine)
    before = held.everything(engine)
    ran = run(*command, *more)
    assert ran.code == 2
    assert held.everything(engine) == before
    (advised,) = re.findall(r"run `(genqueue [^`]*)`", " ".join(ran.err.split()))
    assert "--dry-run" in advised
    assert run(*shlex.split(advised)[1:]).code == 0
    assert ("Add --yes" in ran.err) == (not more and "--resend" not in command)


def test_what_can_cost_no_second_charge_is_done_with_yes(run: Run, client: Client, engine: Engine) -> None:
    held.held(engine, 2)
    held.refused(engine)
    rows.add(engine, [rows.new_job("waits")])
    assert run("resolve", "--batch", "b", "--fail", "--charged", "0", "--yes").code == 0
    assert run("retry", "--error-code", "provider_rejected", "--yes").code == 0
    assert client.totals("b") == {"failed": 2, "queued": 2}
    assert run("cancel", "--account", "bloom", "--yes").code == 0
    assert client.totals("b") == {"failed": 2, "cancelled": 2}


def test_what_was_bought_once_is_left_alone_by_a_retry_of_many_and_counted(
    run: Run, client: Client, engine: Engine
) -> None:
    held.failed(engine, 3)
    held.refused(engine)
    ran = run("retry", "--batch", "b", "--yes")
    assert (ran.code, client.totals("b")) == (0, {"failed": 3, "queued": 1})
    assert "left alone: 3 may already be bought; --buy-again" in " ".join(ran.err.split())
    assert run("retry", "--batch", "b", "--yes").code == 2


def test_an_amount_is_for_each_lost_call_and_its_sum_is_shown(run: Run, client: Client, engine: Engine) -> None:
    held.held(engine, 3, account="getimg")
    ran = run("resolve", "--account", "getimg", "--fail", "--charged", "0.04", "--yes")
    assert "charged: 0.04 each, 0.12 USD for 3 lost calls" in ran.err
    assert client.bill("b")[0]["settled"] == Decimal("0.12")


def test_jobs_are_named_one_by_one_or_by_filters_and_never_both(run: Run, engine: Engine) -> None:
    (job,) = held.held(engine)
    for arguments in (
        ("resolve", str(job), "--batch", "b", "--fail"),
        ("resolve", "--fail"),
        ("cancel",),
        ("cancel", str(job), "--account", "bloom"),
        ("retry",),
        ("retry", str(job), "--batch", "b"),
        ("resolve", "--batch", "nowhere", "--fail", "--yes"),
        ("resolve", "--batch", "b", "--error-code", "no_such_code", "--fail", "--yes"),
    ):
        ran = run(*arguments)
        assert (ran.code, len(ran.error_lines)) == (2, 1), arguments


@pytest.mark.parametrize("name", ["my batch", "-x", "it's [b]"])
def test_the_printed_command_works_whatever_the_batch_is_called(
    name: str, run: Run, client: Client, engine: Engine
) -> None:
    held.held(engine, batch=name)
    assert run(*printed_command(run("resolve", f"--batch={name}", "--fail", "--dry-run"))).code == 0
    assert client.totals(name) == {"failed": 1}


def test_a_single_job_is_shown_by_a_dry_run_and_else_acted_on_at_once(run: Run, client: Client, engine: Engine) -> None:
    (job,) = held.held(engine)
    shown = run("resolve", str(job), "--resend", "--dry-run")
    assert (shown.code, client.totals("b")) == (0, {"in_doubt": 1})
    assert "worst second charge: 2 credit of bloom" in shown.out
    ran = run("resolve", str(job), "--resend")
    assert (ran.code, ran.err.strip()) == (0, f"{job} is queued; the money stays held")


@pytest.mark.parametrize(("answer", "code", "totals"), [("y", 0, {"queued": 2}), ("n", 1, {"in_doubt": 2})])
def test_at_a_terminal_the_preview_is_shown_and_a_yes_does_exactly_that(
    answer: str, code: int, totals: dict[str, int], database_url: str, client: Client, engine: Engine
) -> None:
    held.held(engine, 2)
    ended, said = at_a_terminal(answer, *RESEND, "--yes", database_url=database_url)
    assert (ended, client.totals("b")) == (code, totals), said
    assert "worst second charge: 4 credit of bloom" in said


def test_the_policy_is_shown_changed_and_its_risk_is_told(run: Run, client: Client, engine: Engine) -> None:
    held.held(engine, 2)
    told = " ".join(run("policy", "b").err.split())
    assert "never pays twice" in told
    ran = run("policy", "b", "resend")
    told = " ".join(ran.err.split())
    assert (ran.code, client.policy("b")) == (0, "resend")
    assert "2 held jobs are looked at again" in told
    assert "one second charge" in told
    assert max(map(len, ran.err.splitlines())) <= 80
    assert run("policy", "b", "both").code == 2
    assert run("policy", "nowhere", "hold").code == 2


def test_where_jobs_are_held_by_policy_the_other_policy_is_named_with_its_risk(
    run: Run, client: Client, engine: Engine
) -> None:
    (job,) = held.held(engine, batch="my batch")
    for ran in (run("explain", str(job)), run("batches"), run("watch", "my batch"), _resend_preview(run)):
        told = " ".join((ran.out + ran.err).split())
        assert "genqueue policy 'my batch' resend" in told
        assert "is charged a second time" in told
    client.set_policy("my batch", "resend")
    for ran in (run("explain", str(job)), run("batches"), run("watch", "my batch"), _resend_preview(run)):
        assert "genqueue policy" not in ran.out + ran.err


def _resend_preview(run: Run) -> Ran:
    return run("resolve", "--batch", "my batch", "--resend", "--dry-run")


def test_no_policy_is_advised_where_the_provider_can_show_nothing(run: Run, engine: Engine) -> None:
    (job,) = held.held(engine, account="getimg")
    for ran in (run("explain", str(job)), run("batches"), run("watch", "b")):
        assert "genqueue policy" not in ran.out + ran.err


def test_a_named_job_that_did_not_fail_is_told_how_it_stands(run: Run, client: Client, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("gone"), rows.new_job("done"), rows.new_job("waits")])
    client.cancel(job=client.find_job("b/gone"))
    rows.rows(engine, "UPDATE job SET state = 'succeeded', finished_at = now(), due_at = NULL WHERE custom_id = 'done'")
    for name, said in (
        ("gone", "b/gone is cancelled: enqueue it again under a new custom_id"),
        ("done", "b/done has succeeded: nothing to retry"),
        ("waits", "b/waits has not failed, it is queued: genqueue explain b/waits"),
    ):
        for more in ((), ("--dry-run",)):
            ran = run("retry", f"b/{name}", *more)
            assert (ran.code, ran.err) == (2, f"error: {said}\n")
