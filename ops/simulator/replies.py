"""A reply before it meets its fault: status, headers and body, and the error that carries one."""

import json
import re
import secrets
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

# Decimals go through the encoder as strings that start with this, and lose their quotes afterwards.
_EXACT = f"exact {secrets.token_hex(8)} "
_QUOTED = re.compile(f'"{_EXACT}([^"]*)"')


@dataclass(slots=True)
class SimulatedReply:
    """What a wire answers; ``body`` is the whole entity."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, document: Any, headers: dict[str, str] | None = None) -> "SimulatedReply":
        """Return ``document`` as compact JSON, its decimals as numbers with all their digits."""
        return cls(status, exact_json(document).encode(), headers=headers or {})


def exact_json(document: Any) -> str:
    """Return compact JSON in which a ``Decimal`` is a number with all its digits, never an exponent."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_marked)
    return _QUOTED.sub(r"\1", text)


def _marked(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{_EXACT}{value:f}"
    raise TypeError(f"{type(value).__name__} has no place in JSON")


class RefusalError(Exception):
    """The provider refuses; nothing was accepted. ``reply`` is what the client gets to see."""

    def __init__(self, reply: SimulatedReply) -> None:
        super().__init__(f"refused with {reply.status}")
        self.reply = reply
