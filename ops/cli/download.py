"""`genqueue download BATCH DIR`: every stored image of a batch as a file, verified by its hash."""

from pathlib import Path
from typing import Annotated

import typer

from ops.downloading import Downloaded, download_batch
from producer.cli.session import ExitCode, client, errors, fail
from shared.settings import load
from worker.storage import Storage, StorageError


def download(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    directory: Annotated[Path, typer.Argument(help="made if missing; files that are right already are kept")],
) -> None:
    """Copy every stored image of a batch into a directory and verify each file's SHA-256.

    Example: genqueue download spring pictures
    """
    with client(context) as opened:
        storage = bucket()
        try:
            done = download_batch(opened.results(batch), storage, directory)
        except StorageError as error:
            fail(str(error), ExitCode.BROKEN)
        except OSError as error:
            fail(f"{error.filename or directory}: {error.strerror}", ExitCode.BROKEN)
    _tell(done, directory)


def bucket() -> Storage:
    """Return the bucket of the settings, with credentials from the standard AWS chain."""
    settings = load()
    return Storage(
        bucket=settings.s3_bucket,
        endpoint_url=settings.s3_endpoint_url or None,
        region=settings.s3_region,
        access_key=None,
        secret_key=None,
        connect_seconds=10,
        read_seconds=settings.s3_timeout_seconds,
        max_connections=4,
    )


def _tell(done: Downloaded, directory: Path) -> None:
    kept = f", {done.kept:,} there already" if done.kept else ""
    errors().print(f"{done.written:,} images written to {directory}{kept}", markup=False)
    if done.missing:
        errors().print(f"{done.missing:,} images are not stored; `genqueue results` says why", markup=False)
        raise typer.Exit(ExitCode.INCOMPLETE)
