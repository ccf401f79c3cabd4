"""`genqueue worker`: one worker process until SIGTERM."""

import os
import time
from typing import Annotated, Final

import structlog
import typer

from ops.cli.download import bucket
from ops.cli.join import decide_purpose, joined, prove_database
from producer.cli.session import ExitCode, errors, fail, told
from shared import log
from shared.db.engine import DatabaseUnavailableError, UnfitServerError
from shared.settings import Settings
from worker import memory
from worker.tasks import run_worker, worker_app
from worker.transport.storage_errors import StorageError
from worker.transport.store_proof import UnverifyingStoreError, prove

_log = structlog.get_logger(__name__)
_AWAY_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 5.0


def worker(
    name: Annotated[str, typer.Option(help="name shown in Flower; unique on its host")] = "",
) -> None:
    """Run one worker process until SIGTERM; it finishes its calls and transfers before it exits.

    Example: genqueue worker --name worker-1
    """
    memory.stay_small()
    with told(), joined() as settings:
        log.configure(settings.log_level, settings.log_format)
        if not settings.broker_url.get_secret_value():
            fail("no broker: set GENQUEUE_BROKER_URL, or start everything with `genqueue up`", ExitCode.BROKEN)
        if not any(account.api_key for account in settings.accounts.values()):
            errors().print("no account has an API key: this worker can pay for nothing")
        app = worker_app(settings, access_key=None, secret_key=None)
        _await_database(settings)
        _require_verifying_store()
        memory.settle()
        run_worker(app, settings, name=name or f"worker-{os.getpid()}")


def _await_database(settings: Settings) -> None:
    """Check that this worker's accounts may serve the database, before it takes a message.

    The messages of a trial's dispatcher may lie in the same broker. Raises `PurposeError`, `SchemaError` and
    `UnfitServerError`.
    """
    while True:
        try:
            prove_database(settings)
            decide_purpose(settings)
        except UnfitServerError:
            raise
        except DatabaseUnavailableError as error:
            _log.warning("database_away", error=str(error))
            time.sleep(_AWAY_SECONDS)
        else:
            return


def _require_verifying_store() -> None:
    """End where the bucket's server would keep damaged pictures as whole ones.

    One that cannot be reached, or refuses us, is no reason not to start: jobs wait for it, with its reason.
    """
    try:
        prove(bucket(_SILENCE_SECONDS))
    except UnverifyingStoreError as error:
        fail(str(error), ExitCode.BROKEN)
    except StorageError as error:
        _log.warning("bucket_not_proved", error=str(error))
