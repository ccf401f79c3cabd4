"""`genqueue retry`: failed jobs go on; what was paid for is paid again only on demand."""

from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.client import Client
from shared.db.retry import RetryPlan, claims_of


def retry(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")] = None,
    batch: Annotated[str | None, typer.Option(help="every failed job of a batch")] = None,
    error_code: Annotated[str | None, typer.Option(help="only jobs that failed with this code")] = None,
    buy_again: Annotated[
        bool, typer.Option("--buy-again", help="also what was bought once already and cannot be collected")
    ] = False,
) -> None:
    """Try failed jobs again: collect what is bought, buy what never was.

    A job that was bought and can no longer be collected is left alone unless you say --buy-again.

    Example: genqueue retry --batch spring --error-code result_timeout
    """
    if (job is None) == (batch is None):
        fail("name one job, or a batch with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        named = opened.find_job(job) if job else None
        plan = opened.plan_retry(job=named, batch=batch, code=error_code)
        if not claims_of(plan):
            fail("no failed job matches", ExitCode.WRONG_INPUT)
        _carry_out(opened, plan, buy_again=buy_again)


def _carry_out(opened: Client, plan: RetryPlan, *, buy_again: bool) -> None:
    opened.retry(plan, buy_again=buy_again)
    told = (
        (len(plan.ask) + len(plan.fetch), "collected again, free"),
        (len(plan.buy), "submitted; nothing was bought for them before"),
        (len(plan.buy_again) * buy_again, "bought a second time"),
        (len(plan.buy_again) * (not buy_again), "left alone: bought once already, --buy-again pays a second time"),
    )
    for count, what in told:
        if count:
            errors().print(f"{count:,} {what}", markup=False)
    if plan.buy_again and not buy_again and len(claims_of(plan)) == len(plan.buy_again):
        raise typer.Exit(ExitCode.WRONG_INPUT)
