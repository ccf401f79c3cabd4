"""Tables as wide as the terminal, for people: no word is broken, nothing is omitted. JSON Lines for programs."""

import json
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.cells import cell_len, set_cell_size

from producer.cli.terminal import Terminal, visible
from producer.results import as_json

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object per line")]
_GAP: Final = 2
_LEAST_TEXT: Final = 12
"""Width in cells that is enough for a sentence in the last column; it continues on the lines below."""
_LEAST_NAME: Final = 12
"""Width in cells that is enough for a first column; a longer name stands above its line."""
_NUMBER: Final = re.compile(r"-?[\d.,]+\+?")


def show(rows: Iterable[Mapping[str, Any]], names: Sequence[str], *, as_json: bool, also: Sequence[str] = ()) -> None:
    """Print rows as a table of `names`, or as JSON Lines that also contain `also`."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps({name: plain(row[name]) for name in (*names, *also)}))
        return
    show_cells(names, ([words(row[name]) for name in names] for row in rows))


def show_cells(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, stderr: bool = False, notes: Sequence[str] = ()
) -> None:
    """Print rows of text as a table of `names`; `notes` has a sentence for each row, to stand below it, or ""."""
    console = Terminal(soft_wrap=True, stderr=stderr)
    seen = ([visible(text) for text in row] for row in rows)
    for line in lay_out(names, seen, console.width, notes=[visible(note) for note in notes]):
        console.print(line.text, style="bold" if line.is_head else None)


def clipped(text: str, cells: int) -> str:
    """Return the beginning of a text, on one line and at most so many cells wide, with dots where some is left out."""
    line = " ".join(text.split())
    if cell_len(line) <= cells:
        return line
    return set_cell_size(line, max(cells - 3, 0)).rstrip() + "..."


def fitted(
    names: Sequence[str], rows: Sequence[Sequence[str]], least: Mapping[str, int], width: int
) -> list[list[str]]:
    """Return the cells, shortened until each row fits on one line: the columns of `least` in turn, to so many cells."""
    widths = [max(map(cell_len, [name, *(row[at] for row in rows)])) for at, name in enumerate(names)]
    over = sum(widths) + _GAP * (len(names) - 1) - width
    for name, enough in least.items():
        at = names.index(name)
        cut = min(max(over, 0), max(widths[at] - max(enough, cell_len(name)), 0))
        widths[at], over = widths[at] - cut, over - cut
    return [[clipped(text, widths[at]) if names[at] in least else text for at, text in enumerate(row)] for row in rows]


def without_empty(names: Sequence[str], rows: Sequence[Mapping[str, Any]], rare: Collection[str]) -> list[str]:
    """Return the columns that a table shows: those that are `rare` only where a row has something in them."""
    return [name for name in names if name not in rare or any(row[name] for row in rows)]


def show_sentence(text: str) -> None:
    """Print a sentence, wrapped between words."""
    Terminal().print(visible(text))


class TableLine(NamedTuple):
    """A line of a table; `is_head` marks the column names."""

    text: str
    is_head: bool


class _Column(NamedTuple):
    cells: Sequence[str]
    """Its name, then its cells."""
    width: int
    is_number: bool

    @classmethod
    def of(cls, name: str, cells: Sequence[str]) -> "_Column":
        given = [cell for cell in cells if cell]
        is_number = bool(given) and all(map(_NUMBER.fullmatch, given))
        return cls([name, *cells], max(map(cell_len, [name, *cells])), is_number)

    def padded(self, index: int) -> str:
        """Return a cell as wide as the column, with the gap behind it."""
        cell = self.cells[index]
        room = " " * max(self.width - cell_len(cell), 0)
        return (room + cell if self.is_number else cell + room) + " " * _GAP


def lay_out(
    names: Sequence[str], rows: Iterable[Sequence[str]], width: int, *, notes: Sequence[str] = ()
) -> Iterator[TableLine]:
    """Yield the lines of a table.

    A first cell that leaves no room for the others has its own line above them. If the columns do not fit side by side,
    they stand below the first, on as many lines as they need. The note of a row stands below it. A word longer than
    `width` exceeds it.
    """
    filled = list(rows)
    titles = [name.replace("_", " ") for name in names]
    columns = [_Column.of(title, [row[index] for row in filled]) for index, title in enumerate(titles)]
    blocks = list(_blocks(columns, width))
    for index in range(len(filled) + 1):
        for indent, block in blocks:
            for text in _lines(block, index, width - indent):
                yield TableLine(" " * indent + text, is_head=index == 0)
        note = notes[index - 1] if 0 < index <= len(notes) else ""
        for text in textwrap.wrap(note, width - 2 * _GAP, break_long_words=False, break_on_hyphens=False):
            yield TableLine(" " * 2 * _GAP + text, is_head=False)


def _blocks(columns: Sequence[_Column], width: int) -> Iterator[tuple[int, Sequence[_Column]]]:
    """Yield the columns that stand side by side, with the indent of their line."""
    first, *others = columns
    for_first = width - _GAP - _width(others) if others else width
    if first.width <= for_first or for_first >= _LEAST_NAME:
        yield 0, [first._replace(width=min(first.width, for_first)), *others]
        return
    yield 0, [first]
    while others:
        some = next(end for end in range(len(others), 0, -1) if end == 1 or _width(others[:end]) <= width - _GAP)
        yield _GAP, others[:some]
        others = others[some:]


def _width(columns: Sequence[_Column]) -> int:
    """Return the least width of the columns in cells; the last column may continue on the lines below."""
    return sum(column.width + _GAP for column in columns[:-1]) + min(columns[-1].width, _LEAST_TEXT)


def _lines(block: Sequence[_Column], index: int, width: int) -> Iterator[str]:
    *before, last = block
    text = last.cells[index]
    if before and cell_len(before[0].cells[index]) > before[0].width:
        yield before[0].cells[index]
        before = [_Column([""] * len(last.cells), before[0].width, is_number=False), *before[1:]]
    start = "".join(column.padded(index) for column in before)
    room = max(width - cell_len(start), 1)
    if last.is_number or cell_len(text) <= room:
        yield (start + (last.padded(index) if last.is_number else text)).rstrip()
        return
    if any(cell_len(word) > room for word in text.split()):
        if start.strip():
            yield start.rstrip()
        start, room = " " * _GAP * bool(before), max(width - _GAP, 1)
    for part in textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False):
        yield start + part
        start = " " * cell_len(start)


def words(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def cell(value: Any) -> str:
    """Return a value as a person reads it, on one line that commands no terminal."""
    return visible(words(value))


plain = as_json
