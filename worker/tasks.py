"""The only file that knows Celery: one task a stage, the signals of a worker's life, and how a parcel is published."""

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog
from celery import Celery
from celery.signals import worker_init, worker_shutdown, worker_shutting_down
from pydantic import SecretStr

from shared.broker import Stage, create_app
from shared.db.transitions import Claim
from shared.settings import Settings
from worker.dispatch import Parcel, Publish
from worker.process import Process
from worker.runtime import open_runtime

_log = structlog.get_logger(__name__)
_STALE_SECONDS: Final = 3600.0  # only a bound: a message whose claim has passed on dies by its epoch
_TASKS: Final = {
    Stage.SUBMIT: "worker.submit",
    Stage.POLL: "worker.poll",
    Stage.TRANSFER: "worker.transfer",
    Stage.RECONCILE: "worker.reconcile",
}


def publisher(app: Celery) -> Publish:
    """Return the function that hands a parcel to the broker; its message holds ids and epochs only."""

    def publish(parcel: Parcel) -> None:
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


def run_worker(app: Celery, settings: Settings, *, name: str) -> None:
    """Consume all stages until SIGTERM; a warm stop finishes what is in the air."""
    app.worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={settings.worker_slots}",
            f"--queues={','.join(stage.value for stage in Stage)}",
            f"--hostname={name}@%h",
            "--without-mingle",
            "--without-gossip",
            f"--loglevel={settings.log_level.upper()}",
        ]
    )
