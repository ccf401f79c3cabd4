"""`genqueue resolve`: a person ends jobs in doubt, one by name or many at once."""

from decimal import Decimal
from typing import Annotated, Final

import typer

from producer.cli.policy import hint
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
from producer.client import Client
from producer.client.bulk import Resolve
from producer.money import amount_in
from shared.db.jobs.choose import NotACandidateError
from shared.db.jobs.resolve import GIVE_UP, RESEND, SETTLE

Bought = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="collect this picture of the provider's list, by its id there; repeatable"),
]
Charged = Annotated[
    str | None, typer.Option(help="what the provider charged for each lost call; 0 = nothing; leave out if unknown")
]
_WHAT: Final = {RESEND: "sent again", GIVE_UP: "given up", SETTLE: "ended before: its open cost is settled"}
_ENDED: Final = {
    "queued": "wait in line to be sent again",
    "failed": "are failed",
    "cancelled": "are cancelled",
    "succeeded": "had succeeded: their open cost is settled",
    "pending": "turned out to be bought: they are collected",
    "transferring": "turned out to be bought: they are collected",
}


def resolve(
    context: typer.Context,
    job: JobName = None,
    batch: Batch = None,
    account: Account = None,
    error_code: Code = None,
    resend: Annotated[bool, typer.Option("--resend", help="send the jobs again; this may pay a second time")] = False,
    give_up: Annotated[bool, typer.Option("--fail", help="end the jobs as failed")] = False,
    bought: Bought = None,
    charged: Charged = None,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    yes: Yes = False,
) -> None:
    """End jobs whose answer was lost, after a look at the provider's own history.

    Name one job, or every held job that matches --batch, --account and
    --error-code.

    Many jobs are shown first. To send many again, give the token of a
    --dry-run, or say yes at a terminal. Only the jobs that were shown are sent
    again. Jobs that have changed meanwhile are left alone.

    Example: genqueue resolve spring/row-000042 --resend --charged 0

    Example: genqueue resolve --batch spring --error-code answer_lost --resend
    --dry-run

    With --bought, the job collects pictures that `genqueue explain JOB` names.

    Example: genqueue resolve spring/row-000042 --bought 5c1f0a
    """
    if resend + give_up + bool(bought) != 1:
        fail("give one of --resend, --fail and --bought", ExitCode.WRONG_INPUT)
    require_named(job, batch, account, error_code)
    amount = _amount(charged)
    if bought:
        _bought(context, PreviewTerms((), dry_run, confirm, yes), job, bought, amount)
        return
    flags = ["--resend" if resend else "--fail", *(["--charged", charged] if charged is not None else [])]
    terms = PreviewTerms(words("resolve", job, batch, account, error_code, *flags), dry_run, confirm, yes)
    with client(context) as opened:
        if job is not None and not dry_run and confirm is None:
            _one(opened, job, resend=resend, charged=amount)
            return
        try:
            wanted = opened.plan_resolve(
                resend=resend,
                charged=amount,
                job=opened.find_job(job) if job else None,
                batch=batch,
                account=account,
                code=error_code,
            )
        except ValueError as error:
            fail(str(error), ExitCode.WRONG_INPUT)
        _many(opened, wanted, terms, batch)


def _bought(
    context: typer.Context, terms: PreviewTerms, job: str | None, pictures: list[str], charged: Decimal | None
) -> None:
    """Collect what a person found to be bought."""
    if job is None or terms.dry_run or terms.confirm is not None:
        fail("--bought is about one job, and is done at once: it costs nothing", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        try:
            state = opened.choose(opened.find_job(job), pictures, charged=charged)
        except NotACandidateError as error:
            fail(f"{error}; `genqueue explain {job}` lists them", ExitCode.WRONG_INPUT)
    errors().print(f"{job} is {state}: it is collected, free")


def _one(opened: Client, job: str, *, resend: bool, charged: Decimal | None) -> None:
    state = opened.resolve(opened.find_job(job), resend=resend, charged=charged)
    said = "the money stays held" if charged is None else f"the ledger says {charged:f}"
    errors().print(f"{job} is {state}; {said}")


def _many(opened: Client, wanted: Resolve, terms: PreviewTerms, batch: str | None) -> None:
    plan = wanted.plan
    left = "; ".join(f"{jobs:,} {why}" for why, jobs in plan.left)
    require_some(plan.targets, terms, f"no held job matches{f': {left}' if left else ''}")
    notes = [*([f"left alone: {left}"] if left else []), *_money_notes(wanted)]
    if wanted.resend and batch is not None:
        notes += [line for held in opened.held_by_policy(batch) for line in hint(held)]
    preview = Preview(plan.act, plan.targets, plan.at, _WHAT, tuple(notes), may_pay_twice=wanted.resend)
    if agreed(preview, terms):
        done = opened.carry_out_resolve(wanted)
        tell(done.jobs, _ENDED, done.moved_on)


def _money_notes(wanted: Resolve) -> list[str]:
    jobs = len(wanted.plan.targets)
    notes = []
    if wanted.charged is None:
        notes.append("the lost calls' money stays held")
    elif wanted.charged:
        unit = wanted.plan.targets[0].unit
        notes.append(f"charged: {wanted.charged:f} each, {wanted.charged * jobs:f} {unit} for {jobs:,} lost calls")
    else:
        notes.append(f"charged: 0 each, nothing for {jobs:,} lost calls")
    if wanted.resend:
        if_wrong = ", if one of them was charged all the same" if wanted.charged == 0 else ""
        notes.append(f"worst second charge: {money(wanted.second_charge)}{if_wrong}")
    return notes


def _amount(charged: str | None) -> Decimal | None:
    amount = None if charged is None else amount_in(charged)
    if charged is not None and amount is None:
        fail("--charged must be an amount such as 0.035, in the account's unit", ExitCode.WRONG_INPUT)
    return amount
