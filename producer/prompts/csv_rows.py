"""Rows of a CSV file (RFC 4180, with a header): records of one or more physical lines, cells made values."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from producer.prompts import strict_json
from producer.prompts.dialect import delimiter_of
from producer.prompts.lines import Lines, decode, too_long
from shared.notes import counted
from shared.prompt_rows.columns import is_option, repeated, text_options, unknown_faults
from shared.prompt_rows.faults import Faults, shown
from shared.prompt_rows.rules import RowRules
from shared.prompt_rows.ways import Ways

_WHOLE: Final = re.compile(r"([+-]?[0-9]{1,19})(?:\.0+)?")
# A spreadsheet takes 16:9 for a time of day, and saves 16:09 or 16:09:00.
_RATIO_AS_TIME: Final = re.compile(r"(\d{1,2}):0?([1-9]\d?)(?::00)?")
_SEPARATORS: Final = re.compile(r"[\s|]+")
_JSON_STARTS: Final = frozenset("{[-0123456789tf")
_NO_PROMPT: Final = "the header has no column prompt; name it so{} (for plain prompts, one a line, use format txt)"
_TITLES: Final = re.compile(r"title|titel|name|product|produkt|beschreibung|description|bezeichnung", re.IGNORECASE)
_REASONS: Final = (
    ("unexpected end of data", "a quote that opens in this record is never closed"),
    ("expected after", "text follows a closing quote; write a quote inside a quoted cell twice"),
    (
        "new-line character",
        "has a carriage return in an unquoted cell; save the file with LF or CRLF line ends",
    ),
    ("field larger", "has a cell of more than {limit} characters"),
)


class _RecordTooLongError(Exception):
    """The record being read passed its limit in bytes."""


class _Text:
    """The lines as text for `csv.reader`, which pulls as many as a record needs; remembers where it began."""

    def __init__(self, lines: Lines, faults: Faults, ways: Ways) -> None:
        self._lines = lines
        self._ways = ways
        self._faults = faults
        self.begin()

    def begin(self) -> None:
        """Forget the last record: the next line is the first of a new one."""
        self.first = 0
        self.last = 0
        self.damaged = False
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.first = self.first or line.number
        self.last = line.number
        self._size += len(line.data)
        if line.oversize or self._size > self._lines.max_bytes:
            raise _RecordTooLongError
        text = decode(line, self._faults, self._ways)
        if text is None:
            # The record goes on, so that the lines after it are not taken for records of their own.
            self.damaged = True
            return line.data.decode(errors="replace").replace("\0", " ")
        return text


def csv_rows(lines: Lines, faults: Faults, rules: RowRules) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (first line, values by column) of each sound record that is not blank; the others become faults."""
    yield from table_rows(_records(lines, faults, rules.ways), faults, rules)


def table_rows(
    records: Iterator[tuple[int, list[str] | None]], faults: Faults, rules: RowRules
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, values by column) of each sound record that is not blank; the first record is the header.

    Cells are None for a record that became a fault already.
    """
    line, header = next(records, (0, None))
    if not header:
        return
    names = _names(line, header, rules, faults)
    if names is None:
        return
    columns = [(name, _converter(name, rules)) for name in names]
    for line, cells in records:
        if cells is None or not any(map(str.strip, cells)):
            continue
        found = _as_wide(cells, len(columns))
        if len(found) != len(columns):
            faults.add(line, "row", _miscounted(len(found), len(columns)))
            continue
        if stray := [cell for (name, _), cell in zip(columns, found, strict=True) if cell.strip() and not name]:
            faults.add(
                line, "(no name)", f"{counted(len(stray), 'cell stands', 'cells stand')} under a column without a name"
            )
            continue
        pairs = zip(columns, found, strict=True)
        yield (
            line,
            {name: value for (name, convert), cell in pairs if cell and (value := convert(cell)) is not None},
        )


def _names(line: int, header: Sequence[str], rules: RowRules, faults: Faults) -> list[str] | None:
    """Return the columns' names, "" for a column without one; None after recording what is wrong with them."""
    names = [name.strip() for name in header]
    named = list(filter(None, names))
    before = faults.count
    for name, message in unknown_faults(rules.unknown(named), rules.ways):
        faults.add(line, name, message)
    for name in repeated(named):
        faults.add(line, name, "is a column twice")
    for name, message in rules.complaints(named):
        faults.add(line, name, message)
    if "prompt" not in names and not rules.prompt and "prompt" not in rules.columns:
        harmless = [name for name in named if "'" not in name] or ["title"]  # it stands between a shell's quotes
        title = next(filter(_TITLES.search, harmless), harmless[0])
        made = f", or {rules.ways.prompt.format(column=shown(title))}" if rules.ways.prompt else ""
        faults.add(line, "prompt", _NO_PROMPT.format(made))
    return [rules.ours(name) for name in names] if faults.count == before else None


def _as_wide(cells: Sequence[str], width: int) -> Sequence[str]:
    """Return the cells without blank ones beyond the header, which spreadsheets add."""
    return cells[:width] if not any(cell.strip() for cell in cells[width:]) else cells


def _records(lines: Lines, faults: Faults, ways: Ways) -> Iterator[tuple[int, list[str] | None]]:
    """Yield (first line, cells), with None for the cells of a record that became a fault."""
    text = _Text(lines, faults, ways)
    reader = csv.reader(text, strict=True, delimiter=delimiter_of(lines))
    more = 0  # lines of the records so far, beyond one for each
    while True:
        text.begin()
        cells: list[str] | None = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _RecordTooLongError:
            hint = "; is a closing quote missing?" if text.last > text.first else ""
            faults.add(text.first, "row", too_long(lines.max_bytes) + hint)
        except csv.Error as error:
            faults.add(text.first, "row", _reason(error))
        faults.begin(text.first, text.first - more)
        more += text.last - text.first
        if cells != []:
            yield text.first, None if text.damaged else cells


def _reason(error: csv.Error) -> str:
    message = str(error)
    known = next((words for sign, words in _REASONS if sign in message), "is not valid CSV")
    return known.format(limit=csv.field_size_limit())


def _miscounted(cells: int, columns: int) -> str:
    hint = "put cells that contain commas in quotes" if cells > columns else "a comma is missing, or a quote is wrong"
    return f"has {counted(cells, 'cell')}, the header has {columns}; {hint}"


def _converter(name: str, rules: RowRules) -> Callable[[str], Any]:
    if rules.key_of(name) is not None:
        return _stripped
    if name in text_options():
        return _text_or_object
    return _json_or_text if is_option(name) else _CONVERTERS.get(name, _stripped)


def _stripped(cell: str) -> str | None:
    return cell.strip() or None


def _whole(cell: str) -> int | str | None:
    word = cell.strip()
    if found := _WHOLE.fullmatch(word):
        return int(found[1])
    return word or None  # a text is refused in the field's own words


def _ratio(cell: str) -> str | None:
    word = cell.strip()
    found = _RATIO_AS_TIME.fullmatch(word)
    return f"{int(found[1])}:{found[2]}" if found else word or None


def _list(cell: str) -> Any:
    if cell.lstrip().startswith("["):
        return _json_or_text(cell)  # for paths with spaces
    return [part for part in _SEPARATORS.split(cell) if part]


def _text_or_object(cell: str) -> Any:
    return _json_or_text(cell) if cell.lstrip().startswith("{") else _stripped(cell)


def _json_or_text(cell: str) -> Any:
    word = cell.strip()
    if word[:1] not in _JSON_STARTS:
        return word or None
    try:
        return strict_json.parse(word)
    except strict_json.RowJsonError:
        return word


_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {
    "prompt": str,
    "n": _whole,
    "seed": _whole,
    "priority": _whole,
    "aspect_ratio": _ratio,
    "references": _list,
    "options": _json_or_text,
    "metadata": _json_or_text,
}
