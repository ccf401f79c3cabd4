"""`genqueue results BATCH`: one line for each image, JSON Lines or CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from producer.cli.listings import plain
from producer.cli.session import ExitCode, client, fail

COLUMNS = (
    "custom_id",
    "job_id",
    "index",
    "state",
    "provider",
    "model",
    "s3_uri",
    "sha256",
    "bytes",
    "content_type",
    "width",
    "height",
    "cost",
    "currency",
    "error_code",
    "error",
)


def results(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write here instead of the terminal")] = None,
    file_format: Annotated[
        Literal["auto", "jsonl", "csv"], typer.Option("--format", help="auto: csv where FILE ends in .csv")
    ] = "auto",
) -> None:
    """Print where each image lies and what it is, or why there is none.

    Example: genqueue results spring -o spring.csv
    """
    with client(context) as opened, _opened(output) as stream:
        if file_format == "csv" or (file_format == "auto" and output is not None and output.suffix == ".csv"):
            _write_csv(opened.results(batch), stream)
        else:
            _write_jsonl(opened.results(batch), stream)


def _write_jsonl(rows: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    stream.writelines(
        json.dumps({name: plain(row[name]) for name in COLUMNS}, ensure_ascii=False) + "\n" for row in rows
    )


def _write_csv(rows: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([plain(row[name]) for name in COLUMNS])


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        fail(f"{output}: {error.strerror}", ExitCode.BROKEN)
