"""The file that a command is given, its batch, and the options that take people's own columns as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from producer.cli.session import ExitCode, fail
from producer.prompts import ColumnNameError, Format, RowRules, Template, TemplateError, parse_columns
from shared.prompt_rows.ways import COMMAND_LINE

PromptFile = Annotated[
    str, typer.Argument(help="CSV or XLSX with a header, JSON, JSON Lines, or .txt; -: standard input")
]
Provider = Annotated[str | None, typer.Option(help="provider of rows that name none")]
BatchName = Annotated[str | None, typer.Option(help="batch name; default: the file's name without its extension")]
MaxCost = Annotated[list[str] | None, typer.Option(help="the most the batch may spend: PROVIDER=AMOUNT, or an amount")]
FileFormat = Annotated[
    Format, typer.Option("--format", metavar="FORMAT", help=f"how to read the file: {', '.join(get_args(Format))}")
]
KeepColumns = Annotated[
    bool, typer.Option("--keep-columns", help="carry columns of your own along, into results; providers never see them")
]
Keep = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="carry this column along, even one named as ours (size, model); repeatable"),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OURS=THEIRS", help="a column of yours that is one of ours: aspect_ratio=Bildformat; repeatable"
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(metavar="TEMPLATE", help="compose each prompt of columns: 'a photo of {title}, {colour}'"),
]
CustomId = Annotated[str | None, typer.Option(metavar="TEMPLATE", help="compose each custom_id of columns: '{sku}'")]

Model = Annotated[str | None, typer.Option(help="model of rows that name none")]
Encoding = Annotated[
    str | None, typer.Option(help="what the file was saved in, such as cp1252; default: UTF-8, or its byte order mark")
]
Sample = Annotated[int | None, typer.Option(min=1, metavar="N", help="take only the first N rows; all are checked")]


def batch_name(file: str, batch: str | None) -> str:
    """Return the batch's name: as given, or the file's name without its extension."""
    if file == "-" and batch is None:
        fail("standard input has no name: name the batch with --batch NAME", ExitCode.WRONG_INPUT)
    return batch or Path(file).stem


def rules_of(
    *,
    keep_columns: bool,
    keep: Sequence[str] | None,
    column: Sequence[str] | None,
    prompt: str | None,
    custom_id: str | None,
    model: str | None,
    sample: int | None,
    encoding: str | None,
) -> RowRules:
    """Return the rules that the options ask for; end the command if a template or a pair of names is none."""
    return RowRules(
        model=model,
        sample=sample,
        encoding=encoding,
        ways=COMMAND_LINE,
        keep_columns=keep_columns,
        keep=frozenset(keep or ()),
        columns=_columns(column or ()),
        prompt=_template("--prompt", prompt),
        custom_id=_template("--custom-id", custom_id),
    )


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    try:
        return parse_columns(pairs)
    except ColumnNameError as error:
        fail(f"--column: {error}", ExitCode.WRONG_INPUT)


def _template(option: str, text: str | None) -> Template | None:
    try:
        return Template(text) if text is not None else None
    except TemplateError as error:
        fail(f"{option} {error}", ExitCode.WRONG_INPUT)
