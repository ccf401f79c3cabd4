"""Writes lists as PostgreSQL's array literals, in one pass and without a type, so that a statement has one plan.

psycopg asks a dumper for each element, and names the array's type by the elements: a list of small numbers, one of
large numbers and one of nothing but NULL are three prepared statements for PostgreSQL. Our statements cast each array,
or compare it with a column, so that PostgreSQL knows the type itself.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.types.array import ListDumper


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_FORMS: Final[dict[type, Callable[[Any], str]]] = {
    NoneType: lambda _: "NULL",
    UUID: lambda value: value.hex,
    str: _quoted,
    int: str,
    float: str,
    Decimal: str,
    bool: lambda value: "t" if value else "f",
    bytes: lambda value: rf'"\\x{value.hex()}"',
    datetime: lambda value: f'"{value}"',
}


class ArrayDumper(Dumper):
    """Writes a list for a connection whose encoding is UTF-8; raises `psycopg.DataError` for a text with a NUL."""

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._context = context

    def dump(self, obj: Sequence[Any]) -> bytes:
        """Return the array literal of `obj`. psycopg's own dumper writes elements of types that are rare here."""
        try:
            text = ",".join([_FORMS[type(item)](item) for item in obj])
        except KeyError:
            return bytes(ListDumper(list, self._context).dump(list(obj)) or b"")
        if "\0" in text:
            # libpq would end the value there, and the rest would be lost without a word.
            raise psycopg.DataError("PostgreSQL text cannot contain NUL (0x00) bytes")
        return f"{{{text}}}".encode()
