"""What is wrong with a prompt file and where: faults by line, kept to a bound, and the error of a file."""

from typing import Final, NamedTuple

FAULTS_KEPT: Final = 1000
_SHOWN_CHARS: Final = 60


class PromptFileError(Exception):
    """The prompt file as a whole cannot be used; the message is one line that says why and what to do."""


class LineFault(NamedTuple):
    """One thing wrong in the record that starts at `line` (1-based); never quotes a prompt or a URL.

    `row` tells a person which row that is: its custom_id, or its number in a spreadsheet where that is not the line.
    """

    line: int
    field: str
    message: str
    row: str = ""


def shown(name: str) -> str:
    """Return a name from the file as safe to print: bounded, escapes for what is not printable."""
    short = name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]


class Faults:
    """The faults of one file: the first thousand kept, all of them counted."""

    def __init__(self) -> None:
        self.kept: list[LineFault] = []
        self.count = 0
        self._of_file: set[str] = set()
        self._begun = (0, 0)

    def begin(self, line: int, number: int) -> None:
        """Note that the row which is read now starts at `line`, and that a spreadsheet shows it under `number`."""
        self._begun = (line, number)

    def add(self, line: int, field: str, message: str, custom_id: str = "") -> None:
        """Record a fault; beyond the bound only its count grows."""
        self.count += 1
        if len(self.kept) < FAULTS_KEPT:
            self.kept.append(LineFault(line, shown(field), message, shown(custom_id) or self._number(line)))

    def _number(self, line: int) -> str:
        begun, number = self._begun
        return f"row {number}" if line == begun != number else ""

    def add_once(self, line: int, field: str, message: str) -> None:
        """Record what is wrong with the file as a whole where it shows first; again in `field`, it is known."""
        if field not in self._of_file:
            self._of_file.add(field)
            self.add(line, field, message)
