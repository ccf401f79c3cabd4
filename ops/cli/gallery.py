"""`genqueue gallery BATCH`: a batch's pictures as one HTML page to send to somebody."""

from pathlib import Path
from typing import Annotated

import typer

from ops.cli.download import bucket
from ops.dashboard.thumbnails import Thumbnails
from ops.gallery import GalleryOptions, write_gallery
from producer.cli.session import ExitCode, client, errors, fail
from shared.settings import load
from worker.transport.storage_errors import StorageError


def gallery(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page's file")] = Path("gallery.html"),
    every: Annotated[bool, typer.Option("--all", help="also jobs that did not succeed, with their reasons")] = False,
    prompts: Annotated[bool, typer.Option("--prompts/--no-prompts", help="show the prompts")] = True,
    costs: Annotated[bool, typer.Option("--costs/--no-costs", help="show what each job cost")] = False,
    originals: Annotated[
        bool, typer.Option("--originals", help="lead to the files of `genqueue download` beside the page")
    ] = False,
) -> None:
    """Write one HTML page with a thumbnail of every picture of a batch. The page needs no other file.

    Example: genqueue gallery spring -o spring.html
    """
    options = GalleryOptions(batch, prompts=prompts, costs=costs, originals=originals)
    with client(context) as opened:
        try:
            thumbnails = Thumbnails(load().home.absolute() / "thumbnails", bucket())
            try:
                jobs = opened.pictured(batch, state=None if every else "succeeded")
                count = write_gallery(jobs, output, options, thumbnails.get)
            finally:
                thumbnails.decoder.close()
        except StorageError as error:
            fail(str(error), ExitCode.BROKEN)
        except OSError as error:
            fail(f"{error.filename or output}: {error.strerror}", ExitCode.BROKEN)
    errors().print(f"{count:,} pictures in {output}")
