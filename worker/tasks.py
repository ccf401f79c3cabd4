"""The only file that knows Celery: one task a stage, the signals of a worker's life, and how a parcel is published."""

import faulthandler
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Final, NoReturn
from uuid import UUID

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down
from celery.utils.nodenames import default_nodename, host_format
from pydantic import SecretStr

from shared.broker import Stage, create_app
from shared.db.transitions import Claim
from shared.settings import Settings
from worker.dispatch import Parcel, Publish
from worker.process import Process
from worker.runtime import open_runtime

_STALE_SECONDS: Final = 3600.0  # only a bound: a message whose claim has passed on dies by its epoch
_TASKS: Final = {
    Stage.SUBMIT: "worker.submit",
    Stage.POLL: "worker.poll",
    Stage.TRANSFER: "worker.transfer",
    Stage.RECONCILE: "worker.reconcile",
}
_PAUSE_SECONDS: Final = 3.0
_CHATTY: Final = ("celery.worker.strategy", "celery.app.trace")


class BrokerAwayError(Exception):
    """The broker did not take a message a moment ago: nobody waits for it again yet."""


def publisher(app: Celery) -> Publish:
    """Return the function that hands a parcel to the broker; its message holds ids and epochs only.

    It raises what the broker's client raises, after six seconds at most, and `BrokerAwayError` at once for a few
    seconds more: a dispatcher with fifty parcels must not wait fifty times for a frozen Redis.
    """
    away_until = float("-inf")

    def publish(parcel: Parcel) -> None:
        nonlocal away_until
        if time.monotonic() < away_until:
            raise BrokerAwayError
        try:
            send(parcel)
        except Exception:
            away_until = time.monotonic() + _PAUSE_SECONDS
            raise

    def send(parcel: Parcel) -> None:
        pairs = [[str(claim.job_id), claim.epoch] for claim in parcel.claims]
        app.send_task(
            _TASKS[parcel.stage],
            args=(parcel.account, pairs),
            queue=parcel.stage.value,
            expires=_STALE_SECONDS,
            argsrepr=f"({parcel.account}, {len(pairs)} jobs)",
            ignore_result=True,
            retry=True,
        )

    return publish


def worker_app(settings: Settings, *, access_key: SecretStr | None, secret_key: SecretStr | None) -> Celery:
    """Return the Celery application with its tasks bound to a worker process of these settings."""
    app = create_app(settings.broker_url)
    app.events.dispatcher_cls = "worker.consumer:PromptEvents"
    process = Process(open_runtime(settings, access_key=access_key, secret_key=secret_key), publisher(app))
    for stage, name in _TASKS.items():
        app.task(name=name, ignore_result=True)(_run(process, stage))
    _follow_life(process)
    return app


def _run(process: Process, stage: Stage) -> Callable[[str, Sequence[tuple[str, int]]], None]:
    def run(account: str, pairs: Sequence[tuple[str, int]]) -> None:
        process.run(Parcel(stage, account, tuple(Claim(UUID(job), epoch) for job, epoch in pairs)))

    return run


def _follow_life(process: Process) -> None:
    """Start with the worker and stop with it; strong references, for signals keep weak ones."""

    def start(**_: object) -> None:
        process.start()

    def stop_claiming(**_: object) -> None:
        process.stop_claiming()

    def close(**_: object) -> None:
        process.close()

    worker_init.connect(start, weak=False)
    worker_shutting_down.connect(stop_claiming, weak=False)
    worker_shutdown.connect(close, weak=False)


def run_worker(app: Celery, settings: Settings, *, name: str) -> NoReturn:
    """Consume all stages until SIGTERM; a warm stop finishes what is in the air.

    Ends with `SystemExit`: 0 after a stop that was asked for, another code after an error that Celery cannot survive.
    """
    _quieten(settings)
    worker_ready.connect(_tell_no_values, weak=False)
    # Not app.worker_main(): importing Celery's command line costs a third of a start.
    worker = app.Worker(
        hostname=host_format(default_nodename(f"{name}@%h")),
        pool="threads",
        concurrency=settings.worker_slots,
        queues=[stage.value for stage in Stage],
        loglevel=settings.log_level.upper(),
        quiet=True,
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


def _quieten(settings: Settings) -> None:
    """Keep Celery from setting up logs of its own, and from a line or two for every poll."""
    setup_logging.connect(_logs_are_set_up, weak=False)
    # It warns root of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    if settings.log_level != "debug":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)


def _logs_are_set_up(**_: object) -> None:
    """Say to Celery, by being connected, that logs are set up already."""


def _tell_no_values(**_: object) -> None:
    """Print only where each thread is on SIGUSR1: Celery's own handler prints every variable, prompts and keys too."""
    faulthandler.register(signal.SIGUSR1)
