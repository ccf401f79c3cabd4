"""What a job waits for, in one word and in many, and the facts that decide it: its row, its account, the servers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared.account_settings import RateWindow
from shared.lifecycle import JobState


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
    """Its account starts no paid call for a while: its provider asked for that, or its daily cap has no room."""
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
CAPPED_SECONDS: Final = 60.0
"""How long an account starts no paid call after its daily cap refused one; then a worker tries again."""
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
    sums: str = ""
    """The part of the words that says what the account spends: all batches together, so not everybody may see it."""

    def without_sums(self) -> "Wait":
        """Return the wait without what the account spends."""
        return replace(self, words=self.words.replace(f" ({self.sums})", ""), sums="") if self.sums else self

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
    unpriced_today: int = 0
    """Calls of unknown price that count today: no cap can be kept beside one, so a daily cap has no room."""
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
