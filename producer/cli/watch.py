"""`genqueue watch BATCH`: live progress until every job has ended or is held."""

import json
import shlex
import time
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from producer.cli.session import ExitCode, client
from producer.client import Client, is_settled

_TICK_SECONDS = 0.5
_PLAIN_SECONDS = 5.0
_SHOWN = (
    "queued",
    "parked",
    "submitting",
    "pending",
    "processing",
    "transferring",
    "looking_up",
    "in_doubt",
    "succeeded",
    "failed",
    "cancelled",
)
_ENDED = ("succeeded", "failed", "cancelled", "in_doubt", "parked")
_STYLE = {"succeeded": "green", "failed": "red", "in_doubt": "yellow", "parked": "yellow", "cancelled": "yellow"}


def watch(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object at each change, on standard output")] = False,
) -> None:
    """Show a batch's progress until every job has ended or is held; Ctrl-C leaves the batch running.

    Exit code 0: all succeeded; 3: some failed, were cancelled or are held; 130: Ctrl-C. Example: genqueue watch spring
    """
    with client(context) as opened:
        raise typer.Exit(follow(opened, batch, as_json=as_json))


def follow(opened: Client, batch: str, *, as_json: bool = False) -> ExitCode:
    """Watch `batch` to its end and return the exit code that says how it ended."""
    console = Console(stderr=True)
    show = _json if as_json else _live if console.is_terminal else _plain
    try:
        totals = show(opened, batch, console)
    except KeyboardInterrupt:
        console.print(f"the batch goes on; come back with: genqueue watch {shlex.quote(batch)}", markup=False)
        return ExitCode.INTERRUPTED
    if not as_json:
        console.print(summary(totals))
    return exit_code(totals)


def exit_code(totals: Mapping[str, int]) -> ExitCode:
    """Return what a finished batch's counts mean for the shell."""
    return ExitCode.DONE if set(totals) <= {"succeeded"} else ExitCode.INCOMPLETE


def summary(totals: Mapping[str, int]) -> Text:
    """Return the counts on one line, in the order of the road."""
    line = Text()
    for state in _SHOWN:
        if totals.get(state):
            line.append(f"{totals[state]:,} {state}  ", style=_STYLE.get(state, ""))
    return line if line.plain else Text("no jobs")


def _live(opened: Client, batch: str, console: Console) -> dict[str, int]:
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            totals = opened.totals(batch)
            live.update(_view(opened, batch))
            if is_settled(totals):
                return totals
            time.sleep(_TICK_SECONDS)


def _json(opened: Client, batch: str, _console: Console) -> dict[str, int]:
    said: dict[str, int] = {}
    while True:
        totals = opened.totals(batch)
        if totals != said:
            typer.echo(json.dumps({"batch": batch, "settled": is_settled(totals), "jobs": totals}))
            said = totals
        if is_settled(totals):
            return totals
        time.sleep(_TICK_SECONDS)


def _plain(opened: Client, batch: str, console: Console) -> dict[str, int]:
    """Degrade to a look every few seconds, told where something changed."""
    said: list[str] = []
    looked_at = float("-inf")
    while True:
        totals = opened.totals(batch)
        if is_settled(totals):
            return totals
        if time.monotonic() - looked_at >= _PLAIN_SECONDS:
            looked_at = time.monotonic()
            lines = [f"{batch}: {summary(totals).plain}", *(warning.plain for warning in _warnings(opened))]
            for line in lines if lines != said else ():
                console.print(line, markup=False, highlight=False)
            said = lines
        time.sleep(_TICK_SECONDS)


def _view(opened: Client, batch: str) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for provider, states in sorted(opened.counts(batch).items()):
        total = sum(states.values())
        ended = sum(states.get(state, 0) for state in _ENDED)
        bar = ProgressBar(total=total, completed=ended, width=24)
        table.add_row(provider, bar, f"{ended:,}/{total:,}", summary(states))
    return Group(table, *_warnings(opened))


def _warnings(opened: Client) -> list[Text]:
    lines = [
        Text(f"{account['name']} is paused: {account['paused_reason']}", style="yellow")
        for account in opened.accounts()
        if account["paused_at"]
    ]
    if opened.live_workers() == 0:
        lines.append(Text("no worker runs: start one with `genqueue up` or `genqueue worker`", style="yellow"))
    return lines
