"""Connects the worker with Celery: one task per stage, the signals of a worker's life, and how parcels are sent."""

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Final, NoReturn
from uuid import UUID

import structlog
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down
from celery.utils.nodenames import default_nodename, host_format
from kombu import pools
from pydantic import SecretStr
from redis.exceptions import ReadOnlyError

from shared.broker import create_app
from shared.db.jobs.transitions import Claim
from shared.lifecycle import Stage
from shared.settings import Settings
from worker.celery_channels import use_safe_channels
from worker.claiming import Parcel
from worker.dispatch import Publish
from worker.process import WorkerProcess
from worker.runtime import open_runtime

_log = structlog.get_logger(__name__)
_STALE_SECONDS: Final = 3600.0  # only a bound: the epoch already voids a message whose claim is outdated
_TASKS: Final = {
    Stage.SUBMIT: "worker.submit",
    Stage.POLL: "worker.poll",
    Stage.TRANSFER: "worker.transfer",
    Stage.RECONCILE: "worker.reconcile",
}
_PAUSE_SECONDS: Final = 3.0
_MOST_CLAIMS: Final = 400  # no dispatcher puts more into one message
_HIGHEST_EPOCH: Final = 2**31 - 1
_CLOSE_SECONDS: Final = 90.0  # for the rest after the last task: commits, connections
_FORCED: Final = 70  # the exit code of a stop that had to be forced
_CHATTY: Final = ("celery.worker.strategy", "celery.app.trace")


class BrokerAwayError(Exception):
    """The broker refused a message a moment ago, so nobody waits for it again yet."""


def publisher(app: Celery) -> Publish:
    """Return the function that passes a parcel to the broker. Its message holds only ids and epochs.

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
        except Exception as error:
            away_until = time.monotonic() + _PAUSE_SECONDS
            if _is_replica(error):
                _forget_connections(app)
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


def _is_replica(error: BaseException | None) -> bool:
    """Tell whether the broker has become a replica: the error itself, or one that it was made of, says so."""
    return error is not None and (isinstance(error, ReadOnlyError) or _is_replica(error.__cause__ or error.__context__))


def _forget_connections(app: Celery) -> None:
    """Connect anew for the next message: the broker's name may lead to another server by now.

    A pool that is only emptied is not filled again, and whoever asks it for a connection waits for good.
    """
    pools.reset()
    with contextlib.suppress(AttributeError):  # it has answered nobody yet
        del app.control.mailbox.producer_pool  # type: ignore[attr-defined] # celery-types leaves it out
    app._pool = app.amqp._producer_pool = None  # type: ignore[attr-defined] # noqa: SLF001 - Celery has no word for it


def worker_app(settings: Settings, *, access_key: SecretStr | None, secret_key: SecretStr | None) -> Celery:
    """Return the Celery application with its tasks bound to a worker process of these settings."""
    app = create_app(settings.broker_url, settings.broker_ca_file)
    use_safe_channels()
    app.events.dispatcher_cls = "worker.celery_events:PromptEvents"
    process = WorkerProcess(open_runtime(settings, access_key=access_key, secret_key=secret_key), publisher(app))
    for stage, name in _TASKS.items():
        app.task(name=name, ignore_result=True)(_run(process, stage))
    _follow_life(process, settings.stop_seconds)
    return app


def _run(process: WorkerProcess, stage: Stage) -> Callable[..., None]:
    def run(*args: object, **options: object) -> None:
        """Run the message's request. Anyone who can write to the broker can send any arguments."""
        try:
            parcel = parcel_of(stage, *args, **options)
        except MalformedError as fault:
            process.reject(stage, str(fault))
            return
        process.run(parcel)

    return run


class MalformedError(Exception):
    """A message that no dispatcher of ours sends; the text never quotes it."""


def parcel_of(stage: Stage, *args: object, **options: object) -> Parcel:
    """Return the parcel that a message's arguments name; raises `MalformedError`."""
    match args:
        case (str() as account, list() as pairs) if not options:
            pass
        case _:
            raise MalformedError("other arguments than an account and its claims")
    if len(pairs) > _MOST_CLAIMS:
        raise MalformedError(f"more than {_MOST_CLAIMS} claims")
    return Parcel(stage, account, tuple(map(_claim, pairs)))


def _claim(pair: object) -> Claim:
    match pair:
        case [str() as job, int() as epoch] if 0 <= epoch <= _HIGHEST_EPOCH and not isinstance(epoch, bool):
            pass
        case _:
            raise MalformedError("a claim that is not a job and its epoch")
    try:
        return Claim(UUID(job), epoch)
    except ValueError:
        raise MalformedError("a job that is no UUID") from None


def _follow_life(process: WorkerProcess, stop_seconds: float) -> None:
    """Start and stop with the worker. The references are strong, because signals keep weak ones."""

    def start(**_: object) -> None:
        process.start()

    def stop_claiming(**_: object) -> None:
        process.stop_claiming()
        _end_within(stop_seconds, process)

    def close(**_: object) -> None:
        _end_within(min(_CLOSE_SECONDS, stop_seconds), process)
        process.close()

    worker_init.connect(start, weak=False)
    worker_shutting_down.connect(stop_claiming, weak=False)
    worker_shutdown.connect(close, weak=False)


def _end_within(seconds: float, process: WorkerProcess) -> None:
    """End this process after `seconds` if it still runs, with its evidence on the disk: a stop always ends."""

    def end() -> None:
        _log.error("stop_forced", seconds=seconds)
        process.keep_evidence()
        os._exit(_FORCED)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def run_worker(app: Celery, settings: Settings, *, name: str) -> NoReturn:
    """Consume all stages until SIGTERM; a warm stop finishes the work in the air.

    Ends with `SystemExit`: 0 after a requested stop, another code after an error that Celery cannot survive.
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
    """Keep Celery from setting up its own logs, and from logging every poll."""
    setup_logging.connect(_logs_are_set_up, weak=False)
    # It warns root of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    if settings.log_level != "debug":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)


def _logs_are_set_up(**_: object) -> None:
    """Being connected to Celery's signal, it tells Celery that logs are already set up."""


def _tell_no_values(**_: object) -> None:
    """On SIGUSR1, print only where each thread is. Celery's own handler prints every variable, prompts and keys too."""
    faulthandler.register(signal.SIGUSR1)
