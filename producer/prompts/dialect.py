"""Which character separates the columns of a CSV file: spreadsheets write what their country takes for a comma."""

import csv
from typing import Final

from producer.prompts.lines import Lines
from shared.prompt_rows.columns import is_column

_DELIMITERS: Final = (",", ";", "\t", "|")
_DECLARED: Final = "sep="


def delimiter_of(lines: Lines) -> str:
    """Return the delimiter that the first line declares (`sep=;`, a line that this consumes) or implies."""
    first = lines.first_with_text()
    text = first.data.decode(errors="replace").rstrip("\r\n") if first else ""
    if text[:4].lower() == _DECLARED and len(text) == len(_DECLARED) + 1:
        next(lines)
        return text[-1]
    return max(_DELIMITERS, key=lambda delimiter: _columns(text, delimiter))


def _columns(header: str, delimiter: str) -> tuple[int, int]:
    """Count our columns, and all, that a delimiter finds in the header."""
    try:
        names = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:
        return 0, 0
    return sum(is_column(name.strip()) for name in names), len(names)
