"""`genqueue prune`: delete rows of jobs that ended long ago, by `GENQUEUE_RETENTION`."""

from typing import Annotated

import typer
from rich.table import Table

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.tables import cell
from producer.cli.terminal import Terminal
from producer.client import Client
from producer.client.leaving import BusyError
from shared.db.leaving.prune import PruneOutlook, Staying
from shared.db.leaving.staying import REASONS


def prune(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would leave and what stays")] = False,
) -> None:
    """Delete jobs from the database that ended longer ago than GENQUEUE_RETENTION says.

    Workers do the same every hour. The sums of money stay, and nothing is
    deleted from the bucket. A job stays, with its reason, if it is held or
    unsettled, or if it is still needed to judge a provider's list.

    Example: genqueue prune --dry-run
    """
    with client(context) as opened:
        if dry_run:
            _show(opened.prune_outlook(), kept=opened.settings.retention)
            _tell_doomed(*opened.doomed_objects())
        elif not opened.settings.retention:
            fail("GENQUEUE_RETENTION is not set: every job is kept", ExitCode.WRONG_INPUT)
        else:
            _prune(opened)


def _tell_doomed(objects: int, code: str | None) -> None:
    if objects:
        why = f" (so far {code})" if code else ""
        typer.echo(f"{objects:,} erased objects wait for a worker to delete them from the bucket{why}.")


def _prune(opened: Client) -> None:
    try:
        done = opened.prune()
    except BusyError as error:
        fail(str(error), ExitCode.BROKEN)
    said = ", ".join(f"{jobs:,} {state}" for state, jobs in done.jobs.items())
    errors().print(f"left: {said}; {done.batches:,} empty batches")


def _show(outlook: PruneOutlook, *, kept: str) -> None:
    console = Terminal()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("state", "jobs", "oldest", "what happens"):
        table.add_column(name, overflow="fold", justify="right" if name in {"jobs", "oldest"} else "left")
    for old in outlook.old:
        table.add_row(old.state, f"{old.jobs:,}", f"{old.oldest_days:.0f} d", "stays" if old.why else "leaves")
    for young in outlook.young:
        what = f"stays: kept for {young.keep_days} days" if young.keep_days else "stays: kept for ever"
        table.add_row(young.state, f"{young.jobs:,}", f"{young.oldest_days:.0f} d", what)
    console.print(table)
    for old in outlook.old:
        _tell_why(console, old)
    if not kept:
        console.print("GENQUEUE_RETENTION is not set: every job is kept")
    console.print("Nothing was changed. This command never deletes anything from the bucket.")


def _tell_why(console: Terminal, old: Staying) -> None:
    if old.why:
        console.print(
            f"{old.jobs:,} {old.state} stay, the oldest {cell(old.first)}: {REASONS[old.why]}",
            soft_wrap=True,
        )
