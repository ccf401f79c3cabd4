"""`genqueue cancel`: free before the intent; what is bought by then is stored, accounted for, and ends cancelled."""

from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail


def cancel(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")] = None,
    batch: Annotated[str | None, typer.Option(help="every job of a batch that has not ended")] = None,
) -> None:
    """Cancel jobs that have not ended: free where nothing is bought yet; the others are followed to their end.

    Example: genqueue cancel --batch spring
    """
    if (job is None) == (batch is None):
        fail("name one job, or a batch with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        done = opened.cancel(job=opened.find_job(job) if job else None, batch=batch)
    if done.more:
        fail("workers hold some of the jobs for longer than usual: run the same command again", ExitCode.BROKEN)
    if not done.ended + done.followed:
        fail("nothing that matches is left to cancel", ExitCode.WRONG_INPUT)
    bought = (
        f"; {done.followed:,} bought or being bought: stored and accounted for as they end" if done.followed else ""
    )
    held = f"; {done.held:,} of them held in doubt: end those with genqueue resolve" if done.held else ""
    errors().print(f"{done.ended:,} cancelled{bought}{held}", markup=False)
