"""Rows of the first sheet of a workbook (XLSX): cells as text, with nothing computed, loaded or expanded.

A workbook is a ZIP of XML files that somebody else made. So each part is read as a stream up to a bound, and a document
that declares entities is refused.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final
from xml.parsers import expat

from producer.prompts.workbook_file import TOO_LARGE, WorkbookError
from shared.prompt_rows.faults import Faults

_MOST_TEXT_BYTES: Final = 128 * 2**20
"""Of all texts together, which a sheet names by number, so that they are held in memory."""
_MOST_SHEET_BYTES: Final = 2**30
_BLOCK: Final = 2**16
_MOST_COLUMNS: Final = 16_384
_COLUMN: Final = re.compile(r"([A-Z]{1,3})[0-9]+")
_ESCAPED: Final = re.compile("_x([0-9A-Fa-f]{4})_")
_TIME_IDS: Final = frozenset({18, 19, 20, 21, 45, 46, 47})
"""Excel's own number formats that are a time of day: 16:9 becomes one when somebody types it."""
_DAY_MINUTES: Final = 24 * 60
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, expat.ExpatError, LookupError, ValueError, OverflowError,
                   NotImplementedError, RuntimeError, EOFError)  # fmt: skip
"""What a file may raise that is broken, encrypted, or written by nobody's spreadsheet."""
_RELATION: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships id"


def workbook_rows(file: BinaryIO, faults: Faults, most_bytes: int) -> Iterator[tuple[int, list[str] | None]]:
    """Yield (row number, cells) of each row of the first visible sheet that is not blank, as wide as the first of them.

    A row of more than `most_bytes`, or with a cell that is an error of a formula, is a fault, and its cells are None.
    Raises `WorkbookError` for a file that cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            book = _Book(archive)
            yield from _rows(book, faults, most_bytes)
    except WorkbookError:
        raise
    except _DAMAGED:
        raise WorkbookError("the file is a workbook that cannot be read; save the sheet as CSV UTF-8") from None


def _rows(book: "_Book", faults: Faults, most_bytes: int) -> Iterator[tuple[int, list[str] | None]]:
    width = 0
    for number, cells in book.rows():
        values = [cells.get(index, "") for index in range(max(cells, default=-1) + 1)]
        if not any(map(str.strip, values)):
            continue
        width = width or len(values)
        if errors := [value for value in values if value.startswith(_ERROR)]:
            faults.add(number, "row", f"has a formula that failed: {errors[0].removeprefix(_ERROR)}")
            yield number, None
        elif sum(map(len, values)) > most_bytes:
            faults.add(number, "row", f"is longer than {most_bytes} characters")
            yield number, None
        else:
            yield number, [*values, *[""] * (width - len(values))]


_ERROR: Final = "\0"
"""Begins the value of a cell that is an error; no text of a workbook can hold it."""


class _Book:
    """The parts of a workbook that a sheet's cells need."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        if "xl/workbook.xml" not in archive.namelist():
            raise WorkbookError("the file is a ZIP, but no XLSX workbook; save the sheet as CSV UTF-8")
        self._sheet = self._first_sheet()
        self._texts = self._shared_texts()
        self._times = self._time_styles()

    def rows(self) -> Iterator[tuple[int, dict[int, str]]]:
        """Yield the number and the cells, by column, of each row that is written."""
        sheet = _Sheet(self._texts, self._times)
        for _ in _parsed(self._archive, self._sheet, _MOST_SHEET_BYTES, sheet.start, sheet.end, sheet.text):
            yield from sheet.taken()
        yield from sheet.taken()

    def _first_sheet(self) -> str:
        sheets: list[str] = []
        targets: dict[str, str] = {}

        def sheet(name: str, given: dict[str, str]) -> None:
            if name == "sheet" and given.get("state", "visible") == "visible":
                sheets.append(given.get(_RELATION, ""))

        def relation(name: str, given: dict[str, str]) -> None:
            if name == "Relationship":
                targets[given.get("Id", "")] = given.get("Target", "")

        self._read("xl/workbook.xml", sheet)
        self._read("xl/_rels/workbook.xml.rels", relation)
        if not sheets or sheets[0] not in targets:
            raise WorkbookError("the workbook has no visible sheet")
        target = targets[sheets[0]]
        return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"

    def _shared_texts(self) -> list[str]:
        if "xl/sharedStrings.xml" not in self._archive.namelist():
            return []
        texts = _Texts()
        for _ in _parsed(self._archive, "xl/sharedStrings.xml", _MOST_TEXT_BYTES, texts.start, texts.end, texts.text):
            pass
        return texts.found

    def _time_styles(self) -> frozenset[int]:
        """Return the numbers of the styles that show a time of day."""
        ids: set[int] = set(_TIME_IDS)
        styles: list[int] = []
        inside = [""]

        def start(name: str, given: dict[str, str]) -> None:
            if name == "numFmt" and re.search(r"h\]?:m", given.get("formatCode", ""), re.IGNORECASE):
                ids.add(int(given.get("numFmtId", "-1")))
            elif name in {"cellXfs", "cellStyleXfs"}:
                inside[0] = name
            elif name == "xf" and inside[0] == "cellXfs":
                styles.append(int(given.get("numFmtId", "0")))

        if "xl/styles.xml" in self._archive.namelist():
            self._read("xl/styles.xml", start)
        return frozenset(number for number, style in enumerate(styles) if style in ids)

    def _read(self, part: str, start: Callable[[str, dict[str, str]], None]) -> None:
        for _ in _parsed(self._archive, part, _MOST_TEXT_BYTES, start, lambda _name: None, lambda _text: None):
            pass


class _Texts:
    """The texts of a workbook, in their order; those that only help to pronounce are left out."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._reads = self._aside = False

    def start(self, name: str, _given: dict[str, str]) -> None:
        self._aside = self._aside or name == "rPh"
        self._reads = name == "t" and not self._aside
        if name == "si":
            self._parts = []

    def text(self, text: str) -> None:
        if self._reads:
            self._parts.append(text)

    def end(self, name: str) -> None:
        self._reads = False
        self._aside = self._aside and name != "rPh"
        if name == "si":
            self.found.append(_unescaped("".join(self._parts)))


class _Sheet:
    """A sheet as it is read: the rows that are complete, and the cell that is open."""

    def __init__(self, texts: list[str], times: frozenset[int]) -> None:
        self._texts, self._times = texts, times
        self._rows: list[tuple[int, dict[int, str]]] = []
        self._row, self._cells = 0, dict[int, str]()
        self._column, self._kind, self._style = -1, "", 0
        self._parts: list[str] = []
        self._reads = False

    def taken(self) -> list[tuple[int, dict[int, str]]]:
        found, self._rows = self._rows, []
        return found

    def start(self, name: str, given: dict[str, str]) -> None:
        if name == "row":
            self._row, self._cells, self._column = int(given.get("r", self._row + 1)), {}, -1
        elif name == "c":
            self._column = _column(given.get("r", "")) if "r" in given else self._column + 1
            self._kind, self._style, self._parts = given.get("t", "n"), int(given.get("s", "0")), []
        self._reads = name in {"v", "t"}

    def text(self, text: str) -> None:
        if self._reads:
            self._parts.append(text)

    def end(self, name: str) -> None:
        self._reads = False
        if name == "c" and self._parts:
            self._cells[self._column] = self._value("".join(self._parts))
        elif name == "row":
            self._rows.append((self._row, self._cells))

    def _value(self, written: str) -> str:
        if self._kind == "s":
            number = int(written)
            return self._texts[number] if number < len(self._texts) else ""
        if self._kind == "e":
            return _ERROR + written
        if self._kind == "b":
            return "true" if written.strip() == "1" else "false"
        if self._kind == "n":
            return _time(written) if self._style in self._times else written
        return _unescaped(written)


def _time(written: str) -> str:
    """Return a time of day as a person typed it: 16:9, which became 0.67, is 16:9 again."""
    minutes = round(float(written) * _DAY_MINUTES)
    return f"{minutes // 60}:{minutes % 60}"


def _column(reference: str) -> int:
    """Return the number of a cell's column, 0 for A."""
    found = _COLUMN.fullmatch(reference)
    number = 0
    for letter in found[1] if found else "":
        number = number * 26 + ord(letter) - ord("A") + 1
    if not 0 < number <= _MOST_COLUMNS:
        raise WorkbookError(f"the workbook names a cell that no sheet has: {reference[:20]!r}")
    return number - 1


def _unescaped(text: str) -> str:
    """Return a text with the characters that XLSX writes as `_x000D_`, but for those that no text should hold."""
    return _ESCAPED.sub(_char, text)


def _char(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char.isprintable() or char in "\t\n\r" else found[0]


def _parsed(
    archive: zipfile.ZipFile,
    part: str,
    most_bytes: int,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> Iterator[None]:
    """Parse one part, a block at each step. Raises `WorkbookError` for one that is too large or declares entities."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, given: start(name.rpartition(" ")[2], given)
    parser.EndElementHandler = lambda name: end(name.rpartition(" ")[2])
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse
    size = 0
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > most_bytes:
                raise WorkbookError(TOO_LARGE)
            parser.Parse(block)
            yield
        parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keyword
    yield


def _refuse(*_given: object) -> None:
    raise WorkbookError("the workbook declares a document type, which no spreadsheet writes")
