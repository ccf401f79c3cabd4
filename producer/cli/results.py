"""`genqueue results BATCH`: one line for each image, JSON Lines or CSV."""

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TextIO

import typer

from producer.cli.images import show_images
from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.tables import cell, plain
from producer.cli.terminal import visible
from producer.json_lines import json_line
from producer.results import COLUMNS
from shared.prompt_rows.rules import META_PREFIX

FREE_TEXT: Final = frozenset({"model", "error"})
"""Columns that hold what others wrote: only they can hold a formula."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9.,]*")
_BOM: Final = "\ufeff"


def results(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="the batch's name")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write to this file instead of the terminal")
    ] = None,
    file_format: Annotated[
        Literal["auto", "jsonl", "csv", "table"],
        typer.Option("--format", help="auto: csv if the file ends in .csv, a table on a terminal, else jsonl"),
    ] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many images; default: all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines also on a terminal")] = False,
    bom: Annotated[bool, typer.Option("--bom", help="begin CSV with a byte order mark, for Excel")] = False,
) -> None:
    """Print where each image is stored and what it is, or why there is none.

    On a terminal this is a table. A file or a pipe gets JSON Lines or CSV.

    Columns of your own that the batch carries come back: in JSON Lines as the
    object `metadata`, in CSV as columns `meta.NAME`.

    In CSV, free text that a spreadsheet would take for a formula has an
    apostrophe before it. Ids and numbers are never changed.

    Example: genqueue results spring -o spring.csv
    """
    chosen = _format("jsonl" if as_json else file_format, output)
    if bom and chosen != "csv":
        fail("--bom is for CSV: JSON Lines have no byte order mark", ExitCode.WRONG_INPUT)
    with client(context) as opened, _opened(output) as stream:
        count = Counter[str]()
        rows = _counted(islice(opened.results(batch), limit), count)
        if chosen == "table":
            show_images(rows)
        elif chosen == "csv":
            stream.write(_BOM * bom)
            _write_csv(rows, stream, opened.metadata_keys(batch))
        else:
            _write_jsonl(rows, stream)
    if output is not None:
        errors().print(visible(f"{count.total():,} row{'s' * (count.total() != 1)} of batch {batch} in {output}"))


def _counted(rows: Iterable[Mapping[str, Any]], count: Counter[str]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        count["rows"] += 1
        yield row


def _format(asked: str, output: Path | None) -> str:
    if asked != "auto":
        return asked
    if output is not None:
        return "csv" if output.suffix.lower() == ".csv" else "jsonl"
    return "table" if sys.stdout.isatty() else "jsonl"


def _write_jsonl(rows: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    stream.writelines(json_line(_document(row), ensure_ascii=stream.isatty()) for row in rows)


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: plain(row[name]) for name in COLUMNS}
    return {**given, "metadata": row["metadata"]} if row["metadata"] else given


def _write_csv(rows: Iterable[Mapping[str, Any]], stream: TextIO, keys: Sequence[str]) -> None:
    writer = csv.writer(stream)
    shown = cell if stream.isatty() else plain
    writer.writerow([shown(name) for name in (*COLUMNS, *(f"{META_PREFIX}{key}" for key in keys))])
    for row in rows:
        cells = [harmless(plain(row[name])) if name in FREE_TEXT else plain(row[name]) for name in COLUMNS]
        cells += [_own_cell(row["metadata"].get(key)) for key in keys]
        writer.writerow([shown(value) for value in cells])


def _own_cell(value: Any) -> Any:
    """Return one of the caller's own values as a cell: text as it came, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value if value is None or _NUMBER.fullmatch(value) else harmless(value)
    return json.dumps(value, ensure_ascii=False)


def harmless(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


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
