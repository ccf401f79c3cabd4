"""`genqueue cancel`: free before the intent. What is already bought is stored, and the job ends as cancelled."""

from collections import Counter
from typing import Final

import typer

from producer.cli.preview import (
    Account,
    Batch,
    Code,
    Confirm,
    DryRun,
    JobName,
    Preview,
    PreviewTerms,
    YesFree,
    agreed,
    require_named,
    require_some,
    tell,
    words,
)
from producer.cli.session import ExitCode, client, errors, fail
from producer.client import Client
from shared.db.jobs.bulk import BulkPlan
from shared.db.jobs.cancel import CANCEL, FOLLOW, HELD

_WHAT: Final = {
    CANCEL: "cancelled, free",
    FOLLOW: "bought, or being bought: followed to its end",
    HELD: "held in doubt: ended by genqueue resolve",
}


def cancel(
    context: typer.Context,
    job: JobName = None,
    batch: Batch = None,
    account: Account = None,
    error_code: Code = None,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    yes: YesFree = False,
) -> None:
    """Cancel jobs that have not ended: free if nothing is bought yet; the others are followed to their end.

    Name one job, or every job that matches --batch, --account and --error-code.
    Many jobs are shown first, and you are asked.

    Example: genqueue cancel --batch spring --yes
    """
    require_named(job, batch, account, error_code)
    terms = PreviewTerms(words("cancel", job, batch, account, error_code), dry_run, confirm, yes)
    with client(context) as opened:
        named = opened.find_job(job) if job else None
        if job is not None and not dry_run and confirm is None:
            done = opened.cancel(job=named)
            _tell(Counter(cancelled=done.ended, followed=done.followed, held=done.held, busy=int(done.more)))
        else:
            _warn_of_arriving(opened, batch)
            _many(opened, opened.plan_cancel(job=named, batch=batch, account=account, code=error_code), terms)


def _warn_of_arriving(opened: Client, batch: str | None) -> None:
    if batch is not None and opened.is_arriving(batch):
        errors().print(
            "warning: rows that came by SQL wait for a worker to check them, and are not cancelled: run the same "
            "command again, or `genqueue hold`, which holds them too"
        )


def _many(opened: Client, plan: BulkPlan, terms: PreviewTerms) -> None:
    require_some(plan.targets, terms, "nothing that matches is left to cancel")
    if agreed(Preview(plan.act, plan.targets, plan.at, _WHAT), terms):
        done = opened.carry_out_cancel(plan)
        _tell(done.jobs)
        tell(Counter(), {}, done.moved_on)


def _tell(jobs: Counter[str]) -> None:
    if jobs["busy"]:
        fail("workers hold some of the jobs for longer than usual: run the same command again", ExitCode.BROKEN)
    if not jobs["cancelled"] + jobs["followed"]:
        fail("nothing that matches is left to cancel", ExitCode.WRONG_INPUT)
    bought = (
        f"; {jobs['followed']:,} bought or being bought: stored and accounted for as they end"
        if jobs["followed"]
        else ""
    )
    held = f"; {jobs['held']:,} of them held in doubt: end those with genqueue resolve" if jobs["held"] else ""
    errors().print(f"{jobs['cancelled']:,} cancelled{bought}{held}")
