"""`genqueue batches`, `jobs` and `bill`: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from producer.cli.session import ExitCode, client, fail
from shared.lifecycle import JobState

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]


def batches(context: typer.Context, as_json: AsJson = False) -> None:
    """List every batch with its jobs counted by what they are doing.

    Example: genqueue batches
    """
    with client(context) as opened:
        rows = opened.batches()
    names = ("name", "jobs", "queued", "running", "in_doubt", "succeeded", "failed", "cancelled")
    show(rows, names, as_json=as_json, also=("created_at",))


def jobs(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    state: Annotated[str | None, typer.Option(help="only jobs in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="at most so many")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a batch in the order they were enqueued.

    Example: genqueue jobs spring --state failed --json
    """
    if state is not None and state not in set(JobState):
        fail(f"--state must be one of {', '.join(JobState)}", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        rows = opened.jobs(batch, state=state, limit=limit)
    names = ("custom_id", "provider", "state", "error_code", "id")
    show(rows, names, as_json=as_json, also=("error", "due_at", "created_at", "finished_at"))


def bill(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="one batch; default: everything")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent, what is set aside, and what may have been spent (held), by account.

    Example: genqueue bill spring
    """
    with client(context) as opened:
        rows = opened.bill(batch)
    names = ("account", "submissions", "accepted", "settled", "reserved", "held", "held_unpriced", "unit")
    show(rows, names, as_json=as_json, also=("provider",))


def show(rows: Iterable[Mapping[str, Any]], names: Sequence[str], *, as_json: bool, also: Sequence[str] = ()) -> None:
    """Print rows as a table of `names`, or as JSON Lines that hold `also` as well."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps({name: plain(row[name]) for name in (*names, *also)}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row[name]) for name in names))
    Console(soft_wrap=False).print(table)


def cell(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value).replace("[", r"\[")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: money as text, so that no digit is lost."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
