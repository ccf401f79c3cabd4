"""One parameter of a provider's request: where its value comes from, what it may be, how it is sent."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(value: object) -> bool:
    """Say whether a value is a UUID in its usual text form (RFC 9562, 8-4-4-4-12 hexadecimal digits)."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as the provider documents it.

    `field` is a field of the common request or `options.NAME`. `minimum` and `maximum` count characters
    of a text, items of a list, or bound an integer. `default` is what the provider takes when the
    parameter is absent; it is sent all the same where `priced`, so that a price can rely on it.
    """

    wire: str
    field: str
    type: Literal["text", "integer", "uuid", "list"]
    required: bool = False
    from_account: bool = False  # the account may supply what the request leaves out
    priced: bool = False
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    example: str = ""
    default: str | int | None = None
    item: Callable[[Any], str | None] | None = None  # of a list: complaint about one item
    encode: Callable[[Any], Any] | None = None  # to the wire; None = as it is

    def complaint(self, value: Any) -> str | None:
        """Say why the provider refuses the value, with its real limit, never the value; None if it fits."""
        if self.type == "integer":
            return self._number_complaint(value)
        if self.type == "list":
            return self._list_complaint(value)
        if self.type == "uuid":
            return None if is_uuid(value) else "must be a UUID"
        return self._text_complaint(value)

    def _text_complaint(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be text"
        if self.values and value not in self.values:
            return f"must be one of {', '.join(self.values)}"
        if self.pattern and not self.pattern.fullmatch(value):
            return f"must look like {self.example}"
        if self.maximum is not None and len(value) > self.maximum:
            return f"has {len(value)} characters; the limit is {self.maximum}"
        return None

    def _number_complaint(self, value: Any) -> str | None:
        low, high = self.minimum, self.maximum
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        if (low is not None and value < low) or (high is not None and value > high):
            return f"must be from {low} to {high}"
        return None

    def _list_complaint(self, value: Any) -> str | None:
        if self.maximum is not None and len(value) > self.maximum:
            return f"has {len(value)} items; the limit is {self.maximum}"
        if self.item is None:
            return None
        for position, item in enumerate(value, 1):
            if complaint := self.item(item):
                return f"item {position} {complaint}"
        return None
