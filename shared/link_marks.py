"""What stays of the link of a stored image: enough to know the link again, and nothing that could fetch it."""

import hashlib
from typing import Final

MARK: Final = "sha256:"


def mark_of(link: str) -> str:
    """Return the mark of a link, or the mark itself."""
    return link if link.startswith(MARK) else MARK + hashlib.sha256(link.encode()).hexdigest()
