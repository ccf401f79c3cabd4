"""Dispatch: a small loop in every worker that claims due rows by account and sends messages about them to workers.

There is no leader: the lock on the account's row divides the work. Any number may run, and any may die.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec

import structlog

from shared.db import accounts, folding, purpose, tick_question, troubles, workers
from shared.db.engine import Connection, DatabaseUnavailableError, question, transaction
from shared.db.jobs import claims, images, inbox, model_times, steering
from shared.db.jobs.insert_rows import JobTimes
from shared.db.jobs.transitions import give_back, move
from shared.db.listening import Listener
from shared.db.payments import caps
from shared.db.tick_question import ToDo
from shared.lifecycle import Stage
from shared.log import redact
from worker import next_step
from worker.claiming import RELEASABLE, Claiming, Parcel
from worker.runtime import Runtime
from worker.troubles import BROKER
from worker.upkeep import high_water

P = ParamSpec("P")
_log = structlog.get_logger(__name__)
_PRUNE_SECONDS: Final = 60.0
_FOLD_SECONDS: Final = 1.0
_RESTART_SECONDS: Final = 1.0
_LEAST_SECONDS: Final = 0.25  # the least time between two ticks: what arrives meanwhile shares their statements
_REST_TICKS: Final = 4  # ticks in one, while no job of this worker's accounts waits: a new one wakes it
_ABANDONED_SECONDS: Final = 3600.0  # normally a poll or transfer ends a job after its bound; here none did
Publish = Callable[[Parcel], None]
"""Passes a parcel to the broker; raises if it could not."""
RunHere = Callable[[Parcel], None]
"""Starts a parcel in this process, if the broker is unavailable."""


class Dispatcher:
    """The loop. It reaches workers through `publish` and `run_here`. `stop` ends new claims at once."""

    def __init__(self, runtime: Runtime, publish: Publish, run_here: RunHere) -> None:
        self._runtime = runtime
        self._publish = publish
        self._run_here = run_here
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._ticking_since = float("inf")
        self._pruned_at = 0.0
        self._folded_at = 0.0
        self._claiming = Claiming(runtime, self._stopping)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin dispatching in a separate thread."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing new. The loop goes on: its session lock proves that senders here are alive."""
        self._stopping.set()

    def close(self, *, seconds: float = 10) -> None:
        """Stop and wait for the loop to end, at most `seconds`."""
        self.stop()
        self._closing.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        listener: Listener | None = None
        while not self._closing.is_set():
            self._ticking_since = float("inf")
            try:
                listener = listener or Listener(self._runtime.engine, self._runtime.sender.lock_key)
                self._register()
                self._ticking_since = time.monotonic()
                while not self._closing.is_set():
                    waits = self.tick()
                    # Wake-ups close together count as one, because each tick has its cost.
                    self._closing.wait(_LEAST_SECONDS)
                    longest = self._runtime.settings.tick_seconds * (1 if waits else _REST_TICKS)
                    listener.wait(max(longest - _LEAST_SECONDS, 0.0))
            except Exception as error:  # noqa: BLE001 - whatever ends the loop, it begins again
                _log.warning("dispatcher_restarts", error=type(error).__name__)
                # The lock proves that whoever pays here lives: it is kept for as long as its session does.
                listener = listener if listener is not None and listener.is_alive() else None
                self._closing.wait(_RESTART_SECONDS)
        if listener is not None:
            listener.close()

    def _register(self) -> None:
        self._admit()
        # After the accounts are there, and before anything is claimed: a restored database may have bought it already.
        high_water.check(self._runtime)

    def _admit(self) -> None:
        with transaction(self._runtime.engine) as connection:
            if held := purpose.settle(connection, self._runtime.purpose):
                _log.warning("trial_leftovers_held", jobs=held)
            accounts.register(connection, (account.row for account in self._runtime.accounts.values()))
            self._load_times(connection)
        released = caps.CHUNK
        while released == caps.CHUNK:
            with transaction(self._runtime.engine) as connection:
                released = caps.requeue_priced(connection, self._runtime.accounts)

    def _load_times(self, connection: Connection) -> None:
        """Load what all workers have learned of how long models take."""
        runtime = self._runtime
        for account, known in model_times.load(connection, runtime.accounts).items():
            runtime.learn(account, known)

    def tick(self) -> bool:
        """Ask once which stages have due jobs, claim them, and send messages about them.

        Returns whether any job waits for a worker, due or not.
        """
        began = time.monotonic()
        self._runtime.metrics.ticked()
        self._beat()
        if self._stopping.is_set():
            return True
        with question(self._runtime.engine) as connection:
            found = tick_question.to_do(connection, self._runtime.accounts, me=self._runtime.sender.name)
        self._end_what_is_over(found)
        if found.deltas:
            self._fold()
        if found.inbox:
            self._take_in()
        prune = began - self._pruned_at > _PRUNE_SECONDS
        for account in self._runtime.accounts.values():
            # A stage without due jobs may get some: pruning and releasing return jobs from hold to the line.
            every_stage = prune or self._claiming.is_releasing(account.name)
            stages = set(Stage) if every_stage else found.due.get(account.name, set())
            if stages:
                self._send_all(self._claiming.of_account, account, stages, found.live_slots, prune=prune)
        if prune:
            self._send_all(self._look_after_others)
            self._pruned_at = began
        return found.waits or found.inbox

    def _beat(self) -> None:
        """Say that this worker lives, and how many messages it takes at once."""
        runtime = self._runtime
        with question(runtime.engine) as connection:
            workers.heartbeat(
                connection,
                name=runtime.sender.name,
                lock_key=runtime.sender.lock_key,
                slots=0 if self._stopping.is_set() else runtime.settings.worker_slots,
                stuck_seconds=runtime.stuck_seconds,
            )
        if (said := runtime.troubles.news()) is not None:
            with transaction(runtime.engine) as connection:
                troubles.record(connection, runtime.sender.name, said)
            runtime.troubles.written(said)

    def _end_what_is_over(self, found: ToDo) -> None:
        """End queued jobs of any account past their deadline; free the jobs of workers that are proved gone."""
        if found.overdue:
            with transaction(self._runtime.engine) as connection:
                end_overdue(connection, self._runtime.sender.name)
        # After an outage of the database every tick is old. Only a worker that has ticked for a while may judge others.
        if found.silent and time.monotonic() - self._ticking_since > workers.ALIVE_SECONDS:
            with transaction(self._runtime.engine) as connection:
                gone = workers.free_claims_of_dead(connection, self._runtime.sender.name)
            for name, jobs in gone.items():
                _log.warning("worker_gone", gone=name, jobs=jobs)

    def _fold(self) -> None:
        """Add the triggers' deltas to the running sums, so that a reader reads few rows."""
        if time.monotonic() - self._folded_at > _FOLD_SECONDS:
            with transaction(self._runtime.engine) as connection:
                more = folding.fold(connection)
            self._folded_at = 0.0 if more else time.monotonic()

    def _take_in(self) -> None:
        """Make jobs of the rows that came by SQL; a batch that somebody else enqueues into waits for the next tick."""
        with question(self._runtime.engine) as connection:
            waiting = inbox.batches(connection)
        settings = self._runtime.settings
        times = JobTimes(settings.deadline_seconds, settings.collect_seconds)
        for batch in waiting:
            self._take_batch(batch, times)

    def _take_batch(self, batch: str, times: JobTimes) -> None:
        """Take waiting rows. If that fails, take each alone, and fail the one that fails again."""
        given: dict[str, Any] = {"batch": batch, "times": times, "actor": self._runtime.sender.name}
        if self._took(partial(inbox.take, **given)):
            return
        with question(self._runtime.engine) as connection:
            waiting = inbox.first_ids(connection, batch)
        for row in waiting:
            if not self._took(partial(inbox.take_one, row=row, **given)):
                self._took(partial(inbox.take_one, row=row, wrong=inbox.DEFECT, **given))

    def _took(self, take: Callable[[Connection], int]) -> bool:
        """Tell whether rows could be taken: one that cannot must not stop every other job of this worker."""
        try:
            with transaction(self._runtime.engine) as connection:
                take(connection)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the row
            _log.warning("inbox_defect", error=type(error).__name__)
            return False
        return True

    def _send_all(
        self, claim: Callable[Concatenate[Connection, P], list[Parcel]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Claim in one transaction, then send, because a message sent before the commit would find nothing."""
        with transaction(self._runtime.engine) as connection:
            parcels = claim(connection, *args, **kwargs)
        for parcel in parcels:
            self._send(parcel)

    def _look_after_others(self, connection: Connection) -> list[Parcel]:
        """End jobs that nobody can collect, and claim the doubts of accounts whose key no worker has."""
        end_abandoned(connection, self._runtime.sender.name)
        inbox.prune(connection)
        accounts.mark_served(connection, self._runtime.accounts)
        return self._claiming.doubts_of_unserved(connection)

    def _send(self, parcel: Parcel) -> None:
        try:
            self._publish(parcel)
            self._runtime.troubles.over(BROKER)
        except Exception as error:  # noqa: BLE001 - the broker is away, whatever it says
            if str(error) or BROKER not in self._runtime.troubles.present():  # the error without words repeats another
                self._runtime.troubles.note(BROKER, f"{type(error).__name__}: {error}")
            self._runtime.metrics.publish_failures.inc()
            said = redact(str(error)) or None
            kind, jobs = type(error).__name__, len(parcel.claims)
            _log.warning("broker_away", stage=parcel.stage.value, jobs=jobs, error=kind, said=said)
            if parcel.stage is Stage.TRANSFER:
                # Links expire, so this cannot wait for the broker.
                self._run_here(parcel)
                return
            with transaction(self._runtime.engine) as connection:
                # The broker may have the message nevertheless: a job that is being paid for by now is left alone.
                give_back(connection, parcel.claims, states=RELEASABLE[parcel.stage], due_seconds=2)


def end_overdue(connection: Connection, actor: str) -> None:
    """End queued jobs past their deadline, even those of accounts whose key no worker has."""
    over = steering.hold_instead(connection, claims.past_deadline(connection), actor=actor)
    move(connection, map(next_step.overdue, over), actor=actor)


def end_abandoned(connection: Connection, actor: str) -> None:
    """End bought jobs long past their collection deadline, of accounts whose key no worker has."""
    over = claims.abandoned(connection, grace_seconds=_ABANDONED_SECONDS)
    ended = move(connection, [next_step.abandoned(claim, state) for claim, state in over], actor=actor)
    images.give_up(connection, ended, next_step.ABANDONED)
