"""`genqueue plan FILE`: what a prompt file would cost and take, before anything is enqueued."""

import json
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from producer.cli.own_files import (
    BatchName,
    Column,
    CustomId,
    Encoding,
    FileFormat,
    Keep,
    KeepColumns,
    MaxCost,
    Model,
    Prompt,
    PromptFile,
    Provider,
    Sample,
    batch_name,
    rules_of,
)
from producer.cli.session import ExitCode, client, fail
from producer.cli.tables import cell, show_cells
from producer.cli.terminal import Terminal, styled, visible
from producer.plan import AccountPlan, BatchPlan
from producer.plan.document import plan_document
from producer.plan.shares import Total
from producer.plan.times import duration
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.purpose import Purpose
from shared.notes import counted
from shared.prompt_rows.ways import COMMAND_LINE

_SPENT = {
    Purpose.TRIAL: "these jobs would go to the simulator; no real money is paid",
    Purpose.REAL: "these jobs would go to the providers and cost money",
}
_ALWAYS = ("account", "new", "images")


def plan(
    context: typer.Context,
    file: PromptFile,
    provider: Provider = None,
    batch: BatchName = None,
    file_format: FileFormat = "auto",
    max_cost: MaxCost = None,
    prompt: Prompt = None,
    custom_id: CustomId = None,
    column: Column = None,
    keep_columns: KeepColumns = False,
    keep: Keep = None,
    model: Model = None,
    sample: Sample = None,
    encoding: Encoding = None,
    changed: Annotated[bool, typer.Option("--changed", help="plan edited rows as new revisions")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show what a prompt file would add and cost, how long it would take, and what is missing; it spends nothing.

    A call whose answer is lost would wait for you, unless you enqueue with
    --on-unknown resend and the provider proves that nothing was bought. See
    genqueue enqueue --help for the risk of each policy.

    Exit code 0: nothing is missing; 2: the file would be refused; 3: jobs would
    wait or fail because something is missing.

    Example: genqueue plan prompts.csv --provider bloom --batch spring
    """
    name = batch_name(file, batch)
    own: dict[str, Any] = {"keep_columns": keep_columns, "keep": keep, "prompt": prompt, "custom_id": custom_id}
    rules = rules_of(**own, column=column, model=model, sample=sample, encoding=encoding)
    with client(context) as opened:
        planned = opened.plan(
            file,
            batch=name,
            provider=provider,
            format=file_format,
            local_files=True,
            max_cost=max_cost or (),
            rules=rules,
            changed=changed,
        )
        purpose = opened.purpose()
    if as_json:
        typer.echo(json.dumps({**plan_document(planned), "purpose": purpose.value}))
    else:
        typer.echo(f"{purpose.label}: {_SPENT[purpose]}")
        _print(planned)
    if planned.conflict_count:
        fail(EnqueueConflictError(name, list(planned.conflicts)).told(COMMAND_LINE), ExitCode.WRONG_INPUT)
    if planned.would_wait:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _print(planned: BatchPlan) -> None:
    console = Terminal()
    rows = [_row(one) for one in planned.accounts]
    shown = [name for name in rows[0] if name in _ALWAYS or any(row[name] for row in rows)] if rows else []
    if shown:
        show_cells(shown, ([row[name] for name in shown] for row in rows))
    console.print(visible(_sum(planned)))
    remarks = Table(box=None, pad_edge=False, show_header=False)
    for name in ("mark", "account", "seen"):
        remarks.add_column(name, overflow="fold")
    for remark in planned.all_remarks():
        mark = styled("NO", "red") if remark.waits else styled("--", "dim")
        seen = Text.assemble(visible(remark.seen), "\n", styled(remark.do, "yellow"))
        remarks.add_row(mark, cell(remark.account), seen)
    if remarks.row_count:
        console.print(remarks)


def _sum(planned: BatchPlan) -> str:
    where = f"{'batch' if planned.batch_exists else 'new batch'} {planned.batch}"
    costs = [money_range(total) for total in planned.totals if total.unit != "unbilled"]
    usually = f", about {duration(planned.usual_seconds)} as of late" if planned.usual_seconds else ""
    return (
        f"{counted(planned.new, 'job')} for {where}"
        + (f": {'; '.join(costs)}" if costs and planned.new else "")
        + usually
    )


def _row(planned: AccountPlan) -> dict[str, str]:
    share, least = planned.share, planned.least
    return {
        "account": share.account,
        "new": f"{share.rows:,}",
        "there": f"{share.known:,}" if share.known else "",
        "images": f"{share.images:,}",
        "references": f"{share.references:,}" if share.references else "",
        "requests": f"{share.rows + share.polls:,}{'+' * bool(share.polls)}" if share.rows else "",
        "ahead": f"{planned.ahead:,} of {planned.waiting:,}" if planned.waiting and share.rows else "",
        "cost": money_range(share.money) if share.rows else "",
        "at least": duration(least.seconds) if least.because else "",
        "under": least.because,
    }


def money_range(total: Total) -> str:
    """Return the least and the highest cost of a total in words."""
    if total.unit == "unbilled":
        return "unbilled"
    unit = f"{total.unit} of {total.provider}" if total.provider else total.unit
    low, high = _amount(total.low), None if total.high is None else _amount(total.high)
    if high is None:
        return f"{low} {unit} and what is unknown" if total.low else f"unknown {unit}"
    return f"{high} {unit}" if low == high else f"{low} to {high} {unit}"


def _amount(value: Decimal) -> str:
    return f"{value.normalize():,f}"
