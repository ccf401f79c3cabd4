"""What a worker may take of an account now: due jobs, under the account's lock, within its windows and all slots."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from shared.db import accounts, rate_windows
from shared.db.engine import Connection
from shared.db.jobs import claims, steering
from shared.db.jobs.transitions import Claim
from shared.db.payments import caps
from shared.lifecycle import POLLED, JobState, Stage
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount
from worker.stages.poison import end_poison

_POLL_JOBS: Final = 400
"""Jobs of one message to poll. The pages of one message are asked for side by side. While thousands of jobs wait, a
message costs more than its looks."""
_POLLS_PER_SLOT: Final = 50
"""Claimed polls for each slot of the living workers. Where a rate window is tight, most of them are put off."""
_TRANSFER_JOBS: Final = 8
_TRANSFERS_PER_SLOT: Final = 4
"""Claimed transfers for each slot of the living workers. At most two copies for each slot run at once; others wait."""
_WITH_WAIT: Final = 1.1
"""How much longer a claim lasts than its work, as a factor: a job that is begun within that time keeps the end of its
lease, and so its row is written to no index."""
_RECONCILE_JOBS: Final = 10
_RECONCILE_CLAIMS: Final = 200
RELEASABLE: Final[Mapping[Stage, Collection[JobState]]] = {
    Stage.SUBMIT: (JobState.QUEUED,),  # not `submitting`: the paying worker ends that lease itself
    Stage.POLL: POLLED,
    Stage.TRANSFER: (JobState.TRANSFERRING,),
    Stage.RECONCILE: (JobState.SUBMITTING, JobState.IN_DOUBT),
}
"""The states in which a job's claim may be given back untouched."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """The content of one message: the claims that one task takes together."""

    stage: Stage
    account: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class _ClaimLimits:
    """What a stage may take of one account now: the most jobs, the lease in seconds, and the jobs per message."""

    count: int
    lease: float
    size: int


class Claiming:
    """Claims due jobs account by account. Once `stopping` is set, none for payment."""

    def __init__(self, runtime: Runtime, stopping: threading.Event) -> None:
        self._runtime = runtime
        self._stopping = stopping
        self._releasing: set[str] = set()
        """Accounts with more jobs on hold to put back in line at the next tick."""

    def is_releasing(self, account: str) -> bool:
        """Say whether more jobs of an account wait to be put back in line at the next tick."""
        return account in self._releasing

    def of_account(
        self, connection: Connection, account: ServedAccount, stages: set[Stage], live: int, *, prune: bool
    ) -> list[Parcel]:
        """Claim the due jobs of these stages; `live` is the number of all workers' slots. Nothing while another claims.

        With `prune`, forget old requests of its rate windows, and return jobs from hold to the line if the caps have
        room for them.
        """
        locked = accounts.lock(connection, account.name, wait=False)
        if locked is None:
            return []
        if prune:
            rate_windows.prune(connection, account.name, locked.windows)
        if prune or account.name in self._releasing:
            self._return_to_line(connection, account)
        hand = claims.in_hand(connection, account.name)
        parcels = []
        for stage in (Stage.RECONCILE, Stage.TRANSFER, Stage.POLL, Stage.SUBMIT):
            if stage in stages:
                wanted = self._wanted(connection, account, locked, hand, live, stage)
                parcels += self._claim(connection, account.name, stage, wanted)
        return parcels

    def _return_to_line(self, connection: Connection, account: ServedAccount) -> None:
        """Return jobs from hold to the line; if one of the two statements reached its limit, the next tick goes on."""
        affordable = caps.requeue_affordable(connection, account.name, account.provider.name)
        seconds = self._runtime.settings.deadline_seconds
        left_behind = steering.return_left_behind(connection, account.name, deadline_seconds=seconds)
        if affordable == caps.CHUNK or left_behind == steering.CHUNK:
            self._releasing.add(account.name)
        else:
            self._releasing.discard(account.name)

    def doubts_of_unserved(self, connection: Connection) -> list[Parcel]:
        """Claim the doubts of accounts whose key no worker has: reconcile must record that these wait for a person."""
        me = self._runtime.sender.name
        parcels = []
        for name in accounts.unserved(connection):
            count, lease = _RECONCILE_JOBS, self._runtime.leases[Stage.RECONCILE]
            found = claims.claim(connection, Stage.RECONCILE, name, count=count, worker=me, lease_seconds=lease)
            jobs = (*found.together, *end_poison(connection, self._runtime, found.suspects))
            parcels += [Parcel(Stage.RECONCILE, name, jobs)] if jobs else []
        return parcels

    def _wanted(
        self,
        connection: Connection,
        account: ServedAccount,
        locked: accounts.LockedAccount,
        hand: claims.InHand,
        live: int,
        stage: Stage,
    ) -> _ClaimLimits:
        lease = self._runtime.leases[stage]
        match stage:
            case Stage.RECONCILE:
                return _ClaimLimits(_RECONCILE_CLAIMS, lease, _RECONCILE_JOBS)
            case Stage.TRANSFER:
                return _ClaimLimits(live * _TRANSFERS_PER_SLOT - hand.transferring, lease, _TRANSFER_JOBS)
            case Stage.POLL:
                return _ClaimLimits(live * _POLLS_PER_SLOT - hand.polling, lease, _POLL_JOBS)
            case Stage.SUBMIT:
                room = self._submit_room(connection, account, locked, hand, live)
                return _ClaimLimits(room, lease, account.wire.submit_parcel)

    def _claim(self, connection: Connection, account: str, stage: Stage, wanted: _ClaimLimits) -> list[Parcel]:
        """Claim the jobs that one stage may take. Jobs over which workers died get their own message, or end."""
        found = claims.claim(
            connection,
            stage,
            account,
            count=wanted.count,
            worker=self._runtime.sender.name,
            lease_seconds=wanted.lease * _WITH_WAIT,
        )
        alone = end_poison(connection, self._runtime, found.suspects) if found.suspects else []
        size = wanted.size
        together = [found.together[start : start + size] for start in range(0, len(found.together), size)]
        return [Parcel(stage, account, jobs) for jobs in (*together, *((one,) for one in alone))]

    def _submit_room(
        self,
        connection: Connection,
        account: ServedAccount,
        locked: accounts.LockedAccount,
        hand: claims.InHand,
        live: int,
    ) -> int:
        """Return how many jobs of this account may be claimed for payment now."""
        answers_at_once = not account.can_look
        if not locked.may_pay or self._stopping.is_set() or (answers_at_once and self._runtime.bucket_is_refusing):
            return 0
        left = rate_windows.room(connection, account.name, locked.windows).free
        shared = [window for window in locked.windows if window.scope == "all"]
        if not answers_at_once and shared:
            kept = int(min(window.requests for window in shared) * rate_windows.POLL_SHARE)
            left = min(left, rate_windows.room(connection, account.name, shared).free - kept)
        return min(
            locked.concurrency - hand.paying,
            left - hand.queued,
            self._slots_left(connection, account, live) - hand.paying,
        )

    def _slots_left(self, connection: Connection, account: ServedAccount, live: int) -> int:
        """Return how many jobs of this account fit into the half of the workers' slots that submits may use.

        All accounts share that half, so that slots remain to collect purchases. Each account has at least one slot.
        """
        accounts_here = self._runtime.accounts
        slots_of_others = sum(
            ceil(jobs / accounts_here[name].wire.submit_parcel)
            for name, jobs in claims.paying(connection).items()
            if name != account.name and name in accounts_here
        )
        return max(live // 2 - slots_of_others, 1) * account.wire.submit_parcel
