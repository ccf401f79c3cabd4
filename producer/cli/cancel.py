"""`genqueue cancel`: jobs for which nothing has been paid end at once; the others go on to their end."""

from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail


def cancel(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")] = None,
    batch: Annotated[str | None, typer.Option(help="every queued job of a batch")] = None,
) -> None:
    """Cancel what is still queued, free of charge; what is bought or being bought is still collected.

    Example: genqueue cancel --batch spring
    """
    if (job is None) == (batch is None):
        fail("name one job, or a batch with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        done = opened.cancel(job=opened.find_job(job) if job else None, batch=batch)
    if not done:
        fail("nothing that matches is queued; what is bought cannot be cancelled", ExitCode.WRONG_INPUT)
    errors().print(f"{done:,} cancelled", markup=False)
