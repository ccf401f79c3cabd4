"""What is wrong with a queue: each problem by its facts, and a quiet queue has none."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from producer.cli.status import screen
from shared.db.payments.drift import BalanceFigure, BalanceSpan
from shared.db.read.status import HeldLine, WorkerLine
from shared.lifecycle import Stage
from shared.problems import Problem, problems
from shared.wait_facts import Trouble, Wait, WaitReason
from tests.support.state import ACCOUNT, AGO, LINE, NOW, QUIET, SOON

LATE = replace(LINE, oldest_due_seconds=600.0, stalled_seconds=600.0)


def only(**changes: Any) -> Problem:
    (found,) = problems(replace(QUIET, **changes))
    return found


def test_a_quiet_queue_has_no_problem_and_says_so() -> None:
    assert problems(QUIET) == []
    assert "nothing is wrong as far as the database knows" in [line.plain for line in screen(QUIET, 80)]


def test_work_without_a_worker_is_a_problem_and_an_idle_queue_without_one_is_not() -> None:
    found = only(workers=())
    assert (found.code, found.words) == ("no_worker", "no worker runs, and 1 job waits")
    assert problems(replace(QUIET, workers=(), jobs={"bloom": {"succeeded": 4, "in_doubt": 0}}, lines=())) == []


def test_a_silent_and_a_stuck_worker_are_named() -> None:
    alive = QUIET.workers[0]
    found = only(workers=(alive, WorkerLine("w2", 16, 40.0, 0.0)))
    assert (found.code, found.subject, found.since) == ("worker_silent", "w2", NOW - timedelta(seconds=40))
    assert only(workers=(replace(alive, stuck_seconds=90.0),)).code == "worker_stuck"
    assert problems(replace(QUIET, workers=(replace(alive, stuck_seconds=30.0),))) == []


@pytest.mark.parametrize("kind", ["bucket", "broker", "disk"])
def test_trouble_around_workers_is_told_in_the_servers_words(kind: str) -> None:
    found = only(troubles=(Trouble(kind, "HTTP 403: AccessDenied", AGO, 2),))
    assert (found.code, found.since) == (kind, AGO)
    assert found.words.endswith("(2 worker(s)): HTTP 403: AccessDenied")


def test_a_pause_has_its_providers_words_its_link_and_the_command_that_ends_it() -> None:
    paused = replace(ACCOUNT, paused_at=AGO, paused_code="x", paused_reason="no credit", action_url="https://x.example")
    found = only(accounts=(paused,))
    assert (found.code, found.subject, found.words) == ("account_paused", "bloom", "account bloom is paused: no credit")
    assert found.then == "settle it (https://x.example), then genqueue resume bloom"


def test_a_balance_is_low_if_it_will_not_last_at_todays_pace() -> None:
    account = replace(ACCOUNT, balance=Decimal(4), spent_today=Decimal(12))  # a credit an hour since midnight
    assert only(accounts=(account,)).words == ("account bloom has 4 credit left, which lasts for 4.0 h at today's pace")
    for enough in (replace(account, balance=Decimal(7)), replace(account, spent_today=Decimal(0))):
        assert problems(replace(QUIET, accounts=(enough,))) == []


def test_workers_without_any_key_are_told_before_a_job_waits_for_one() -> None:
    found = only(accounts=(replace(ACCOUNT, served=False),), lines=())
    assert (found.code, found.subject) == ("key_missing", "")
    assert "none of them has the key of any account" in found.words
    assert problems(replace(QUIET, accounts=(ACCOUNT, replace(ACCOUNT, name="getimg", served=False)))) == []


def test_a_key_that_no_worker_has_is_told_once_for_all_stages() -> None:
    wait = Wait(WaitReason.NO_KEY, "no worker with the key")
    lines = (replace(LINE, wait=wait), replace(LINE, stage=Stage.POLL, wait=wait))
    assert only(lines=lines).code == "key_missing"


@pytest.mark.parametrize("reason", [WaitReason.WINDOW, WaitReason.SLOWED, WaitReason.CALLS, WaitReason.RETRY])
def test_work_that_waits_for_a_known_reason_is_progress(reason: WaitReason) -> None:
    assert problems(replace(QUIET, lines=(replace(LATE, wait=Wait(reason, "x")),))) == []


def test_a_large_batch_in_which_workers_take_job_after_job_is_progress() -> None:
    assert problems(replace(QUIET, lines=(replace(LATE, stalled_seconds=0.0),))) == []


@pytest.mark.parametrize("reason", [WaitReason.LINE, WaitReason.IN_BROKER])
def test_work_that_nothing_known_stops_and_nobody_takes_shows_that_workers_make_no_progress(
    reason: WaitReason,
) -> None:
    found = only(lines=(replace(LATE, wait=Wait(reason, "x")),))
    assert (found.code, found.subject) == ("no_progress", "bloom submit")


def test_a_link_that_expires_before_its_download_begins_is_a_problem() -> None:
    line = replace(LINE, stage=Stage.TRANSFER, link_expires_at=SOON)
    assert only(lines=(line,)).code == "link_expiring"
    for fine in (replace(line, due=0), replace(line, link_expires_at=NOW + timedelta(hours=1))):
        assert problems(replace(QUIET, lines=(fine,))) == []


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("in_doubt", "answer_lost", "held"),
        ("queued", "batch_cap_reached", "cap_reached"),
        ("queued", "price_unknown", "price_unknown"),
        ("queued", "trial_leftover", "held"),
    ],
)
def test_held_jobs_and_jobs_without_room_under_a_cap_are_different_problems(
    state: str, code: str, expected: str
) -> None:
    found = only(held=(HeldLine("bloom", state, code, 3),), held_since=AGO)
    assert found.code == expected
    assert found.words.startswith("3 jobs at bloom are held: ")
    assert found.since == (AGO if state == "in_doubt" else None)
    assert "genqueue" in found.then or "_PRICES" in found.then


def test_a_batch_that_a_person_holds_is_no_problem() -> None:
    assert problems(replace(QUIET, held=(HeldLine("bloom", "queued", "batch_held", 3),))) == []


def test_drift_names_the_amount_and_the_command_that_accepts_it() -> None:
    zero = Decimal(0)
    base = BalanceFigure(AGO, Decimal(10), zero, zero, zero, zero, zero, 0, 0, 0)
    span = BalanceSpan("bloom", "credit", base, replace(base, at=NOW, balance=Decimal("7.0")), current=True)
    found = only(drifts=(span,))
    assert found.words == "account bloom: the provider took 3 credit more than the ledger knows"
    assert found.then.endswith("genqueue bill --accept-drift bloom")


def test_no_line_of_the_screen_is_wider_than_the_terminal() -> None:
    reason = "the provider says that this account cannot pay for what was asked, and it says so at great length " * 3
    paused = replace(ACCOUNT, paused_at=AGO, paused_code="x", paused_reason=reason, action_url="https://x.example")
    many = {"bloom": dict.fromkeys(("queued", "on_hold", "in_doubt", "succeeded", "failed", "cancelled"), 1_000_000)}
    status = replace(QUIET, accounts=(paused,), troubles=(Trouble("bucket", reason, AGO),), jobs=many)
    lines = [line.plain for line in screen(status, 80)]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("! the bucket refuses") for line in lines[1:3])


@pytest.mark.parametrize(("paying", "shown"), [(2, "paused, 2 in hand"), (0, "paused ")])
def test_a_paused_account_shows_the_calls_that_a_new_key_must_wait_for(paying: int, shown: str) -> None:
    paused = replace(ACCOUNT, paused_at=AGO, paused_code="paused_by_person", paying=paying)
    lines = [line.plain for line in screen(replace(QUIET, accounts=(paused,)), 80)]
    (row,) = [line for line in lines[lines.index("accounts") :] if line.startswith("  bloom")]
    assert shown in row


@pytest.mark.parametrize(("state", "shown"), [("in_doubt", "in_doubt"), ("queued", "on_hold")])
def test_the_advice_about_held_jobs_leads_from_the_batches_to_the_jobs(state: str, shown: str) -> None:
    found = only(held=(HeldLine("bloom", state, "answer_lost", 3),), held_since=AGO)
    assert f"genqueue jobs BATCH --state {shown}" in found.then
