"""Dispatch: a small loop in every worker that claims due rows, account by account, and nudges workers to take them.

There is no leader: the account's row lock shares out the work, so any number may run and any may die.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from shared.broker import Stage
from shared.db import accounts, caps, claims, images, slots, workers
from shared.db.engine import Connection, transaction
from shared.db.listening import Listener
from shared.db.transitions import Claim, Move, move, release
from shared.lifecycle import JobState
from worker.poison import end_poison
from worker.runtime import Account, Runtime

_log = structlog.get_logger(__name__)
_POLL_JOBS: Final = 50
_TRANSFER_JOBS: Final = 8
_RECONCILE_JOBS: Final = 10
_RECONCILE_LEASE: Final = 600.0  # one after the other, each with several requests; renewed as each begins
_POLL_SHARE: Final = 0.25  # of a window that submits leave to polls, so that what was bought is also found out
_PRUNE_SECONDS: Final = 60.0
_RESTART_SECONDS: Final = 1.0
_ABANDONED_SECONDS: Final = 3600.0  # a poller or transfer ends a job itself once its bound has passed; none did
CLAIMED: Final = {
    Stage.SUBMIT: (JobState.QUEUED,),  # not `submitting`: whoever pays ends that lease himself
    Stage.POLL: (JobState.PENDING, JobState.PROCESSING),
    Stage.TRANSFER: (JobState.TRANSFERRING,),
    Stage.RECONCILE: (JobState.SUBMITTING, JobState.IN_DOUBT),
}
"""Where a job may stand for its claim to be given back untouched."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message to be: the claims that one task takes together."""

    stage: Stage
    account: str
    claims: tuple[Claim, ...]


Publish = Callable[[Parcel], None]
"""Hands a parcel to the broker; raises where it could not."""
RunHere = Callable[[Parcel], None]
"""Starts a parcel in this very process, for when the broker is away."""


class Dispatcher:
    """The loop. `publish` and `run_here` are how it reaches workers; `stop` ends new claims at once."""

    def __init__(self, runtime: Runtime, publish: Publish, run_here: RunHere) -> None:
        self._runtime = runtime
        self._publish = publish
        self._run_here = run_here
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._ticking_since = float("inf")
        self._pruned_at = 0.0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin dispatching in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing new. The loop goes on: its session lock proves that whoever still pays here is alive."""
        self._stopping.set()

    def close(self, *, seconds: float = 10) -> None:
        """Stop and wait for the loop to end, at most `seconds`."""
        self.stop()
        self._closing.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._ticking_since = float("inf")
            listener = None
            try:
                listener = Listener(self._runtime.engine, self._runtime.sender.lock_key)
                self._register()
                self._ticking_since = time.monotonic()
                while not self._closing.is_set():
                    self.tick()
                    listener.wait(self._runtime.settings.tick_seconds)
            except Exception as error:  # noqa: BLE001 - whatever ends the loop, it begins again
                _log.warning("dispatcher_restarts", error=type(error).__name__)
                self._closing.wait(_RESTART_SECONDS)
            finally:
                if listener is not None:
                    listener.close()

    def _register(self) -> None:
        with transaction(self._runtime.engine) as connection:
            accounts.register(connection, (account.row for account in self._runtime.accounts.values()))
            caps.unpark_priced(connection, self._runtime.accounts)

    def tick(self) -> None:
        """Look once at every account and nudge workers about what is due."""
        runtime = self._runtime
        with transaction(runtime.engine) as connection:
            workers.beat(
                connection,
                name=runtime.sender.name,
                lock_key=runtime.sender.lock_key,
                slots=0 if self._stopping.is_set() else runtime.settings.worker_slots,
            )
            if self._stopping.is_set():
                return
            live = workers.live_slots(connection)
            _end_overdue(connection, runtime.sender.name)
            # After an outage of the database every tick is old; only who has ticked for a while may judge others.
            if time.monotonic() - self._ticking_since > workers.ALIVE_SECONDS:
                for name, jobs in workers.bury(connection, runtime.sender.name).items():
                    _log.warning("worker_gone", gone=name, jobs=jobs)
        prune = time.monotonic() - self._pruned_at > _PRUNE_SECONDS
        for account in runtime.accounts.values():
            with transaction(runtime.engine) as connection:
                parcels = self._claim(connection, account, live, prune=prune)
            for parcel in parcels:
                self._send(parcel)
        if prune:
            with transaction(runtime.engine) as connection:
                _end_abandoned(connection, runtime.sender.name)
                accounts.still_served(connection, runtime.accounts)
                parcels = _doubts_of_nobody(connection, runtime.sender.name)
            for parcel in parcels:
                self._send(parcel)
            self._pruned_at = time.monotonic()

    def _claim(self, connection: Connection, account: Account, live: int, *, prune: bool) -> list[Parcel]:
        locked = accounts.lock(connection, account.name, wait=False)
        if locked is None:
            return []
        if prune:
            slots.prune(connection, account.name, locked.windows)
            caps.unpark_moved(connection, account.name, account.provider.name)
        hand = claims.in_hand(connection, account.name)
        submits = self._submit_room(connection, account, locked, hand, live)
        wanted = (
            (Stage.RECONCILE, "reconcile", 200, _RECONCILE_LEASE, _RECONCILE_JOBS),
            (
                Stage.TRANSFER,
                "transfer",
                live * 4 - hand.transferring,
                self._runtime.transfer_lease,
                _TRANSFER_JOBS,
            ),
            (Stage.POLL, "poll", live * _POLL_JOBS - hand.polling, self._runtime.poll_lease, _POLL_JOBS),
            (
                Stage.SUBMIT,
                "submit",
                submits,
                self._runtime.settings.lease_slack_seconds + self._runtime.settings.send_within_seconds,
                account.wire.submit_batch,
            ),
        )
        parcels = []
        for stage, question, count, lease, size in wanted:
            found = claims.claim(
                connection,
                question,
                account.name,
                count=count,
                worker=self._runtime.sender.name,
                lease_seconds=lease,
            )
            parcels += [
                Parcel(stage, account.name, found.together[start : start + size])
                for start in range(0, len(found.together), size)
            ]
            alone = end_poison(self._runtime, found.suspects, connection)
            parcels += [Parcel(stage, account.name, (claim,)) for claim in alone]
        return parcels

    def _submit_room(
        self,
        connection: Connection,
        account: Account,
        locked: accounts.LockedAccount,
        hand: claims.InHand,
        live: int,
    ) -> int:
        """How many jobs of this account may be claimed for paying now."""
        answers_at_once = account.wire.poll_batch == 0
        if not locked.may_pay or self._stopping.is_set() or (answers_at_once and self._runtime.bucket_is_refusing):
            return 0
        left = slots.room(connection, account.name, locked.windows).free
        shared = [window for window in locked.windows if window.scope == "all"]
        if not answers_at_once and shared:
            kept = int(min(window.requests for window in shared) * _POLL_SHARE)
            left = min(left, slots.room(connection, account.name, shared).free - kept)
        return min(
            locked.concurrency - hand.paying,
            left - hand.queued,
            self._slots_left(connection, account, live) - hand.paying,
        )

    def _slots_left(self, connection: Connection, account: Account, live: int) -> int:
        """How many jobs of this account fit into the half of the workers' slots that submits may hold.

        All accounts share it, or nobody would collect what they buy; each has one slot in any case.
        """
        accounts_here = self._runtime.accounts
        others = sum(
            -(-jobs // accounts_here[name].wire.submit_batch)
            for name, jobs in claims.paying(connection).items()
            if name != account.name and name in accounts_here
        )
        return max(live // 2 - others, 1) * account.wire.submit_batch

    def _send(self, parcel: Parcel) -> None:
        try:
            self._publish(parcel)
        except Exception as error:  # noqa: BLE001 - the broker is away, whatever it says
            _log.warning("broker_away", stage=parcel.stage.value, jobs=len(parcel.claims), error=type(error).__name__)
            if parcel.stage is Stage.TRANSFER:
                # Links die; this cannot wait for the broker.
                self._run_here(parcel)
                return
            with transaction(self._runtime.engine) as connection:
                # The broker may have it all the same: a job that is being paid for by now is left alone.
                release(connection, parcel.claims, states=CLAIMED[parcel.stage], due_seconds=2)


def _doubts_of_nobody(connection: Connection, worker: str) -> list[Parcel]:
    """Claim the doubts of accounts whose key no worker has: somebody must say that they wait for a person."""
    parcels = []
    for name in accounts.unserved(connection):
        found = claims.claim(
            connection, "reconcile", name, count=_RECONCILE_JOBS, worker=worker, lease_seconds=_RECONCILE_LEASE
        )
        jobs = (*found.together, *(suspect.claim for suspect in found.suspects))
        parcels += [Parcel(Stage.RECONCILE, name, jobs)] if jobs else []
    return parcels


def _end_abandoned(connection: Connection, actor: str) -> None:
    """End bought jobs long past their last bound that no worker looks after, for want of the account's key."""
    note = "the last bound for collecting passed, and no worker has this account's key"
    moves = [
        Move(claim, state, JobState.FAILED, code="never_finished", note=note)
        for claim, state in claims.abandoned(connection, grace_seconds=_ABANDONED_SECONDS)
    ]
    ended = move(connection, moves, actor=actor)
    images.give_up(connection, ended, note)


def _end_overdue(connection: Connection, actor: str) -> None:
    """End queued jobs that may buy nothing any more, also those of accounts that no worker has a key for."""
    overdue: Sequence[Claim] = claims.past_deadline(connection)
    note = "the deadline passed before anything was bought"
    move(
        connection,
        [Move(claim, JobState.QUEUED, JobState.FAILED, code="deadline_exceeded", note=note) for claim in overdue],
        actor=actor,
    )
