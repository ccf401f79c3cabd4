"""Names of batches, and the custom_ids of one file: what one may be, those made up for rows, and who had one first."""

import hashlib
import re
from typing import Any, Final

from shared.requests import text_complaint

CUSTOM_ID_MAX_CHARS: Final = 255
BATCH_MAX_CHARS: Final = 200
_MADE_UP: Final = re.compile(r"row-([0-9]{6,18})")


def custom_id_complaint(custom_id: Any) -> str | None:
    """Say why something is no custom_id, None if it is one: printable text of 1 to 255 characters."""
    if not isinstance(custom_id, str):
        return "must be text"
    if len(custom_id) > CUSTOM_ID_MAX_CHARS:
        return f"has {len(custom_id)} characters; the limit is {CUSTOM_ID_MAX_CHARS}"
    if complaint := text_complaint(custom_id):
        return complaint
    if not custom_id.isprintable() or custom_id != custom_id.strip():
        return "must be printable, without spaces at its ends"
    return None


def name_complaint(name: str) -> str | None:
    """Say what a new batch's name must be like; None if this one is. A batch that is there keeps the name it has."""
    if 0 < len(name) <= BATCH_MAX_CHARS and name.isprintable() and "/" not in name and name == name.strip():
        return None
    return (
        f"must be printable text of 1 to {BATCH_MAX_CHARS} characters, without a slash and without spaces at its ends"
    )


class CustomIds:
    """Tells ids of one file apart in about 140 bytes for each id given and one byte for each line."""

    def __init__(self) -> None:
        self._line_of: dict[bytes, int] = {}
        self._made_up = bytearray()
        """By line: 1 where its id was made up."""

    def make_up(self, line: int) -> tuple[str, int | None]:
        """Return the id of a row without one, the same each time, and the earlier line that was given it."""
        custom_id = _made_up(line)
        self._made_up.extend(bytes(line + 1 - len(self._made_up)))
        self._made_up[line] = 1
        return custom_id, self._line_of.get(_digest(custom_id)) if self._line_of else None

    def take(self, custom_id: str, line: int) -> int | None:
        """Take an id for a line; return the earlier line that has it, None if it was free."""
        first = self._line_of.setdefault(_digest(custom_id), line)
        if first != line:
            return first
        like = _MADE_UP.fullmatch(custom_id)
        other = int(like[1]) if like else len(self._made_up)
        is_its = other < len(self._made_up) and self._made_up[other] and custom_id == _made_up(other)
        return other if is_its else None


def _made_up(line: int) -> str:
    return f"row-{line:06d}"


def _digest(custom_id: str) -> bytes:
    # 15 bytes: one more costs 16 in Python's allocator.
    return hashlib.blake2b(custom_id.encode(), digest_size=15).digest()
