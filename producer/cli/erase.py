"""`genqueue erase`: remove personal data of ended jobs; their money stays."""

from typing import Annotated, Final

import typer

from producer.cli.preview import (
    Confirm,
    DryRun,
    Preview,
    PreviewTerms,
    YesFree,
    agreed,
    require_some,
    tell,
    words,
)
from producer.cli.session import ExitCode, client, errors, fail
from producer.client import Client, NoSuchBatchError, NoSuchJobError
from shared.db.jobs.bulk import BulkPlan
from shared.db.leaving.erase import ERASE, REFUSALS, RESULTS

_WHAT: Final = {ERASE: "erased, stored images stay", RESULTS: "erased, with their stored images"}
_BUCKET: Final = "a worker deletes the objects from the bucket"


def erase(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="JOB|BATCH", help="a job's id or name, or the name of a batch")],
    results: Annotated[bool, typer.Option("--results", help="also erase the stored images")] = False,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    yes: YesFree = False,
) -> None:
    """Erase prompts, references, kept answers, unverified images, links and providers' words of ended jobs.

    Ids, hashes, times, codes and money stay. A job that has not ended, or is
    held, is left alone, and the command that ends it is named. This cannot be
    undone.

    Example: genqueue erase spring --dry-run
    """
    flags = ["--results"] if results else []
    terms = PreviewTerms(words("erase", name, None, None, None, *flags), dry_run, confirm, yes)
    with client(context) as opened:
        plan = _plan(opened, name, results=results)
        _tell_left(plan)
        refused = "nothing was erased" if plan.left else "nothing that matches can be erased"
        require_some(plan.targets, terms, refused)
        if agreed(Preview(plan.act, plan.targets, plan.at, _WHAT, ("This cannot be undone.",)), terms):
            done = opened.carry_out_erase(plan)
            tell(done.jobs, {plan.act: f"{_WHAT[plan.act]}; {_BUCKET}"}, done.moved_on)
        if plan.left and not dry_run:
            raise typer.Exit(ExitCode.INCOMPLETE)


def _plan(opened: Client, name: str, *, results: bool) -> BulkPlan:
    """Read the name as the name of a batch; without such a batch, as the name of a job."""
    try:
        return opened.plan_erase(batch=name, results=results)
    except NoSuchBatchError:
        try:
            return opened.plan_erase(job=opened.find_job(name), results=results)
        except NoSuchJobError as error:
            fail(f"there is no batch {name[:80]!r}, and {error}", ExitCode.WRONG_INPUT)


def _tell_left(plan: BulkPlan) -> None:
    for why, jobs in plan.left:
        errors().print(f"{jobs:,} left alone: {REFUSALS[why]}")
