"""Rows of a JSON file: an array of objects, read object by object."""

from collections.abc import Iterator
from typing import Any, Final

from producer.prompts import strict_json
from producer.prompts.jsonl_rows import checked
from producer.prompts.lines import Lines, decode, too_long
from shared.prompt_rows.faults import Faults
from shared.prompt_rows.rules import RowRules

_BETWEEN: Final = " \t\r\n,"
_REMEDY: Final = "write one object a line instead: jq -c '.[]' FILE > FILE.jsonl"


class _Array:
    """The part of the array that was read and not given yet."""

    def __init__(self) -> None:
        self._text: str | None = None
        self.number = 1
        """Of the next object, counted from 1: an array may stand on a single line."""

    @property
    def size(self) -> int:
        """The characters that were not given yet."""
        return len(self._text or "")

    @property
    def has_ended(self) -> bool:
        """Whether the closing bracket was read."""
        return (self._text or "").startswith("]")

    def add(self, part: str) -> None:
        """Add a line; the opening bracket is left out. Raises `RowJsonError` if there is none."""
        if self._text is None:
            if not (part := part.lstrip()):
                return
            if not part.startswith("["):
                raise strict_json.RowJsonError(f"a JSON file must be an array, and begin with [; {_REMEDY}")
            self._text, part = "", part[1:]
        self._text = (self._text + part).lstrip(_BETWEEN)

    def whole(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, value) of each value that is whole; raises `RowJsonError`."""
        while self._text and not self.has_ended:
            value, end = strict_json.parse_beginning(self._text)
            if not end:
                return  # it goes on in the next line
            yield self.number, value
            self._text = self._text[end:].lstrip(_BETWEEN)
            self.number += 1


def json_rows(lines: Lines, faults: Faults, rules: RowRules) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, members) of each object of the array; reading ends at the first broken one."""
    array = _Array()
    for line in lines:
        if line.oversize:
            faults.add(line.number, "row", f"{too_long(lines.max_bytes)}; {_REMEDY}")
        if line.oversize or (part := decode(line, faults, rules.ways)) is None:
            return
        try:
            array.add(part)
            for number, row in array.whole():
                if (members := checked(number, row, faults)) is not None:
                    yield number, members
        except strict_json.RowJsonError as error:
            faults.add(array.number, "row", str(error))
            return
        if array.size > lines.max_bytes:
            break
    if not array.has_ended:
        faults.add(array.number, "row", f"the array breaks off, or is not valid JSON from here on; {_REMEDY}")
