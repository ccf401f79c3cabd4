"""`genqueue retry`: failed jobs go on; a bought job is paid again only on demand."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import typer

from producer.cli.advice import fill
from producer.cli.preview import (
    Account,
    Batch,
    Code,
    Confirm,
    DryRun,
    JobName,
    Preview,
    PreviewTerms,
    Yes,
    agreed,
    money,
    require_named,
    require_some,
    tell,
    words,
)
from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.terminal import visible
from producer.client import Client
from shared.db.jobs import bulk
from shared.db.jobs.bulk import Target
from shared.db.jobs.retry import ASK, BUY, BUY_AGAIN, FETCH, RetryPlan, claims_of

_WHAT: Final = {
    ASK: "collected again, free",
    FETCH: "collected again, free",
    BUY: "bought for the first time",
    BUY_AGAIN: "bought again, perhaps twice",
}
_WHAT_IT_ASKS: Final = frozenset(
    {"content_refused", "content_refused_after_purchase", "provider_rejected", "not_found", "not_entitled"}
)
"""Codes of jobs that were refused for what they ask."""
_DONE: Final = {"queued": "tried again"}


def retry(
    context: typer.Context,
    job: JobName = None,
    batch: Batch = None,
    account: Account = None,
    error_code: Code = None,
    buy_again: Annotated[
        bool, typer.Option("--buy-again", help="also buy jobs again that were bought and cannot be collected")
    ] = False,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    yes: Yes = False,
) -> None:
    """Try failed jobs again: collect those that are bought, buy those that are not.

    Name one job, or every failed job that matches --batch, --account and
    --error-code.

    A job that was bought and can no longer be collected is left alone unless
    you say --buy-again. To buy many again, give the token of a --dry-run, or
    say yes at a terminal. Only the jobs that were shown are bought.

    Example: genqueue retry --batch spring --error-code result_timeout --yes
    """
    require_named(job, batch, account, error_code)
    flags = ["--buy-again"] if buy_again else []
    terms = PreviewTerms(words("retry", job, batch, account, error_code, *flags), dry_run, confirm, yes)
    with client(context) as opened:
        named = opened.find_job(job) if job else None
        plan = opened.plan_retry(job=named, batch=batch, account=account, code=error_code)
        if job is not None and not dry_run and confirm is None:
            _one(opened, plan, named, buy_again=buy_again)
        else:
            _many(opened, plan, terms, buy_again=buy_again)


def _nothing(opened: Client, named: UUID | None) -> str:
    """Say why nothing can be tried again; of one job, how it stands and what comes next."""
    if named is None:
        return "no failed job matches"
    job = opened.job(named).job
    name = f"{job['batch']}/{job['custom_id']}"
    if job["state"] == "succeeded":
        return f"{name} has succeeded: nothing to retry"
    if job["state"] == "cancelled":
        return f"{name} is cancelled: enqueue it again under a new custom_id"
    return f"{name} has not failed, it is {job['state'].replace('_', ' ')}: {fill('genqueue explain JOB', job)}"


def _costs(opened: Client, targets: Sequence[Target]) -> list[str]:
    """Say what the jobs that would be bought cost at most, and which would most likely be refused again."""
    bought = [target for target in targets if target.act in {BUY, BUY_AGAIN}]
    if not bought:
        return []
    said = [f"at most {money(opened.most_cost([target.claim.job_id for target in bought]))} to pay"]
    if refused := sum(target.reason in _WHAT_IT_ASKS for target in bought):
        said.append(
            f"{refused:,} of these were refused for what they ask, and are sent unchanged: most likely they are "
            "refused again. To send something else, correct the rows and use `genqueue enqueue --changed`"
        )
    return said


def _one(opened: Client, plan: RetryPlan, named: UUID | None, *, buy_again: bool) -> None:
    if not claims_of(plan):
        fail(_nothing(opened, named), ExitCode.WRONG_INPUT)
    for line in _costs(opened, plan.of(buy_again=buy_again)):
        errors().print(visible(line))
    opened.retry(plan, buy_again=buy_again)
    kept = sum(claim.job_id in plan.kept for claim in plan.buy_again)
    told = (
        (len(plan.ask) + len(plan.fetch), "collected again, free"),
        (len(plan.buy), "submitted; nothing was bought for them before"),
        (len(plan.buy_again) * buy_again, "bought a second time"),
        (len(plan.buy_again) * (not buy_again), "left alone: already bought; --buy-again pays a second time"),
        (kept, "of these have an image that is kept unverified: genqueue accept takes it, free"),
    )
    for count, what in told:
        if count:
            errors().print(f"{count:,} {what}")
    if plan.buy_again and not buy_again and len(claims_of(plan)) == len(plan.buy_again):
        raise typer.Exit(ExitCode.WRONG_INPUT)


def _many(opened: Client, plan: RetryPlan, terms: PreviewTerms, *, buy_again: bool) -> None:
    targets = plan.of(buy_again=buy_again)
    left = len(plan.targets) - len(targets)
    kept = sum(claim.job_id in plan.kept for claim in plan.buy_again)
    why = f"left alone: {left:,} may already be bought; --buy-again pays a second time"
    free = f"{kept:,} of these have an image that is kept unverified: genqueue accept takes it, free"
    require_some(targets, terms, "; ".join([why, free][: 1 + bool(kept)]) if left else _nothing(opened, plan.which.job))
    again = [target for target in targets if target.act == BUY_AGAIN]
    notes = [*_costs(opened, targets), *([why] if left else []), *([free] if kept else [])]
    if again:
        notes.append(f"worst second charge: {money(bulk.second_charge(again))}")
    preview = Preview("retry", targets, plan.at, _WHAT, tuple(notes), may_pay_twice=bool(again))
    if agreed(preview, terms):
        done = opened.carry_out_retry(plan, buy_again=buy_again)
        tell(done.jobs, _DONE, done.moved_on)
