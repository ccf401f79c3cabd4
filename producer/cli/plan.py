"""`genqueue plan FILE`: what a prompt file would cost and take, before anything is enqueued."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from producer.cli.listings import cell, plain
from producer.cli.session import ExitCode, client, fail
from producer.planning import AccountPlan, Plan
from producer.prompts import Format
from producer.readiness import duration
from producer.weighing import Total
from shared.db.enqueue import EnqueueConflictError

_NUMBERS = ("new", "there", "images", "requests", "references")
_ALWAYS = ("account", "new", "images")


def plan(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="CSV with a header, JSON Lines, or .txt; - for standard input")],
    provider: Annotated[str | None, typer.Option(help="for rows that name none")] = None,
    batch: Annotated[str | None, typer.Option(help="batch name; default: the file's name without its end")] = None,
    file_format: Annotated[Format, typer.Option("--format", help="how to read the file")] = "auto",
    max_cost: Annotated[
        list[str] | None, typer.Option(help="the most the batch may spend: PROVIDER=AMOUNT, or an amount")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show what a prompt file would add, cost and take, and what is missing; nothing is enqueued or spent.

    Exit code 0: nothing is missing; 2: the file would be refused; 3: jobs would wait or fail for what is missing.

    Example: genqueue plan prompts.csv --provider bloom --batch spring
    """
    name = batch or Path(file).stem
    if file == "-" and batch is None:
        fail("standard input has no name: give one with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        planned = opened.plan(
            file, batch=name, provider=provider, format=file_format, local_files=True, max_cost=max_cost or ()
        )
    if as_json:
        typer.echo(json.dumps(_document(planned)))
    else:
        _print(planned)
    if planned.conflict_count:
        fail(str(EnqueueConflictError(name, list(planned.conflicts))), ExitCode.WRONG_INPUT)
    if planned.would_wait:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _document(planned: Plan) -> dict[str, Any]:
    return {
        "batch": planned.batch,
        "batch_exists": planned.batch_exists,
        "rows": sum(one.share.rows + one.share.known for one in planned.accounts) + planned.conflict_count,
        "new": planned.new,
        "known": sum(one.share.known for one in planned.accounts),
        "conflicts": planned.conflict_count,
        "accounts": [_account_facts(one) for one in planned.accounts],
        "totals": [{name: plain(value) for name, value in total._asdict().items()} for total in planned.totals],
        "remarks": [remark._asdict() for remark in planned.all_remarks()],
    }


def _account_facts(planned: AccountPlan) -> dict[str, Any]:
    share = planned.share
    return {
        "account": share.account,
        "provider": share.provider,
        "new": share.rows,
        "known": share.known,
        "images": share.images,
        "cost": {name: plain(getattr(share.money, name)) for name in ("unit", "low", "high")},
        "price_unknown": dict(share.unpriced),
        "requests": {"submits": share.rows, "polls_at_least": share.polls, "references": share.references},
        "seconds_at_least": planned.least.seconds,
        "because": planned.least.because,
        "waiting": planned.waiting,
        "ahead": planned.ahead,
        "balance": plain(planned.balance),
    }


def _print(planned: Plan) -> None:
    console = Console(soft_wrap=False, highlight=False)
    rows = [_row(one) for one in planned.accounts]
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [name for name in rows[0] if name in _ALWAYS or any(row[name] for row in rows)] if rows else []
    for name in shown:
        justify: Literal["left", "right"] = "right" if name in _NUMBERS else "left"
        table.add_column(name, overflow="fold", justify=justify, no_wrap=name not in {"cost", "under"})
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    console.print(table)
    console.print(_sum(planned), markup=False)
    remarks = Table(box=None, pad_edge=False, show_header=False)
    for name in ("mark", "account", "seen"):
        remarks.add_column(name, overflow="fold")
    for remark in planned.all_remarks():
        mark = "[red]NO[/red]" if remark.waits else "[dim]--[/dim]"
        remarks.add_row(mark, cell(remark.account), f"{cell(remark.seen)}\n[yellow]{cell(remark.do)}[/yellow]")
    if remarks.row_count:
        console.print(remarks)


def _sum(planned: Plan) -> str:
    where = f"{'batch' if planned.batch_exists else 'new batch'} {planned.batch}"
    costs = [_money(total) for total in planned.totals if total.unit != "unbilled"]
    return f"{planned.new:,} jobs for {where}" + (f": {'; '.join(costs)}" if costs and planned.new else "")


def _row(planned: AccountPlan) -> dict[str, str]:
    share, least = planned.share, planned.least
    return {
        "account": cell(share.account),
        "new": f"{share.rows:,}",
        "there": f"{share.known:,}" if share.known else "",
        "images": f"{share.images:,}",
        "references": f"{share.references:,}" if share.references else "",
        "requests": f"{share.rows + share.polls:,}{'+' * bool(share.polls)}" if share.rows else "",
        "ahead": f"{planned.ahead:,} of {planned.waiting:,}" if planned.waiting and share.rows else "",
        "cost": _money(share.money) if share.rows else "",
        "at least": duration(least.seconds) if least.because else "",
        "under": least.because,
    }


def _money(total: Total) -> str:
    if total.unit == "unbilled":
        return "unbilled"
    unit = f"{total.unit} of {total.provider}" if total.provider else total.unit
    low, high = _amount(total.low), None if total.high is None else _amount(total.high)
    if high is None:
        return f"{low} {unit} and what is unknown" if total.low else f"unknown {unit}"
    return f"{high} {unit}" if low == high else f"{low} to {high} {unit}"


def _amount(value: Decimal) -> str:
    return f"{value.normalize():,f}"
