"""`genqueue watch BATCH`: live progress until every job has ended or is held."""

import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from producer.cli.advice import fill
from producer.cli.bill import unpriced_words
from producer.cli.ending import head, money, pictures, troubles
from producer.cli.pace import Pace
from producer.cli.patient import Patient
from producer.cli.policy import show_hints
from producer.cli.session import ExitCode, client
from producer.cli.terminal import Terminal, styled, visible
from producer.client import Client
from producer.plan.times import duration, time_left
from shared.wait_facts import OF_ACCOUNT, PROGRESS

_TICK_SECONDS = 0.5
_PLAIN_SECONDS = 5.0
_SHOWN = (
    "queued",
    "on_hold",
    "submitting",
    "pending",
    "processing",
    "transferring",
    "checking",
    "in_doubt",
    "succeeded",
    "failed",
    "cancelled",
)
_YOU_CAN: Final = "  you can: "
_FIGURES: Final = re.compile(r"\d+")
_ENDED = ("succeeded", "failed", "cancelled")
_HELD = ("in_doubt", "on_hold")
_STYLE = {"succeeded": "green", "failed": "red", "in_doubt": "yellow", "on_hold": "yellow", "cancelled": "yellow"}


def watch(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object at each change")] = False,
) -> None:
    """Show a batch's progress until every job has ended or is held; Ctrl-C leaves the batch running.

    At the end it says how many images there are, what they cost, and why the
    other jobs have none, with the command that comes next.

    Exit code 0: all succeeded; 3: some failed, were cancelled or are held; 130:
    Ctrl-C.

    Example: genqueue watch spring
    """
    with client(context) as opened:
        raise typer.Exit(follow(opened, batch, as_json=as_json))


def follow(opened: Client, batch: str, *, as_json: bool = False) -> ExitCode:
    """Watch `batch` to its end and return the exit code that says how it ended."""
    console = Terminal(stderr=True)
    show = _json if as_json else _live if console.is_terminal and not console.is_dumb_terminal else _plain
    try:
        totals = show(Patient(opened, console), batch, console)
    except KeyboardInterrupt:
        console.print(visible(f"the batch goes on; to watch it again: genqueue watch {shlex.quote(batch)}"))
        return ExitCode.INTERRUPTED
    if not as_json:
        tell_end(opened, batch, console)
        show_hints(opened, batch)
    return exit_code(totals)


def tell_end(opened: Client, batch: str, console: Terminal) -> None:
    """Print how a batch ended: jobs, images, time and money, then each reason with the command that comes next."""
    ending = opened.ending(batch)
    console.print(visible(head(ending, batch)))
    bill = opened.bill(batch)
    for line in money(bill, opened.caps(batch)):
        console.print(visible(line))
    for row in bill:
        if words := unpriced_words(row):
            console.print(styled(f"{row['account']}: {words}", "yellow"))
    for line in troubles(ending, batch):
        console.print(styled(line, "yellow"), soft_wrap=line.startswith("  "))
    for line in pictures(ending, batch):
        console.print(visible(line), soft_wrap=True)


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


def _live(opened: Patient, batch: str, console: Terminal) -> dict[str, int]:
    pace, began = Pace(), time.monotonic()
    opened.ask(lambda client: client.totals(batch))  # without such a batch, nothing is drawn before the error
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            totals, settled = opened.ask(lambda client: client.settling(batch))
            pace.mark(time.monotonic(), _done(totals))
            live.update(opened.ask(lambda client: _view(client, batch, pace, time.monotonic() - began)))
            if settled:
                return totals
            time.sleep(_TICK_SECONDS)


def _json(opened: Patient, batch: str, _console: Terminal) -> dict[str, int]:
    said: tuple[dict[str, int], bool] | None = None
    while True:
        seen = totals, settled = opened.ask(lambda client: client.settling(batch))
        if seen != said:
            typer.echo(json.dumps({"batch": batch, "settled": settled, "jobs": totals}))
            said = seen
        if settled:
            return totals
        time.sleep(_TICK_SECONDS)


def _plain(opened: Patient, batch: str, console: Terminal) -> dict[str, int]:
    """Without a terminal, look every few seconds and print changes."""
    said: set[str] = set()
    pace, looked_at = Pace(), float("-inf")
    while True:
        totals, settled = opened.ask(lambda client: client.settling(batch))
        if settled:
            return totals
        if time.monotonic() - looked_at >= _PLAIN_SECONDS:
            looked_at = time.monotonic()
            pace.mark(looked_at, _done(totals))
            warnings = opened.ask(lambda client: _warnings(client, batch))
            lines = [f"{batch}: {summary(totals).plain}", *(warning.plain for warning in warnings)]
            if (new := _gist(lines)) != said:
                guess = None if warnings else opened.ask(lambda client: _guess(client, batch, pace))
                for line in (lines[0] + _left(totals, pace, guess), *lines[1:]):
                    console.print(visible(line), soft_wrap=True)  # a log has no width
            said = new
        time.sleep(_TICK_SECONDS)


def _gist(lines: Sequence[str]) -> set[str]:
    """Return what is new for a reader: the counts, and each reason without its times, its tries and its example."""
    reasons = (line for line in lines[1:] if not line.startswith(_YOU_CAN))
    return {*lines[:1], *(_FIGURES.sub("", reason) for reason in reasons)}


def _guess(opened: Client, batch: str, pace: Pace) -> float | None:
    """Return the seconds that the batch usually takes from here, while it has no pace of its own."""
    return None if pace.per_second else time_left(opened.counts(batch), opened.usual())


def _left(totals: Mapping[str, int], pace: Pace, guess: float | None) -> str:
    seconds = pace.seconds_left(sum(totals.values()) - _done(totals) - _held(totals)) or guess
    return f"about {duration(seconds)} left" if seconds else ""


def _done(totals: Mapping[str, int]) -> int:
    return sum(totals.get(state, 0) for state in _ENDED)


def _held(totals: Mapping[str, int]) -> int:
    return sum(totals.get(state, 0) for state in _HELD)


def _view(opened: Client, batch: str, pace: Pace, seconds: float) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    every: Counter[str] = Counter()
    for provider, states in sorted(opened.counts(batch).items()):
        total, done = sum(states.values()), _done(states)
        every.update(states)
        table.add_row(provider, ProgressBar(total=total, completed=done, width=24), f"{done:,}/{total:,}")
    rate = pace.per_second
    parts = [f"{duration(seconds)} watched"]
    parts += [f"{rate * 60:,.0f} jobs a minute"] if rate else []
    warnings = _warnings(opened, batch)
    guess = None if warnings else _guess(opened, batch, pace)
    parts += [left] if (left := _left(every, pace, guess)) else []
    spent = [visible(line) for line in money(opened.bill(batch), opened.caps(batch))]
    return Group(table, summary(every), Text(", ".join(parts)), *map(Text, spent), *warnings)


def _warnings(opened: Client, batch: str) -> list[Text]:
    """Say why jobs of the batch wait, unless it is the usual road; each reason once, with what ends it."""
    lines: dict[str, None] = {}
    for found in opened.waits(batch):
        if found.wait.reason not in PROGRESS and found.state not in (*_ENDED, *_HELD):
            whose = "" if found.wait.reason in OF_ACCOUNT else f"{found.state}: "
            lines[f"{whose}{found.wait}"] = None
            if found.wait.then:
                lines[f"{_YOU_CAN}{fill(found.wait.then, asdict(found.example))}"] = None
    return [styled(line, "yellow") for line in lines]
