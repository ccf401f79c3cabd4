"""A reply before it meets its fault: status, headers and body, and the error that carries one."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Reply:
    """What a wire answers; ``body`` is the whole entity."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, document: Any, headers: dict[str, str] | None = None) -> "Reply":
        """Return ``document`` as compact JSON."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(status, body, headers=headers or {})


class RefusalError(Exception):
    """The provider refuses; nothing was accepted. ``reply`` is what the client gets to see."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"refused with {reply.status}")
        self.reply = reply
