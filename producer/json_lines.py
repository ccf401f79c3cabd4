"""JSON in one line, for whatever reads lines: many programs also end a line at U+0085, U+2028 and U+2029."""

import json
from typing import Any, Final

_LINE_ENDS: Final = {ord(char): f"\\u{ord(char):04x}" for char in "\u0085\u2028\u2029"}


def one_line(text: str) -> str:
    """Return JSON with its Unicode line ends escaped; they stand only inside of strings."""
    return text.translate(_LINE_ENDS)


def json_line(value: Any, *, ensure_ascii: bool = False) -> str:
    """Return a value as JSON in one line, with its end."""
    return one_line(json.dumps(value, ensure_ascii=ensure_ascii)) + "\n"
