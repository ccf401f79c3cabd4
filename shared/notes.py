"""How long a note may be: the reason that is kept of a job, an image or a pause, and shown in one line."""

from typing import Final

NOTE_CHARS: Final = 500


def short_note(text: str) -> str:
    """Return the beginning of a text, as far as a note keeps it.

    A provider's words and an exception's have no bound. Every event of a job keeps its note, and lists show it.
    """
    return text[:NOTE_CHARS]
