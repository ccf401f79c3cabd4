"""`genqueue batches`, `jobs` and `bill`: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from producer.cli.session import ExitCode, client, fail
from shared.db.drift import Span, Verdict
from shared.lifecycle import JobState

SHOWN_STATES = (*JobState, "parked", "looking_up")
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]


def batches(context: typer.Context, as_json: AsJson = False) -> None:
    """List every batch with its jobs counted by what they are doing.

    Example: genqueue batches
    """
    with client(context) as opened:
        rows = opened.batches()
    names = ("name", "jobs", "queued", "parked", "running", "in_doubt", "succeeded", "failed", "cancelled")
    show(rows, names, as_json=as_json, also=("created_at",))


def jobs(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    state: Annotated[str | None, typer.Option(help="only jobs in this state, parked and looking_up among them")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="at most so many")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a batch in the order they were enqueued.

    Example: genqueue jobs spring --state failed --json
    """
    if state is not None and state not in SHOWN_STATES:
        fail(f"--state must be one of {', '.join(SHOWN_STATES)}", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        rows = opened.jobs(batch, state=state, limit=limit)
    names = ("custom_id", "provider", "state", "error_code", "id")
    show(rows, names, as_json=as_json, also=("error", "due_at", "created_at", "finished_at"))


def bill(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="one batch; default: everything")] = None,
    accept_drift: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="you know why its balance drifted: compare anew from now on")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent, what is set aside, and what may have been spent (held), by account.

    Without a batch also each balance that a provider reports, beside the one that the ledger expects.

    Example: genqueue bill spring
    """
    with client(context) as opened:
        if accept_drift is not None and not opened.accept_drift(accept_drift):
            fail(f"no balance of an account {accept_drift[:40]!r} was ever read", ExitCode.WRONG_INPUT)
        rows = opened.bill(batch)
        spans = opened.balance_spans() if batch is None else []
    names = ("account", "submissions", "accepted", "settled", "reserved", "held", "held_unpriced", "unit")
    show(rows, names, as_json=as_json, also=("provider",))
    told = [_balance(span) for span in spans if span.current or span.drift]
    if told:
        if not as_json:
            typer.echo()
        shown = ("account", "since", "read", "expected", "reported", "unit", "verdict")
        show(told, shown, as_json=as_json, also=("spent", "difference", "explained", "drift", "current"))


def balance_verdict(span: Span) -> str:
    """Say what a span of balance readings came to."""
    held = "held money" if span.by_held else "calls in the air"
    explained = f"{cell(abs(span.explained))} explained by {held}"
    more, less = (f"{cell(abs(span.drift))} {word} taken than recorded" for word in ("more", "less"))
    return {
        Verdict.EXACT: "as expected",
        Verdict.EXPLAINED: explained,
        Verdict.OPEN: f"{cell(abs(span.difference))} may be calls of uncertain price",
        Verdict.TAKEN: f"{more}, {explained}" if span.explained else more,
        Verdict.SPARED: f"{less}, {explained}" if span.explained else less,
    }[span.verdict]


def _balance(span: Span) -> dict[str, Any]:
    return {
        "account": span.account,
        "since": span.base.at.replace(microsecond=0),
        "read": span.last.at.replace(microsecond=0),
        "spent": span.spent,
        "expected": span.expected,
        "reported": span.last.balance,
        "difference": span.difference,
        "explained": span.explained,
        "drift": span.drift,
        "unit": span.unit,
        "verdict": balance_verdict(span),
        "current": span.current,
    }


def strays(context: typer.Context, as_json: AsJson = False) -> None:
    """List pictures in the providers' own lists that no job owns: another user's, or those of calls in doubt.

    Example: genqueue strays
    """
    with client(context) as opened:
        rows = opened.strays()
    show(rows, ("account", "upstream_id", "made_at", "note"), as_json=as_json, also=("found_at",))


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
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return escape(str(value))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: money as text, so that no digit is lost."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
