"""A prompt file, read once and checked whole: prepared rows if everything is right, else faults by line."""

import contextlib
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self

from producer.prompts.csv_rows import csv_rows, table_rows
from producer.prompts.encodings import as_utf8
from producer.prompts.json_rows import json_rows
from producer.prompts.jsonl_rows import jsonl_rows
from producer.prompts.lines import MAX_RECORD_BYTES, Lines
from producer.prompts.spool import PromptSpool
from producer.prompts.text_rows import text_rows
from producer.prompts.workbook_file import WorkbookError, copied, is_workbook
from shared.prompt_rows.faults import Faults, LineFault, PromptFileError, shown
from shared.prompt_rows.preparer import PreparedRow, RowPreparer
from shared.prompt_rows.rules import RowRules

Format = Literal["auto", "csv", "jsonl", "json", "txt", "xlsx"]
_Parser = Callable[[Lines, Faults, RowRules], Iterator[tuple[int, dict[str, Any]]]]
_PARSERS: Final[dict[str, _Parser]] = {"csv": csv_rows, "jsonl": jsonl_rows, "json": json_rows, "txt": text_rows}
_BY_SUFFIX: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "txt"}
_PreparerOf = Callable[[Faults], RowPreparer]
_NO_RULES: Final = RowRules()


class PreparedFile:
    """What reading a prompt file gave; a context manager that deletes the temporary file at its end.

    `format` is csv, jsonl, json, txt or xlsx. `sha256` is that of the file's bytes, 64 hexadecimal digits. `count`
    counts
    the sound rows and `providers` counts them by provider. `faults` are the first thousand of `fault_count`.
    """

    def __init__(self, file_format: str, sample: int | None = None) -> None:
        self.format = file_format
        self._sample = sample
        self.sha256 = ""
        self.providers: Counter[str] = Counter()
        self._faults = Faults()
        self._spool = PromptSpool()

    @property
    def count(self) -> int:
        """How many rows are sound."""
        return self.providers.total()

    @property
    def faults(self) -> list[LineFault]:
        """The first thousand faults, in the order met."""
        return self._faults.kept

    @property
    def fault_count(self) -> int:
        """How many faults there are in all."""
        return self._faults.count

    def rows(self) -> Iterator[PreparedRow]:
        """Return the rows in the file's order, any number of times until closed.

        Raises `PromptFileError` if the file has faults: a file is enqueued whole or not at all.
        """
        if self.fault_count:
            raise PromptFileError(f"the prompt file has {self.fault_count} faults; correct them first")
        return iter(self._spool)

    def fill(self, lines: Lines, rules: RowRules, preparer_of: _PreparerOf) -> None:
        """Read every line, once; `reader.read` calls this."""
        first = lines.first_with_text()
        self._prepare(_PARSERS[self.format](lines, self._faults, rules), preparer_of)
        self.sha256 = lines.digest_of_all()
        if not self.count and not self.fault_count:
            reason = "holds a header but no rows" if first and self.format == "csv" else "holds no prompts"
            self._faults.add(1, "row", f"the file {reason}")

    def fill_from_workbook(self, file: BinaryIO, rules: RowRules, preparer_of: _PreparerOf, most_bytes: int) -> None:
        """Read the first sheet of a workbook, once; `reader.read` calls this."""
        from producer.prompts.workbook import workbook_rows  # noqa: PLC0415 - ZIP and XML, for the few files that need it

        try:
            with copied(file) as (workbook, self.sha256):
                records = workbook_rows(workbook, self._faults, most_bytes)
                self._prepare(table_rows(records, self._faults, rules), preparer_of)
        except WorkbookError as error:
            self._faults.add(1, "row", str(error))
        if not self.count and not self.fault_count:
            self._faults.add(1, "row", "the first sheet holds a header but no rows, or nothing")

    def _prepare(
        self, rows: Iterator[tuple[int, dict[str, Any]]], preparer_of: Callable[[Faults], RowPreparer]
    ) -> None:
        preparer = preparer_of(self._faults)
        for line, values in rows:
            row = preparer.prepare(line, values)
            if row:
                self._keep(row)

    def take(self, rows: Iterable[Mapping[str, Any]], preparer_of: _PreparerOf) -> None:
        """Check every row of a program, once; `reader.read_rows` calls this."""
        preparer = preparer_of(self._faults)
        for number, given in enumerate(rows, 1):
            row = preparer.prepare(number, {name: value for name, value in given.items() if value is not None})
            if row:
                self._keep(row)
        if not self.count and not self.fault_count:
            self._faults.add(1, "row", "there are no rows")

    def _keep(self, row: PreparedRow) -> None:
        if self._sample is not None and self.count >= self._sample:
            return
        self.providers[row.provider] += 1
        if self.fault_count:
            return  # nothing of this file will be enqueued; checking goes on, spooling need not
        try:
            self._spool.append(row)
        except OSError as error:
            raise PromptFileError(
                f"no room for the prepared rows: {error.strerror}; free space or set TMPDIR to another disk"
            ) from error

    def close(self) -> None:
        """Delete the temporary file; the rows are gone, counts and faults stay."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(  # noqa: PLR0913 - by keyword, each a choice of its own
    source: Path | str,
    *,
    format: Format = "auto",  # noqa: A002 - the name that the command line uses
    default_provider: str | None,
    providers: Collection[str],
    stdin: BinaryIO | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
    local_files: bool = False,
    rules: RowRules = _NO_RULES,
) -> PreparedFile:
    """Read and check a whole prompt file, or standard input where `source` is "-"; close the result.

    A row without a provider takes `default_provider`; `providers` are those allowed; `rules` say what becomes of
    columns that are not ours. A line, or a CSV record,
    of more than `max_record_bytes` is a fault. A workbook (XLSX) is known by its content, and read as its
    first visible sheet. With `local_files`, references may be paths, relative to the
    file's folder (for standard input, the working directory), where the provider takes images inside a request:
    each file is read now and sent as it is now. Whoever writes the prompt file then reads files as this process:
    never pass it for a file from elsewhere. Memory is flat: a record with its local files, a few MB of spool,
    and about 140 bytes for each custom_id given.

    Raises `PromptFileError` if the file cannot be read, or if the default is not among the allowed;
    everything wrong inside the file is a fault of the result.
    """
    if default_provider is not None and default_provider not in providers:
        raise PromptFileError(_no_provider(default_provider, providers))
    name = "standard input" if str(source) == "-" else shown(str(source))
    folder = Path() if str(source) == "-" else Path(source).parent
    beside = folder if local_files else None
    try:
        with _opened(source, stdin) as stream:

            def preparer_of(faults: Faults) -> RowPreparer:
                return RowPreparer(default_provider, providers, faults, beside, rules)

            if format == "xlsx" or is_workbook(stream):
                prepared = PreparedFile("xlsx", rules.sample)
                fill = partial(prepared.fill_from_workbook, stream, rules, preparer_of, max_record_bytes)
            else:
                digest = hashlib.sha256()
                text, recoded = as_utf8(stream, rules.encoding, digest.update)
                lines = Lines(text, max_record_bytes, digest if recoded else None)
                prepared = PreparedFile(_format(format, source, lines), rules.sample)
                fill = partial(prepared.fill, lines, rules, preparer_of)
            with contextlib.ExitStack() as undo:
                undo.callback(prepared.close)
                fill()
                undo.pop_all()
            return prepared
    except IsADirectoryError:
        raise PromptFileError(f"{name} is a directory; name a file") from None
    except FileNotFoundError:
        raise PromptFileError(f"{name} does not exist") from None
    except OSError as error:
        raise PromptFileError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error


def read_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    default_provider: str | None,
    providers: Collection[str],
    rules: RowRules = _NO_RULES,
) -> PreparedFile:
    """Check rows that a program gives, keyed as the columns of a prompt file; close the result.

    A value of None counts as absent. `line` in a fault is the row's number, from 1. Raises `PromptFileError` as `read`.
    """
    if default_provider is not None and default_provider not in providers:
        raise PromptFileError(_no_provider(default_provider, providers))
    prepared = PreparedFile("rows", rules.sample)
    with contextlib.ExitStack() as undo:
        undo.callback(prepared.close)
        prepared.take(rows, lambda faults: RowPreparer(default_provider, providers, faults, rules=rules))
        undo.pop_all()
    return prepared


def read_row(
    row: Mapping[str, Any], *, default_provider: str | None, providers: Collection[str]
) -> tuple[PreparedRow | None, Faults]:
    """Check one row as `read_rows` does, without a file to keep it in; None: its faults say why.

    Raises `PromptFileError` as `read`.
    """
    if default_provider is not None and default_provider not in providers:
        raise PromptFileError(_no_provider(default_provider, providers))
    faults = Faults()
    given = {name: value for name, value in row.items() if value is not None}
    return RowPreparer(default_provider, providers, faults).prepare(1, given), faults


def _no_provider(name: str, providers: Collection[str]) -> str:
    near = get_close_matches(name.lower(), list(providers), n=1)
    known = f"known: {', '.join(sorted(providers))}"
    return f"no provider {shown(name)!r}; {known}" + (f"; did you mean {near[0]}?" if near else "")


def _opened(source: Path | str, stdin: BinaryIO | None) -> contextlib.AbstractContextManager[BinaryIO]:
    if str(source) == "-":
        return contextlib.nullcontext(stdin or sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except ValueError:
        raise PromptFileError(f"{shown(str(source))} is not a file name") from None


def _format(asked: Format, source: Path | str, lines: Lines) -> str:
    """Return the file's format: as asked for, as the end of its name says, or as its first character says."""
    if asked in _PARSERS:
        return asked
    if asked != "auto":
        raise PromptFileError(f"no format {shown(asked)!r}; known: auto, {', '.join(_PARSERS)}")
    by_name = _BY_SUFFIX.get(Path(source).suffix.lower())
    if by_name:
        return by_name
    first = lines.first_with_text()
    return {b"{": "jsonl", b"[": "json"}.get(first.data.lstrip()[:1] if first else b"", "csv")
