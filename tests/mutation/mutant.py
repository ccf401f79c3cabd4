"""One safeguard, how it is taken out, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path


class StaleMutantError(Exception):
    """The text to be replaced is not in its file exactly once: the table no longer fits the code."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`removed` and `protects` are words for a reader; `old` stands in `file` once; any of `tests` catches it.

    `also` names the other half of a safeguard that has two, each enough by itself.
    """

    removed: str
    protects: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[str, str] | None = None

    def applied(self, root: Path) -> str:
        """Return the file's text without the safeguard. Raises `StaleMutantError`."""
        text = (root / self.file).read_text(encoding="utf-8")
        for old, new in filter(None, ((self.old, self.new), self.also)):
            if (count := text.count(old)) != 1:
                raise StaleMutantError(f"{self.removed}: {self.file} holds {old!r} {count} times, not once")
            text = text.replace(old, new)
        return text
