"""What is wrong with a prompt file and where: faults by line, kept to a bound, and the error of a file."""

from typing import Final, NamedTuple

FAULTS_KEPT: Final = 1000
_SHOWN_CHARS: Final = 60


class PromptFileError(Exception):
    """The prompt file as a whole cannot be used; the message is one line that says why and what to do."""


class LineFault(NamedTuple):
    """One thing wrong in the record that starts at `line` (1-based); never quotes a prompt or a URL."""

    line: int
    field: str
    message: str


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

    def add(self, line: int, field: str, message: str) -> None:
        """Record a fault; beyond the bound only its count grows."""
        self.count += 1
        if len(self.kept) < FAULTS_KEPT:
            self.kept.append(LineFault(line, shown(field), message))

    def add_once(self, line: int, field: str, message: str) -> None:
        """Record what is wrong with the file as a whole where it shows first; again in `field`, it is known."""
        if field not in self._of_file:
            self._of_file.add(field)
            self.add(line, field, message)
