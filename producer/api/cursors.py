"""Cursors of lists: opaque, and bound to the filters that they were made with."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from producer.api.problems import ProblemError


def cursor(filters: Mapping[str, Any], *position: str) -> str:
    """Return where a page ended, for a list with these filters."""
    text = json.dumps([_digest(filters), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(given: str, filters: Mapping[str, Any], *parts: Callable[[str], Any]) -> list[Any]:
    """Return where a cursor points, each of its `parts` read; raises `ProblemError` if it is none of this list's."""
    try:
        found = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    except ValueError:
        raise ProblemError("cursor_invalid") from None
    if not isinstance(found, list) or len(found) != len(parts) + 1 or not all(isinstance(one, str) for one in found):
        raise ProblemError("cursor_invalid")
    if found[0] != _digest(filters):
        raise ProblemError("cursor_invalid", "it was made with other filters")
    try:
        return [read(one) for read, one in zip(parts, found[1:], strict=True)]
    except ValueError:
        raise ProblemError("cursor_invalid") from None


def _digest(filters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:12]
