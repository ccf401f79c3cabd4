"""`genqueue worker`: one worker process until SIGTERM."""

import os
from typing import Annotated

import typer

from ops.cli.join import joined
from producer.cli.session import ExitCode, errors, fail, told
from shared import log
from worker.tasks import run_worker, worker_app


def worker(
    name: Annotated[str, typer.Option(help="shown in Flower; one for each process on a host")] = "",
) -> None:
    """Run one worker process until SIGTERM; what is in the air is finished first.

    Example: genqueue worker --name worker-1
    """
    with told(), joined() as settings:
        log.configure(settings.log_level, settings.log_format)
        if not settings.broker_url.get_secret_value():
            fail("no broker: set GENQUEUE_BROKER_URL, or start everything with `genqueue up`", ExitCode.BROKEN)
        if not any(account.api_key for account in settings.accounts.values()):
            errors().print("no account has an API key: this worker can pay for nothing", markup=False)
        app = worker_app(settings, access_key=None, secret_key=None)
        run_worker(app, settings, name=name or f"worker-{os.getpid()}")
