"""`genqueue demo`: start everything, run a batch, compare the bill with the simulator's, stop cleanly."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from ops import trial
from ops.cli.download import bucket
from ops.dashboard.thumbnails import Thumbnails
from ops.demo.sheet import SheetEntry, write_sheet
from ops.demo.verdict import charged_by, compare, surprises
from ops.downloading import download_batch, file_name
from ops.gallery import GalleryOptions, write_gallery
from ops.running import Running, RunningOptions
from ops.stack import Home
from producer import Client
from producer.cli.images import show_images
from producer.cli.session import ExitCode, errors, told
from producer.cli.tables import cell
from producer.cli.terminal import Terminal
from producer.cli.watch import follow
from shared.notes import counted
from shared.settings import load

_START_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_PROMPTS: Final = Path(__file__).parents[1] / "demo" / "prompts.jsonl"
# Short waits and few tries: the simulator's time runs twenty times faster than a provider's.
_HASTE: Final = {
    "GENQUEUE_TICK_SECONDS": "0.1",
    "GENQUEUE_POLL_FIRST_SECONDS": "0.3",
    "GENQUEUE_POLL_MAX_SECONDS": "1",
    "GENQUEUE_RETRY_FIRST_SECONDS": "0.3",
    "GENQUEUE_FETCH_TRIES": "3",
    "GENQUEUE_FETCH_PAGE_TRIES": "3",
    "GENQUEUE_BELIEVE_SECONDS": "5",
}


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="directory for the images")] = Path("demo-out"),
) -> None:
    """Run a sample batch over the simulated providers and show the result; no real money is paid.

    A few of its rows fail on purpose, to show what a failure looks like. Exit
    code 0 means that every row ended as expected.

    Example: genqueue demo -o pictures
    """
    console = Terminal()
    options = RunningOptions(simulator=True, environment=_HASTE, worker_stop_seconds=30)
    began = time.monotonic()
    with told():
        trial.leave()
        running = Running(Home(load().home.absolute() / "demo"), options)
    with told(), running:
        errors().print(running.label())
        errors().print(f"running: {', '.join(running.stack.versions().values())}")
        with Client() as opened:
            batch = f"demo-{os.getpid()}-{int(time.time())}"
            added = opened.enqueue_file(_PROMPTS, batch=batch)
            errors().print(f"batch {batch}: {counted(added.added, 'job')} enqueued")
            await_workers(opened.live_workers)
            follow(opened, batch)
            agreed = _report(console, opened, batch, running.simulator["url"], output)
    console.print(f"done in {time.monotonic() - began:.0f} s; everything is stopped")
    if not agreed:
        raise typer.Exit(ExitCode.BROKEN)


def await_workers(live: Callable[[], int], seconds: float = _START_SECONDS) -> None:
    """Wait until a worker ticks: until then it would be told that none runs, while they start. Give up quietly."""
    end = time.monotonic() + seconds
    while not live() and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def _report(console: Terminal, opened: Client, batch: str, simulator_url: str, output: Path) -> bool:
    rows = list(opened.results(batch))
    show_images(rows)
    agreed = _bills(console, opened, batch, simulator_url)
    download_batch(rows, bucket(), output)
    entries = [
        SheetEntry(
            f"{row['custom_id']} {row['index'] + 1}",
            f"{row['width']}x{row['height']} {row['content_type']}" if row["key"] else str(row["state"]),
            output / file_name(row) if row["key"] else None,
            row["error_code"] or "",
        )
        for row in rows
    ]
    picture, page = write_sheet(entries, output), output / "index.html"
    thumbnails = Thumbnails(load().home.absolute() / "thumbnails", bucket())
    try:
        write_gallery(opened.pictured(batch), page, GalleryOptions(batch, costs=True, originals=True), thumbnails.get)
    finally:
        thumbnails.decoder.close()
    console.print(f"pictures: {picture} and {page}")
    for line in (found := surprises(opened.jobs(batch, limit=1000))):
        console.print(line)
    return agreed and not found


def _bills(console: Terminal, opened: Client, batch: str, simulator_url: str) -> bool:
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
