"""`genqueue download BATCH DIR`: every stored image of a batch as a file, verified by its hash."""

from pathlib import Path
from typing import Annotated

import typer

from ops.downloading import Downloaded, download_batch
from producer.cli.session import ExitCode, client, errors, fail
from shared.notes import counted
from shared.settings import load
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError


def download(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    directory: Annotated[Path, typer.Argument(help="created if missing; correct files in it are kept")],
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


def bucket(silence_seconds: float | None = None, *, for_links: bool = False) -> Storage:
    """Return the bucket of the settings, with credentials from the standard AWS chain.

    `silence_seconds` bounds how long it may say nothing; None: as the settings say. `for_links`: at the address at
    which callers of the HTTP API reach it.
    """
    settings = load()
    return Storage(
        bucket=settings.s3_bucket,
        endpoint_url=(for_links and settings.s3_link_url) or settings.s3_endpoint_url or None,
        region=settings.s3_region,
        access_key=None,
        secret_key=None,
        connect_seconds=10,
        read_seconds=silence_seconds or settings.s3_timeout_seconds,
        max_connections=4,
    )


def _tell(done: Downloaded, directory: Path) -> None:
    kept = f", {done.kept:,} already there" if done.kept else ""
    errors().print(f"{counted(done.written, 'image')} written to {directory}{kept}")
    if done.missing:
        errors().print(f"{counted(done.missing, 'image is', 'images are')} not stored; `genqueue results` says why")
        raise typer.Exit(ExitCode.INCOMPLETE)
