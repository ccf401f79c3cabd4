"""Why a job waits: from its row, its account and the servers to one reason in words. Pure; reads no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared import catalog
from shared.account_settings import RateWindow
from shared.errors import CODES
from shared.lifecycle import FINAL, POLLED, JobState


class WaitReason(StrEnum):
    """What a job waits for."""

    PERSON = "person"
    """It is held: a person decides."""
    CAP = "cap"
    """A cap has no room, or a price is unknown: it goes on when money comes back or a person makes room."""
    NO_WORKER = "no_worker"
    """No worker process ticks."""
    NO_KEY = "no_key"
    """No running worker has the key of its account."""
    PAUSED = "paused"
    """Its account is paused."""
    SLOWED = "slowed"
    """Its account starts no paid call for a while: the provider asked for that, or the day's cap is reached."""
    WINDOW = "window"
    """A rate window of its account is full."""
    CALLS = "calls"
    """Its account has as many paid calls in the air as it may."""
    BROKER = "broker"
    """The broker takes no messages from the dispatchers."""
    BUCKET = "bucket"
    """The bucket refuses."""
    DISK = "disk"
    """The disk of a worker has no room, or cannot be used."""
    RETRY = "retry"
    """The last try was refused; the next one has its time."""
    IN_HAND = "in_hand"
    """A worker works on it now."""
    IN_BROKER = "in_broker"
    """It is claimed, and its message waits in the broker for a free slot of a worker."""
    PROVIDER = "provider"
    """The provider makes it."""
    LOOKING = "looking"
    """A worker will look for what its lost call bought."""
    LINE = "line"
    """Nothing stops it: it is in line."""


PROGRESS: Final = frozenset(
    {WaitReason.IN_HAND, WaitReason.IN_BROKER, WaitReason.PROVIDER, WaitReason.CALLS, WaitReason.LINE}
)
"""Reasons of a queue at work: nobody needs to know more."""

BY_CODE: Final = frozenset({WaitReason.RETRY, WaitReason.BUCKET, WaitReason.DISK})
"""Reasons that the job's own error code tells."""
STOPPED: Final = frozenset(
    {
        WaitReason.NO_WORKER,
        WaitReason.NO_KEY,
        WaitReason.PAUSED,
        WaitReason.BUCKET,
        WaitReason.BROKER,
        WaitReason.DISK,
    }
)
"""Reasons that do not pass by themselves: something must be mended."""
OF_ACCOUNT: Final = frozenset({WaitReason.NO_WORKER, WaitReason.NO_KEY, WaitReason.PAUSED, WaitReason.SLOWED})
"""Reasons that all jobs of an account share."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why one job waits. `until` is when that ends by itself, or when it is looked at again; None if unknown."""

    reason: WaitReason
    words: str
    until: datetime | None = None
    then: str = ""
    """What a person can do; its commands are complete but for JOB, BATCH, ACCOUNT and PROVIDER."""
    at: datetime | None = None
    """When this was found, by the database's clock."""

    def __str__(self) -> str:
        """Return the words with the time at which the wait ends, in UTC."""
        if self.until is None:
            return self.words
        day = "" if self.at and self.until.date() == self.at.date() else f"{self.until:%Y-%m-%d} "
        return f"{self.words}, until {day}{self.until:%H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class WindowUse:
    """A rate window, the requests in it, and when the next paid call has room; `kept` are left for free looks."""

    window: RateWindow
    used: int
    kept: int
    free_at: datetime | None

    @property
    def is_full(self) -> bool:
        """Whether no paid call has room now."""
        return self.used >= self.window.requests - self.kept


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """An account, as far as it decides whether its jobs go on. `concurrency` is what a slow start allows now."""

    name: str
    provider: str
    unit: str
    concurrency: int
    slow_start: bool
    paying: int
    seen_at: datetime | None
    served: bool
    paused_at: datetime | None
    paused_code: str | None
    paused_reason: str | None
    action_url: str | None
    probe_at: datetime | None
    not_before: datetime | None
    balance: Decimal | None
    daily_cap: Decimal | None
    spent_today: Decimal
    windows: tuple[WindowUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong around `workers` workers: kind `bucket`, `broker` or `disk`, in the server's own words."""

    kind: str
    said: str
    since: datetime
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds all jobs: the database's clock, the accounts, and the seconds since each worker's last tick."""

    now: datetime
    accounts: Mapping[str, AccountState]
    ticks: Mapping[str, float] = field(default_factory=dict)
    alive_seconds: float = 15.0
    troubles: tuple[Trouble, ...] = ()

    def trouble(self, kind: str) -> Trouble | None:
        """Return the trouble of that kind, if a worker has it now."""
        return next((one for one in self.troubles if one.kind == kind), None)

    @property
    def live_workers(self) -> int:
        """How many workers tick."""
        return sum(age < self.alive_seconds for age in self.ticks.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job's row, as far as it decides why it waits. `begun`: a worker has taken it from its message."""

    id: UUID
    batch: str
    custom_id: str
    account: str
    provider: str
    state: JobState
    on_hold: bool
    due_at: datetime | None
    claimed_by: str | None
    begun: bool
    error_code: str | None
    error: str | None
    created_at: datetime

    @property
    def shown(self) -> str:
        """The state as people see it: `on_hold` and `checking` are told apart."""
        if self.state is JobState.IN_DOUBT:
            return self.state.value if self.on_hold else "checking"
        return "on_hold" if self.on_hold else self.state.value


Check = Callable[[WaitingJob, AccountState, Around], Wait | None]

_MONEY: Final = {"batch_cap_reached", "price_unknown"}
_BUCKET: Final = "storage_"
_DISK: Final = ("spool_", "reply_damaged")
_IN_HAND: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "prepares its paid call",
    JobState.SUBMITTING: "waits for the answer to its paid call",
    JobState.PENDING: "asks the provider about it",
    JobState.PROCESSING: "asks the provider about it",
    JobState.TRANSFERRING: "copies its images into the bucket",
    JobState.IN_DOUBT: "looks for what its lost call bought",
}
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
    link = f" ({account.action_url})" if account.action_url else ""
    looked = f"; workers probe it at {account.probe_at:%H:%M:%S} UTC" if account.probe_at else ""
    words = f"account {account.name} is paused: {account.paused_reason}"
    command = resuming("ACCOUNT", account.paused_code)
    return Wait(WaitReason.PAUSED, words, then=f"settle it{link}, then `{command}`{looked}")


def resuming(account: str, code: str | None) -> str:
    """Return the command that ends a pause. What a restored database lacks is not one account's matter."""
    return f"genqueue resume {'--after-restore' if code == 'database_restored' else account}"


def _slowed(_job: WaitingJob, account: AccountState, around: Around) -> Wait | None:
    if account.not_before is None or account.not_before <= around.now:
        return None
    why_slow = "its provider asked for a slower pace"
    if account.daily_cap is not None:
        spent = f"{account.spent_today.normalize():f} of {account.daily_cap.normalize():f} {account.unit}"
        why_slow += f", or its day's cap is reached ({spent})"
    words = f"account {account.name} starts no paid call: {why_slow}"
    return Wait(WaitReason.SLOWED, words, account.not_before)


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
    at_once = account.provider in catalog.names() and not catalog.get(account.provider).is_polled
    trouble = around.trouble("bucket")
    if trouble is None or (job.state is JobState.QUEUED and not at_once):
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
    JobState.QUEUED: (_paused, _slowed, _put_off, _no_bucket, _no_broker, _window, _calls),
    JobState.SUBMITTING: (_no_broker, _looking),
    JobState.PENDING: (_put_off, _no_broker, _at_provider, _window),
    JobState.PROCESSING: (_put_off, _no_broker, _at_provider, _window),
    JobState.TRANSFERRING: (_put_off, _no_bucket),
    JobState.IN_DOUBT: (_no_broker, _looking),
}
