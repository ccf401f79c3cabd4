"""The previews of `resolve`, `retry` and `cancel`: they show what would happen to many jobs, and ask first."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from producer.cli.session import ExitCode, errors, fail
from producer.cli.tables import cell, show_cells
from producer.cli.terminal import Terminal, visible
from shared.db.jobs import bulk
from shared.db.jobs.bulk import SecondCharge, Target

JobName = Annotated[str | None, typer.Argument(help="an id or its beginning, a custom_id, or BATCH/custom_id")]
Batch = Annotated[str | None, typer.Option(help="only jobs of this batch")]
Account = Annotated[str | None, typer.Option(help="only jobs of this account")]
Code = Annotated[str | None, typer.Option("--error-code", help="only jobs with this error code")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would be done; change nothing")]
Confirm = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="do exactly what the --dry-run with this token showed")
]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask; not enough if the command may pay twice")]
YesFree = Annotated[bool, typer.Option("--yes", help="do not ask")]
"""For commands that pay nothing."""


@dataclass(frozen=True, slots=True)
class PreviewTerms:
    """A person's options about the preview, and the command as it was written, without them."""

    words: tuple[str, ...]
    dry_run: bool
    confirm: str | None
    yes: bool

    def command(self, *more: str) -> str:
        """Return the command with `more` options, quoted for a shell."""
        end = self.words.index("--") if "--" in self.words else len(self.words)
        return shlex.join([*self.words[:end], *more, *self.words[end:]])


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done. A token stands for `act` and `targets`; `what` names each act for people."""

    act: str
    targets: Sequence[Target]
    at: datetime
    what: dict[str, str]
    notes: tuple[str, ...] = ()
    may_pay_twice: bool = False


def require_named(job: str | None, *filters: str | None) -> None:
    """End the command unless one job is named, or many by a filter."""
    if (job is not None) == any(filters):
        fail("name one job, or many by --batch, --account and --error-code", ExitCode.WRONG_INPUT)


def words(
    command: str, job: str | None, batch: str | None, account: str | None, code: str | None, *flags: str
) -> tuple[str, ...]:
    """Return a command as a person would type it."""
    named = (("--batch", batch), ("--account", account), ("--error-code", code))
    options = [part for name, value in named if value is not None for part in (name, value)]
    given = () if job is None else ("--", job) if job.startswith("-") else (job,)
    return ("genqueue", command, *options, *flags, *given)


def agreed(preview: Preview, terms: PreviewTerms) -> bool:
    """Show the preview and return whether to carry it out; False after a dry run.

    Ends the command after a no, if nobody can be asked, or if the token stands for other jobs.
    """
    console = Terminal(stderr=not terms.dry_run)
    _show(console, preview)
    token = bulk.token(preview.act, preview.targets, preview.at)
    if terms.dry_run:
        console.print("Nothing was changed. To do exactly this:")
        console.print(f"  {terms.command('--confirm', token)}", soft_wrap=True)
        return False
    if terms.confirm is not None:
        _require_token(terms.confirm, preview)
        return True
    if terms.yes and not preview.may_pay_twice:
        return True
    if not _at_a_terminal():
        fail(_cannot_ask(terms, may_pay_twice=preview.may_pay_twice), ExitCode.WRONG_INPUT)
    if typer.confirm("Do exactly this?", err=True):
        return True
    errors().print("nothing was changed")
    raise typer.Exit(ExitCode.BROKEN)


def require_some(targets: Sequence[Target], terms: PreviewTerms, otherwise: str) -> None:
    """End the command if nothing matches. The message says so, or says that the token stands for other jobs."""
    if targets:
        return
    how = bulk.difference(terms.confirm, targets) if terms.confirm else None
    fail(f"the jobs have changed since that preview: {how}" if how else otherwise, ExitCode.WRONG_INPUT)


def tell(jobs: Counter[str], what: dict[str, str], moved_on: int) -> None:
    """Say what was done."""
    for name, said in what.items():
        if jobs[name]:
            errors().print(f"{jobs[name]:,} {said}")
    if moved_on:
        errors().print(f"{moved_on:,} had changed since they were shown: left alone")


def money(charge: SecondCharge) -> str:
    """Return the most that could be paid a second time, as the end of a sentence."""
    parts = [f"{cell(amount)} {unit}" for unit, amount in sorted(charge.amounts.items()) if amount]
    if charge.unpriced:
        parts.append(f"{charge.unpriced:,} call{'s' * (charge.unpriced != 1)} of unknown price")
    return " and ".join(parts) or "nothing"


def _show(console: Terminal, preview: Preview) -> None:
    counted = Counter((one.account, one.reason, preview.what[one.act]) for one in preview.targets)
    rows = [(account, reason, f"{jobs:,}", what) for (account, reason, what), jobs in sorted(counted.items())]
    show_cells(("account", "reason", "jobs", "what happens"), rows, stderr=console.stderr)
    for note in preview.notes:
        console.print(visible(note), soft_wrap=note.startswith("  "))


def _require_token(given: str, preview: Preview) -> None:
    if bulk.is_of(given, preview.act, preview.targets):
        return
    how, code = bulk.difference(given, preview.targets), ExitCode.WRONG_INPUT
    if how is None:
        fail(f"{given[:40]!r} is not a token of a --dry-run", code)
    fail(f"nothing was done, because the jobs have changed since that preview: {how}. Look again with --dry-run", code)


def _cannot_ask(terms: PreviewTerms, *, may_pay_twice: bool) -> str:
    look = f"run `{terms.command('--dry-run')}`, then the command that it prints"
    if may_pay_twice:
        return f"nothing was done: this may pay twice, and nobody can be asked here. {look}"
    return f"nothing was done: nobody can be asked here. Add --yes, or {look}"


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
