"""`genqueue enqueue FILE`: check a whole prompt file, then add what is new to its batch."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.watch import follow
from producer.client import OnUnknown
from producer.prompts import Format


def enqueue(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="CSV with a header, JSON Lines, or .txt; - for standard input")],
    provider: Annotated[str | None, typer.Option(help="for rows that name none")] = None,
    batch: Annotated[str | None, typer.Option(help="batch name; default: the file's name without its end")] = None,
    on_unknown: Annotated[
        OnUnknown | None,
        typer.Option(help="when an answer is lost and the provider shows that nothing was bought; default: hold"),
    ] = None,
    max_cost: Annotated[
        list[str] | None, typer.Option(help="the most the batch may spend: PROVIDER=AMOUNT, or an amount")
    ] = None,
    file_format: Annotated[Format, typer.Option("--format", help="how to read the file")] = "auto",
    wait: Annotated[bool, typer.Option("--wait", help="then watch until everything has ended")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Add a prompt file to a batch: all rows or none; the same file again adds only what is new.

    Example: genqueue enqueue prompts.csv --provider bloom --batch spring --wait
    """
    name = batch or Path(file).stem
    if file == "-" and batch is None:
        fail("standard input has no name: give one with --batch NAME", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        added = opened.enqueue_file(
            file,
            batch=name,
            provider=provider,
            format=file_format,
            local_files=True,
            on_unknown=on_unknown,
            max_cost=max_cost or (),
        )
        if as_json:
            given = {"batch": name, "rows": added.given, "added": added.added, "known": added.given - added.added}
            Console(soft_wrap=True).print_json(json.dumps(given))
        else:
            known = f", {added.given - added.added:,} there already" if added.given > added.added else ""
            errors().print(f"batch {name}: {added.added:,} jobs enqueued{known}", markup=False)
        if wait:
            raise typer.Exit(follow(opened, name))
        if opened.live_workers() == 0:
            errors().print("no worker runs: start one with `genqueue up` or `genqueue worker`", markup=False)
