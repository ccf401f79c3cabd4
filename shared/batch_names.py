"""What a new batch may be called, the same at every door. A batch that is there keeps its name and is reached by it."""

from typing import Final

MOST_CHARS: Final = 200


def name_complaint(name: str) -> str | None:
    """Say what a new batch's name must be like; None if this one is."""
    if 0 < len(name) <= MOST_CHARS and name.isprintable() and "/" not in name and name == name.strip():
        return None
    return f"must be printable text of 1 to {MOST_CHARS} characters, without a slash and without spaces at its ends"


def can_be_stored(name: str) -> bool:
    """Tell whether PostgreSQL could have a batch of this name at all."""
    return "\0" not in name and not any("\ud800" <= char <= "\udfff" for char in name)
