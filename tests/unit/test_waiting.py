"""Why a job waits: each reason by its facts, and which of two comes first."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from shared.account_settings import RateWindow
from shared.lifecycle import FINAL, JobState
from shared.wait_facts import AccountState, Around, Trouble, Wait, WaitingJob, WaitReason, WindowUse
from shared.waiting import why
from tests.support.state import ACCOUNT, AGO, JOB, NOW, SOON

TICKS = {"w1": 0.3}


def reason(job: WaitingJob, account: AccountState = ACCOUNT, *, ticks: dict[str, float] | None = None) -> Wait:
    found = why(job, Around(NOW, {"bloom": account}, TICKS if ticks is None else ticks))
    assert found is not None
    return found


def window(used: int, *, kept: int = 0, scope: str = "all") -> tuple[WindowUse, ...]:
    return (WindowUse(RateWindow(requests=120, seconds=60, scope=scope), used, kept, SOON),)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_job_that_has_ended_waits_for_nothing(state: JobState) -> None:
    assert why(replace(JOB, state=state), Around(NOW, {"bloom": ACCOUNT}, TICKS)) is None


@pytest.mark.parametrize("state", [state for state in JobState if state not in FINAL])
@pytest.mark.parametrize("due", [None, AGO, SOON])
def test_every_job_that_has_not_ended_has_a_reason(state: JobState, due: datetime | None) -> None:
    for on_hold in (False, True):
        for claimed in (None, "w1", "gone"):
            found = reason(replace(JOB, state=state, due_at=due, on_hold=on_hold, claimed_by=claimed))
            assert found.words
            assert found.at == NOW


def test_a_job_that_nothing_stops_is_in_line() -> None:
    assert (reason(JOB).reason, reason(JOB).words) == (WaitReason.LINE, "in line at account bloom")


def test_without_a_worker_every_stage_waits_for_one_and_the_command_is_named() -> None:
    for state in (JobState.QUEUED, JobState.PENDING, JobState.TRANSFERRING, JobState.IN_DOUBT):
        for ticks in ({}, {"w1": 60.0}):
            found = reason(replace(JOB, state=state), ticks=ticks)
            assert found.reason is WaitReason.NO_WORKER
            assert "`genqueue worker`" in found.then


def test_a_job_whose_key_no_worker_has_says_since_when() -> None:
    never = reason(JOB, replace(ACCOUNT, served=False, seen_at=None))
    assert never.reason is WaitReason.NO_KEY
    assert "no worker with the key of account bloom has run yet" in never.words
    assert "ten minutes" in reason(JOB, replace(ACCOUNT, served=False)).words


PAUSED = replace(
    ACCOUNT, paused_at=AGO, paused_code="x", paused_reason="HTTP 402: top up", action_url="https://example.com/topup"
)


def test_a_paused_account_holds_up_paid_calls_with_its_providers_words_and_link_and_nothing_that_is_bought() -> None:
    found = reason(JOB, PAUSED)
    assert (found.reason, found.words) == (WaitReason.PAUSED, "account bloom is paused: HTTP 402: top up")
    assert found.then == "settle it (https://example.com/topup), then `genqueue resume ACCOUNT`"
    assert "12:00:30 UTC" in reason(JOB, replace(PAUSED, probe_at=SOON)).then
    assert reason(replace(JOB, state=JobState.TRANSFERRING), PAUSED).reason is WaitReason.LINE


def test_an_account_without_a_daily_cap_is_slowed_by_its_provider_until_the_time_that_it_asked_for() -> None:
    found = reason(JOB, replace(ACCOUNT, not_before=SOON))
    assert (found.reason, found.until) == (WaitReason.SLOWED, SOON)
    assert str(found) == ("account bloom starts no paid call: its provider asked for a slower pace, until 12:00:30 UTC")
    assert found.then == ""
    for_long = replace(ACCOUNT, not_before=SOON + timedelta(hours=20))
    assert reason(JOB, for_long).then == "`genqueue resume ACCOUNT` tries at once"
    assert reason(JOB, replace(ACCOUNT, not_before=AGO)).reason is WaitReason.LINE


def test_an_account_that_a_full_disk_slows_is_not_slowed_by_its_provider() -> None:
    full = (Trouble("disk", "14 MiB free in /spool", AGO),)
    at_once = replace(ACCOUNT, provider="openrouter")

    def found(account: AccountState) -> Wait | None:
        return why(JOB, Around(NOW, {"bloom": account}, TICKS, 15.0, full))

    slowed = found(replace(at_once, not_before=SOON))
    assert str(slowed).startswith(
        "account bloom starts no paid call: a worker's disk has no room: 14 MiB free in /spool, until 12:00:30"
    )
    assert slowed is not None
    assert slowed.reason is WaitReason.DISK
    assert "its provider asked for a slower pace" in reason(JOB, replace(at_once, not_before=SOON)).words
    assert "its provider asked for a slower pace" in str(found(replace(ACCOUNT, not_before=SOON)))
    assert "in line" in str(found(at_once))


CAPPED = replace(ACCOUNT, not_before=SOON, daily_cap=Decimal("20.0"), spent_today=Decimal("20.00"))


def test_a_daily_cap_that_is_spent_is_named_alone_with_its_sum_and_lasts_until_midnight() -> None:
    found = reason(JOB, CAPPED)
    assert found.reason is WaitReason.SLOWED
    assert str(found) == (
        "account bloom starts no paid call: its daily cap is reached (20 of 20 credit are spent or set aside), "
        "until 2026-05-05 00:00:00 UTC"
    )


def test_a_call_of_unknown_price_fills_a_daily_cap() -> None:
    found = reason(JOB, replace(CAPPED, spent_today=Decimal(3), unpriced_today=2))
    said = "(3 of 20 credit are spent or set aside, and so is the unknown price of 2 calls)"
    assert found.words.endswith(f"its daily cap is reached {said}")


@pytest.mark.parametrize("spent", ["20", "3"])
def test_a_wait_longer_than_a_daily_cap_sets_is_the_providers_whatever_is_spent(spent: str) -> None:
    later = NOW + timedelta(minutes=10)
    found = reason(JOB, replace(CAPPED, not_before=later, spent_today=Decimal(spent)))
    assert found.words == "account bloom starts no paid call: its provider asked for a slower pace"
    assert found.until == later


def test_where_a_daily_cap_has_some_room_left_neither_reason_is_made_up() -> None:
    found = reason(JOB, replace(CAPPED, spent_today=Decimal("19.50")))
    assert found.words == (
        "account bloom starts no paid call: its daily cap had too little room (19.5 of 20 credit are spent or set "
        "aside), or its provider asked for a slower pace; the database does not show which"
    )
    assert found.until == SOON


@pytest.mark.parametrize(("used", "kept", "full"), [(120, 0, True), (119, 0, False), (90, 30, True), (89, 30, False)])
def test_a_paid_call_waits_for_a_full_window_and_leaves_free_looks_their_part(
    used: int, kept: int, *, full: bool
) -> None:
    found = reason(JOB, replace(ACCOUNT, windows=window(used, kept=kept)))
    assert (found.reason is WaitReason.WINDOW) == full
    if full:
        assert found.until == SOON
        assert "a rate window of account bloom is full: 120/minute" in found.words
        assert ("30 of them for free looks" in found.words) == bool(kept)


def test_a_free_look_waits_only_for_a_window_of_all_requests_that_is_quite_full() -> None:
    due = replace(JOB, state=JobState.PENDING)
    assert reason(due, replace(ACCOUNT, windows=window(90, kept=30))).reason is WaitReason.LINE
    assert reason(due, replace(ACCOUNT, windows=window(120, kept=30))).reason is WaitReason.WINDOW
    assert reason(due, replace(ACCOUNT, windows=window(120, scope="submit"))).reason is WaitReason.LINE


def test_calls_in_the_air_are_counted_against_what_the_account_may_have() -> None:
    assert reason(JOB, replace(ACCOUNT, paying=8)).words == "account bloom has 8 of 8 paid calls in hand"
    slow = reason(JOB, replace(ACCOUNT, paying=1, concurrency=1, slow_start=True))
    assert slow.words.endswith("; after a pause it starts slowly")


def test_a_claimed_job_is_in_the_broker_until_a_worker_begins_it() -> None:
    claimed = replace(JOB, claimed_by="w1", due_at=SOON)
    assert reason(claimed).reason is WaitReason.IN_BROKER
    begun = reason(replace(claimed, begun=True))
    assert (begun.reason, begun.words) == (WaitReason.IN_HAND, "worker w1 prepares its paid call")
    paying = replace(claimed, state=JobState.SUBMITTING)
    assert reason(paying).words == "worker w1 waits for the answer to its paid call"
    assert reason(replace(claimed, due_at=AGO, begun=True)).reason is WaitReason.LINE


@pytest.mark.parametrize("ticks", [{"w2": 0.1}, {"w2": 0.1, "w1": 40.0}])
def test_a_job_of_a_worker_that_is_gone_or_frozen_says_so_and_when_it_is_free(ticks: dict[str, float]) -> None:
    found = reason(replace(JOB, claimed_by="w1", due_at=SOON, begun=True), ticks=ticks)
    assert found.words.startswith("worker w1 had it and ")
    assert found.until == SOON


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("storage_refused", WaitReason.BUCKET),
        ("spool_full", WaitReason.DISK),
        ("reply_damaged", WaitReason.DISK),
        ("result_unavailable", WaitReason.RETRY),
        ("of_a_later_version", WaitReason.RETRY),
    ],
)
def test_a_refused_try_waits_for_the_next_with_the_servers_own_words(code: str, expected: WaitReason) -> None:
    put_off = replace(JOB, state=JobState.TRANSFERRING, due_at=SOON, error_code=code, error="HTTP 403: no")
    found = reason(put_off)
    assert (found.reason, found.until) == (expected, SOON)
    assert found.words.endswith(": HTTP 403: no")
    assert reason(replace(put_off, due_at=AGO)).reason is WaitReason.LINE


@pytest.mark.parametrize(
    ("code", "expected"),
    [("answer_lost", WaitReason.PERSON), ("batch_cap_reached", WaitReason.CAP), (None, WaitReason.PERSON)],
)
def test_a_job_on_hold_names_what_ends_it_whatever_else_is_wrong(code: str | None, expected: WaitReason) -> None:
    found = reason(replace(JOB, on_hold=True, error_code=code), PAUSED, ticks={})
    assert found.reason is expected
    assert "`genqueue " in found.then


def test_what_the_provider_makes_is_asked_for_again_at_its_time() -> None:
    found = reason(replace(JOB, state=JobState.PROCESSING, due_at=SOON))
    assert (found.reason, str(found)) == (
        WaitReason.PROVIDER,
        "Bloom makes it; a worker asks again, until 12:00:30 UTC",
    )


EVERY = replace(PAUSED, not_before=SOON, windows=window(120), paying=8)
ORDER = [
    (EVERY, WaitReason.PAUSED),
    (replace(EVERY, paused_at=None), WaitReason.SLOWED),
    (replace(EVERY, paused_at=None, not_before=None), WaitReason.WINDOW),
    (replace(EVERY, paused_at=None, not_before=None, windows=()), WaitReason.CALLS),
]


@pytest.mark.parametrize(("account", "first"), ORDER)
def test_of_several_reasons_the_one_that_lasts_longest_is_told(account: AccountState, first: WaitReason) -> None:
    assert reason(JOB, account).reason is first


def around(kind: str, *names: str) -> Around:
    known = {name: replace(ACCOUNT, name=name, provider=name) for name in names}
    return Around(NOW, known, TICKS, 15.0, (Trouble(kind, "HTTP 403", AGO),))


@pytest.mark.parametrize(
    ("account", "state", "waits"),
    [
        ("getimg", JobState.QUEUED, True),
        ("bloom", JobState.QUEUED, False),
        ("bloom", JobState.TRANSFERRING, True),
        ("bloom", JobState.PENDING, False),
    ],
)
def test_a_refusing_bucket_holds_up_downloads_and_what_would_have_to_be_stored_at_once(
    account: str, state: JobState, *, waits: bool
) -> None:
    found = why(replace(JOB, account=account, state=state), around("bucket", account))
    assert found is not None
    assert (found.reason is WaitReason.BUCKET) == waits
    assert ("the bucket refuses: HTTP 403" in found.words) == waits


def test_a_broker_that_is_away_holds_up_all_but_downloads_which_a_worker_runs_without_it() -> None:
    for state in (JobState.QUEUED, JobState.PENDING, JobState.IN_DOUBT):
        found = why(replace(JOB, state=state), around("broker", "bloom"))
        assert found is not None
        assert (found.reason, found.words) == (WaitReason.BROKER, "the broker takes no messages: HTTP 403")
    found = why(replace(JOB, state=JobState.TRANSFERRING), around("broker", "bloom"))
    assert found is not None
    assert found.reason is WaitReason.LINE
