"""A Celery worker with our settings and one harmless task: `probe_worker.py BROKER_URL stock|safe`."""

import sys
from pathlib import Path

from pydantic import SecretStr

from shared.broker import create_app
from shared.lifecycle import Stage

TASK = "probe.touch"


def touch(path: str) -> None:
    Path(path).touch()


if __name__ == "__main__":
    app = create_app(SecretStr(sys.argv[1]))
    if sys.argv[2] == "stock":
        app.conf.worker_consumer = "celery.worker.consumer:Consumer"
    app.task(name=TASK)(touch)
    worker = app.Worker(
        pool="threads", concurrency=2, queues=[Stage.RECONCILE.value], hostname="probe@here", quiet=True
    )
    worker.start()
    sys.exit(worker.exitcode)
