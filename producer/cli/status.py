"""`genqueue status`: the whole queue on one screen, what is wrong first."""

import json
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel
from rich.console import Group
from rich.text import Text

from producer.cli.session import client
from producer.cli.tables import cell, lay_out, plain
from producer.cli.terminal import Terminal, styled, visible
from producer.client import Client
from shared.db.engine import DatabaseUnavailableError
from shared.db.read.status import IN_LINE, QueueStatus, StageLine
from shared.problems import Problem, problems
from shared.wait_facts import AccountState

_EVERY_SECONDS: Final = 2.0
_ENDED: Final = ("succeeded", "failed", "cancelled")
_ROAD: Final = (
    "queued", "submitting", "pending", "processing", "transferring", "checking", "on_hold", "in_doubt", *_ENDED,
)  # fmt: skip
_AWAY: Final = "the database is away"


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="show it again every two seconds, until Ctrl-C")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show the whole queue: what is wrong, what waits and why, accounts, money today, workers.

    It needs only the database. `genqueue doctor` also tries the servers.

    Example: genqueue status --watch
    """
    with client(context) as opened:
        if as_json:
            typer.echo(json.dumps(_document(opened.status())))
        elif watch:
            _follow(opened)
        else:
            console = Terminal(soft_wrap=True)
            for line in screen(opened.status(), console.width):
                console.print(line)


def _follow(opened: Client) -> None:
    """Show the screen again and again: in place on a terminal, otherwise one below the other."""
    console, shown = Terminal(), [Text("...")]
    if not console.is_terminal:
        while True:
            for line in _next(opened, [], console.width):
                console.print(line)
            time.sleep(_EVERY_SECONDS)
    from rich.live import Live  # noqa: PLC0415 - only here is something redrawn

    with Live(console=console, refresh_per_second=4, screen=True) as live:
        while True:
            live.update(Group(*(shown := _next(opened, shown, console.width))))
            time.sleep(_EVERY_SECONDS)


def _next(opened: Client, shown: list[Text], width: int) -> list[Text]:
    """Return the next screen. While the database is away, the old one stays, with a line about that above it."""
    try:
        return list(screen(opened.status(), width))
    except DatabaseUnavailableError as error:
        return [styled(f"{_AWAY}: {error}", "red"), *(line for line in shown if not line.plain.startswith(_AWAY))]


def screen(status: QueueStatus, width: int) -> Iterator[Text]:
    """Yield the lines of the screen, at most `width` cells wide where words allow that."""
    yield from _wrapped(_head(status), width, "bold")
    yield from _problems(problems(status), width)
    yield from _table("waiting", ("account", "stage", "due", "oldest", "why"), map(_line, status.lines), width)
    if status.oldest is not None:
        yield from _wrapped(f"oldest: {_oldest(status.oldest)}", width, "")
    columns = ("account", "calls", "fullest window", "left", "today")
    yield from _table("accounts", columns, map(_account, status.accounts), width)
    if status.spent_today:
        spent = ", ".join(f"{cell(amount)} {unit}" for unit, amount in sorted(status.spent_today.items()))
        yield Text(f"spent or set aside today (UTC): {spent}")
    rows = (
        (one.name, str(one.slots), f"{max(one.tick_age_seconds, 0):.0f} s ago" if one.alive else "silent")
        for one in status.workers
    )
    yield from _table("workers", ("worker", "slots", "last tick"), rows, width)


def _head(status: QueueStatus) -> str:
    totals = status.totals
    counts = "  ".join(f"{totals[state]:,} {state}" for state in _ROAD if totals.get(state)) or "no jobs"
    return f"{status.purpose.label}  {status.at:%Y-%m-%d %H:%M:%S} UTC  {counts}"


def _problems(found: list[Problem], width: int) -> Iterator[Text]:
    if not found:
        yield Text("nothing is wrong as far as the database knows", style="green")
        return
    for problem in found:
        since = f" (since {problem.since:%Y-%m-%d %H:%M} UTC)" if problem.since else ""
        yield from _wrapped(f"! {problem.words}{since}", width, "yellow")
        if problem.then:
            yield from _wrapped(f"    {problem.then}", width, "")


def _wrapped(line: str, width: int, style: str) -> Iterator[Text]:
    indent = " " * (2 if line.startswith("!") else 4)
    for part in textwrap.wrap(
        visible(line), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ):
        yield Text(part, style=style)


def _table(title: str, names: tuple[str, ...], rows: Iterator[tuple[str, ...]], width: int) -> Iterator[Text]:
    filled = [[visible(text) for text in row] for row in rows]
    if not filled:
        return
    yield Text(title, style="bold")
    for line in lay_out(names, filled, width - 2):
        yield Text(f"  {line.text}", style="dim" if line.is_head else "")


def _line(line: StageLine) -> tuple[str, ...]:
    more = "+" if line.due == IN_LINE else ""
    return line.account, line.stage.value, f"{line.due}{more}", _age(line.oldest_due_seconds), str(line.wait)


def _oldest(line: StageLine) -> str:
    job, now = line.first, line.wait.at or line.first.created_at
    age = _age((now - job.created_at).total_seconds())
    return visible(f"{job.batch}/{job.custom_id}, {job.shown} at {job.account}, enqueued {age} ago: {line.wait}")


def _account(account: AccountState) -> tuple[str, ...]:
    fullest = max(account.windows, key=lambda use: use.used / use.window.requests, default=None)
    cap = f" of {cell(account.daily_cap)}" if account.daily_cap is not None else ""
    return (
        account.name,
        _calls(account),
        f"{fullest.used} of {fullest.window}" if fullest else "",
        f"{cell(account.balance)} {account.unit}" if account.balance is not None else "",
        f"{cell(account.spent_today) or 0}{cap} {account.unit}",
    )


def _calls(account: AccountState) -> str:
    """Say how many paid calls are in hand; a pause lets these end, and a change of the key waits for them."""
    if account.paused_at:
        return f"paused, {account.paying} in hand" if account.paying else "paused"
    return f"{account.paying}/{account.concurrency}" if account.served else "no key"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _document(status: QueueStatus) -> dict[str, Any]:
    whole = _json(status)
    return {**whole, "totals": status.totals, "problems": _json(problems(status))}


def _json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _json(asdict(value))
    if isinstance(value, BaseModel):
        return _json(value.model_dump())
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return plain(value)
