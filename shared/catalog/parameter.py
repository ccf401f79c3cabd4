"""One parameter of a provider's request: where its value comes from, what it may be, how it is sent."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.requests import RequestFault

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(value: object) -> bool:
    """Say whether a value is a UUID in its usual text form (RFC 9562, 8-4-4-4-12 hexadecimal digits)."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as the provider documents it.

    `field` is a field of the common request or `options.NAME`. `minimum` and `maximum` count characters
    of a text, items of a list, or bound an integer. `default` is what the provider takes when the
    parameter is absent; it is sent all the same where `priced`, so that a price can rely on it, and where
    `always`, because the documents disagree on it. `values` are all there are, or, where `loose`, those known
    today of a list that the provider extends between releases: then only the `pattern` binds.
    An object has `members`, whose `field` and `wire` are its own, a dot and their name; `open`, it may have others
    too. A text with members may be given as an object of them instead.
    """

    wire: str
    field: str
    type: Literal["text", "integer", "boolean", "uuid", "list", "object"]
    required: bool = False
    from_account: bool = False  # the account may supply what the request leaves out
    priced: bool = False
    always: bool = False
    loose: bool = False
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    example: str = ""
    default: str | int | bool | None = None
    item: Callable[[Any], str | None] | None = None  # of a list: complaint about one item
    items: str = "items"  # of a list: what they are, for people
    members: tuple["Parameter", ...] = ()
    open: bool = False
    encode: Callable[[Any], Any] | None = None  # to the wire; None = as it is
    prices: str = ""  # what the value does to the price, for people

    def flat(self) -> Iterator["Parameter"]:
        """Yield the parameter and its members, theirs included."""
        yield self
        for member in self.members:
            yield from member.flat()

    def faults(self, value: Any) -> Iterator[RequestFault]:
        """Yield why the provider refuses the value or a member of it, with its real limit, never the value."""
        if self.type == "object" and not isinstance(value, dict):
            yield RequestFault(self.field, "must be an object")
        elif self.members and isinstance(value, dict):
            yield from self._member_faults(value)
        elif self.type != "object" and (complaint := self._complaint(value)):
            yield RequestFault(self.field, complaint)

    def _member_faults(self, value: dict[str, Any]) -> Iterator[RequestFault]:
        known = {member.wire.rpartition(".")[2]: member for member in self.members}
        for name, part in value.items():
            if name in known:
                yield from known[name].faults(part)
            elif not self.open:
                yield RequestFault(f"{self.field}.{name}", f"is not a known member; known: {', '.join(known)}")

    def _complaint(self, value: Any) -> str | None:
        if self.type == "integer":
            return self._number_complaint(value)
        if self.type == "list":
            return self._list_complaint(value)
        if self.type == "boolean":
            return None if isinstance(value, bool) else "must be true or false"
        if self.type == "uuid":
            return None if is_uuid(value) else "must be a UUID"
        return self._text_complaint(value)

    def _text_complaint(self, value: Any) -> str | None:
        complaint = None
        if not isinstance(value, str):
            complaint = "must be text"
        elif self.values and not self.loose and value not in self.values:
            complaint = f"must be one of {', '.join(self.values)}"
        elif self.pattern and not self.pattern.fullmatch(value):
            complaint = f"must look like {self.example}"
        elif self.maximum is not None and len(value) > self.maximum:
            complaint = f"has {len(value)} characters; the limit is {self.maximum}"
        elif self.minimum and not value.strip():
            complaint = "is blank"
        return complaint

    def _number_complaint(self, value: Any) -> str | None:
        low, high = self.minimum, self.maximum
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        if (low is not None and value < low) or (high is not None and value > high):
            return f"must be from {low} to {high}"
        return None

    def _list_complaint(self, value: Any) -> str | None:
        if not isinstance(value, list | tuple):
            return "must be a list"
        if self.maximum is not None and len(value) > self.maximum:
            return f"has {len(value)} items; the limit is {self.maximum}"
        if self.item is None:
            return None
        for position, item in enumerate(value, 1):
            if complaint := self.item(item):
                return f"item {position} {complaint}"
        return None
