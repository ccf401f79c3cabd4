"""Why a job waits: from its row, its account and the servers to one reason in words. Pure; reads no clock."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from shared import catalog
from shared.errors import CODES
from shared.lifecycle import FINAL, POLLED, JobState
from shared.notes import counted
from shared.pause_ends import ends_pause
from shared.wait_facts import CAPPED_SECONDS, AccountState, Around, Wait, WaitingJob, WaitReason

Check = Callable[[WaitingJob, AccountState, Around], Wait | None]

_MONEY: Final = {"batch_cap_reached", "price_unknown"}
_BUCKET: Final = "storage_"
_DISK: Final = ("spool_", "reply_damaged")
_CLOCK_SLACK: Final = 5.0
"""Seconds by which a wait that was written during the reading may look longer than it is."""
_IN_HAND: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "prepares its paid call",
    JobState.SUBMITTING: "waits for the answer to its paid call",
    JobState.PENDING: "asks the provider about it",
    JobState.PROCESSING: "asks the provider about it",
    JobState.TRANSFERRING: "copies its images into the bucket",
    JobState.IN_DOUBT: "looks for what its lost call bought",
}
_LONG: Final = timedelta(minutes=1)  # a shorter wait needs nobody
_START: Final = "start one: `genqueue up`, or `genqueue worker`"


def why(job: WaitingJob, around: Around) -> Wait | None:
    """Return the reason why a job waits; None for one that has ended. The first reason that applies is the answer."""
    if job.state in FINAL:
        return None
    account = around.accounts[job.account]
    found = (check(job, account, around) for check in (_held, _in_hand, _unserved, *_CHECKS[job.state]))
    return replace(next(filter(None, found), None) or _line(job, account, around), at=around.now)


def _held(job: WaitingJob, _account: AccountState, _around: Around) -> Wait | None:
    if not job.on_hold:
        return None
    code = CODES.get(job.error_code or "")
    words = code.meaning if code else "it is held for a person"
    then = code.you_can if code else "`genqueue explain JOB`"
    return Wait(WaitReason.CAP if job.error_code in _MONEY else WaitReason.PERSON, words, then=then)


def _in_hand(job: WaitingJob, _account: AccountState, around: Around) -> Wait | None:
    if job.claimed_by is None or job.due_at is None or job.due_at <= around.now:
        return None
    age = around.ticks.get(job.claimed_by)
    if age is None or age >= around.alive_seconds:
        since = "is gone" if age is None else f"has not ticked for {age:.0f} s"
        words = f"worker {job.claimed_by} had it and {since}; another one takes it over"
        return Wait(WaitReason.IN_HAND if around.live_workers else WaitReason.NO_WORKER, words, job.due_at)
    if not job.begun and job.state is not JobState.SUBMITTING:
        return Wait(WaitReason.IN_BROKER, "its message waits in the broker for a free slot of a worker", job.due_at)
    return Wait(WaitReason.IN_HAND, f"worker {job.claimed_by} {_IN_HAND[job.state]}", job.due_at)


def _unserved(_job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    if not around.live_workers:
        return Wait(WaitReason.NO_WORKER, "no worker runs", then=_START)
    if account.served:
        return None
    ever = "has run yet" if account.seen_at is None else "has run for ten minutes"
    words = f"no worker with the key of account {account.name} {ever}"
    return Wait(WaitReason.NO_KEY, words, then="set the account's key for a worker and start it again")


def _paused(_job: WaitingJob, account: AccountState, _around: Around) -> Wait | None:
    if account.paused_at is None:
        return None
    words = f"account {account.name} is paused: {account.paused_reason}"
    link, probe_at = account.action_url, account.probe_at
    then = ends_pause("ACCOUNT", account.paused_code, link=link, probe_at=probe_at, mark="`")
    return Wait(WaitReason.PAUSED, words, then=then)


def _no_disk(_job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    """Say that a disk has no room. A call that found none there slows its account, as a provider's wish does."""
    trouble = around.trouble("disk")
    if trouble is None or not _at_once(account) or account.not_before is None or account.not_before <= around.now:
        return None
    words = f"account {account.name} starts no paid call: a worker's disk has no room: {trouble.said}"
    return Wait(WaitReason.DISK, words, account.not_before, "see `genqueue doctor` on the worker's host")


def _at_once(account: AccountState) -> bool:
    """Tell whether the provider answers a call with the image itself."""
    return account.provider in catalog.names() and not catalog.get(account.provider).is_polled


def _slowed(_job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    if account.not_before is None or account.not_before <= around.now:
        return None
    begin = f"account {account.name} starts no paid call: "
    pace = "its provider asked for a slower pace"
    # Only a provider asks for more than the wait after a call that a daily cap refused.
    if account.daily_cap is None or account.not_before > around.now + timedelta(seconds=CAPPED_SECONDS + _CLOCK_SLACK):
        then = "`genqueue resume ACCOUNT` tries at once" if account.not_before - around.now > _LONG else ""
        return Wait(WaitReason.SLOWED, begin + pace, account.not_before, then)
    spent = _spent_of_cap(account, account.daily_cap)
    if account.spent_today >= account.daily_cap or account.unpriced_today:
        return Wait(WaitReason.SLOWED, f"{begin}its daily cap is reached ({spent})", _midnight(around.now), sums=spent)
    words = f"{begin}its daily cap had too little room ({spent}), or {pace}; the database does not show which"
    return Wait(WaitReason.SLOWED, words, account.not_before, sums=spent)


def _spent_of_cap(account: AccountState, cap: Decimal) -> str:
    spent = f"{account.spent_today.normalize():f} of {cap.normalize():f} {account.unit} are spent or set aside"
    unpriced = account.unpriced_today
    return f"{spent}, and so is the unknown price of {counted(unpriced, 'call')}" if unpriced else spent


def _midnight(now: datetime) -> datetime:
    """Return when the next UTC day begins: a daily cap has room again then."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _put_off(job: WaitingJob, _account: AccountState, around: Around) -> Wait | None:
    """Say what refused the last try, if the next one has its time."""
    if job.error_code is None or job.due_at is None or job.due_at <= around.now:
        return None
    code = CODES.get(job.error_code)
    said = f": {job.error}" if job.error else ""
    then = code.you_can if code and code.you_can != CODES["rate_limited"].you_can else ""
    return Wait(_kind(job.error_code), f"{code.meaning if code else job.error_code}{said}", job.due_at, then)


def _kind(code: str) -> WaitReason:
    if code.startswith(_BUCKET):
        return WaitReason.BUCKET
    return WaitReason.DISK if code.startswith(_DISK) else WaitReason.RETRY


def _no_bucket(job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    """Say that the bucket refuses. What a provider delivers at once is not bought meanwhile: it could not be stored."""
    trouble = around.trouble("bucket")
    if trouble is None or (job.state is JobState.QUEUED and not _at_once(account)):
        return None
    return Wait(WaitReason.BUCKET, f"the bucket refuses: {trouble.said}", then="see `genqueue doctor`")


def _no_broker(_job: WaitingJob, _account: AccountState, around: Around) -> Wait | None:
    trouble = around.trouble("broker")
    if trouble is None:
        return None
    return Wait(WaitReason.BROKER, f"the broker takes no messages: {trouble.said}", then="see `genqueue doctor`")


def _window(job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    """Name the window that is full for longest. Free looks fill all of a window, paid calls leave them a part."""
    looks = job.state in POLLED
    full = [
        use
        for use in account.windows
        if (use.used >= use.window.requests and use.window.scope == "all" if looks else use.is_full)
    ]
    if not full or (looks and job.due_at is not None and job.due_at > around.now):
        return None
    last = max(full, key=lambda use: use.free_at or around.now)
    part = f", {last.kept} of them for free looks" if last.kept and not looks else ""
    return Wait(
        WaitReason.WINDOW, f"a rate window of account {account.name} is full: {last.window}{part}", last.free_at
    )


def _calls(_job: WaitingJob, account: AccountState, _around: Around) -> Wait | None:
    if account.paying < account.concurrency:
        return None
    slow = "; after a pause it starts slowly" if account.slow_start else ""
    words = f"account {account.name} has {account.paying} of {account.concurrency} paid calls in hand{slow}"
    return Wait(WaitReason.CALLS, words)


def _at_provider(job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    if job.due_at is None or job.due_at <= around.now:
        return None
    words = f"{catalog.get(account.provider).title} makes it; a worker asks again"
    return Wait(WaitReason.PROVIDER, words, job.due_at)


def _looking(job: WaitingJob, _account: AccountState, _around: Around) -> Wait | None:
    lost = "its worker did not finish; another one" if job.state is JobState.SUBMITTING else "a worker"
    return Wait(WaitReason.LOOKING, f"{lost} looks for what its paid call bought", job.due_at)


def _line(job: WaitingJob, account: AccountState, around: Around) -> Wait:
    if job.due_at is not None and job.due_at > around.now:
        return Wait(WaitReason.LINE, "it is looked at again soon", job.due_at)
    if job.state is JobState.QUEUED:
        return Wait(WaitReason.LINE, f"in line at account {account.name}")
    what = "its download is due" if job.state is JobState.TRANSFERRING else "the next question to its provider is due"
    return Wait(WaitReason.LINE, f"{what}; a worker takes it next")


_CHECKS: Final[Mapping[JobState, tuple[Check, ...]]] = {
    JobState.QUEUED: (_paused, _no_disk, _slowed, _put_off, _no_bucket, _no_broker, _window, _calls),
    JobState.SUBMITTING: (_no_broker, _looking),
    JobState.PENDING: (_put_off, _no_broker, _at_provider, _window),
    JobState.PROCESSING: (_put_off, _no_broker, _at_provider, _window),
    JobState.TRANSFERRING: (_put_off, _no_bucket),
    JobState.IN_DOUBT: (_no_broker, _looking),
}
