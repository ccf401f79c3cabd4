"""`genqueue demo`: everything up, a batch of prompts to pictures, the bill beside the simulator's, clean stop."""

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from ops.cli.download import bucket
from ops.demo.sheet import Entry, write_sheet
from ops.demo.verdict import charged_by, compare, surprises
from ops.downloading import download_batch, file_name
from ops.running import Running, RunningOptions
from ops.stack import Home
from producer import Client
from producer.cli.listings import cell
from producer.cli.session import ExitCode, errors, told
from producer.cli.watch import follow
from shared.settings import load

_PROMPTS: Final = Path(__file__).parents[1] / "demo" / "prompts.jsonl"
# Short waits and few tries: the simulator's time runs twenty times faster than a provider's.
_HASTE: Final = {
    "GENQUEUE_TICK_SECONDS": "0.1",
    "GENQUEUE_POLL_FIRST_SECONDS": "0.3",
    "GENQUEUE_POLL_MAX_SECONDS": "1",
    "GENQUEUE_RETRY_FIRST_SECONDS": "0.3",
    "GENQUEUE_FETCH_TRIES": "3",
}


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the pictures go")] = Path("demo-out"),
) -> None:
    """Run a sample batch over the simulated providers and show what came of it; nothing real is paid.

    A few of its rows must fail, to show how failure looks. Exit code 0 means: all went as it must.

    Example: genqueue demo -o pictures
    """
    settings = load()
    console = Console(soft_wrap=False, highlight=False)
    options = RunningOptions(simulator=True, environment=_HASTE, worker_stop_seconds=30)
    began = time.monotonic()
    with told(), Running(Home(settings.home.absolute() / "demo"), options) as running:
        errors().print(f"running: {', '.join(running.stack.versions().values())}", markup=False)
        with Client() as opened:
            batch = f"demo-{os.getpid()}-{int(time.time())}"
            added = opened.enqueue_file(_PROMPTS, batch=batch)
            errors().print(f"batch {batch}: {added.added} jobs enqueued", markup=False)
            follow(opened, batch)
            agreed = _report(console, opened, batch, running.simulator["url"], output)
    console.print(f"done in {time.monotonic() - began:.0f} s; everything is stopped")
    if not agreed:
        raise typer.Exit(ExitCode.BROKEN)


def _report(console: Console, opened: Client, batch: str, simulator_url: str, output: Path) -> bool:
    rows = list(opened.results(batch))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("image", "state", "size", "cost", "why"):
        table.add_column(name, overflow="fold")
    for row in rows:
        size = f"{row['width']}x{row['height']}" if row["key"] else ""
        cost = f"{cell(row['cost'])} {row['currency']}" if row["cost"] is not None else ""
        table.add_row(f"{row['custom_id']} {row['index']}", row["state"], size, cost, cell(row["error_code"]))
    console.print(table)
    agreed = _bills(console, opened, batch, simulator_url)
    download_batch(rows, bucket(), output)
    entries = [
        Entry(
            f"{row['custom_id']} {row['index']}",
            f"{row['width']}x{row['height']} {row['content_type']}" if row["key"] else str(row["state"]),
            output / file_name(row) if row["key"] else None,
            row["error_code"] or "",
        )
        for row in rows
    ]
    picture, page = write_sheet(entries, output, f"genqueue {batch}")
    console.print(f"pictures: {picture} and {page}", markup=False)
    for line in (found := surprises(opened.jobs(batch, limit=1000))):
        console.print(line, markup=False)
    return agreed and not found


def _bills(console: Console, opened: Client, batch: str, simulator_url: str) -> bool:
    accounts = compare(opened.bill(batch), charged_by(simulator_url))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("account", "settled", "held", "charged by the simulator", "agrees"):
        table.add_column(name)
    for account in accounts:
        held = cell(account.held) + (f" + {account.held_unpriced} unpriced" if account.held_unpriced else "")
        table.add_row(
            account.name,
            f"{cell(account.settled)} {account.unit}",
            held,
            f"{cell(account.charged)} {account.unit}",
            "yes" if account.agrees else "NO",
        )
    console.print(table)
    return all(account.agrees for account in accounts)
