"""Words on one line: how long a note may be, which is the reason kept of a job, and a number with its noun."""

from typing import Final

NOTE_CHARS: Final = 500


def short_note(text: str) -> str:
    """Return the beginning of a text, as far as a note keeps it.

    A provider's words and an exception's have no bound. Every event of a job keeps its note, and lists show it.
    """
    return text[:NOTE_CHARS]


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 job" or "2 jobs"; `many` is said of every number but 1, if an s more does not make it of `one`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
