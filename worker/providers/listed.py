"""Reads the rows of a provider's own list: an odd row stays a row, so that nothing is taken for absent."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from shared.upstream_ids import folded
from worker.providers.contract import Listed, Page
from worker.providers.reading import UnreadableError, text_of
from worker.providers.refusals import moment

T = TypeVar("T")
_MORE: Final = ("hasMore", "has_more", "hasNext", "has_next", "hasNextPage", "has_next_page")
_TOTAL: Final = ("total", "totalCount", "total_count")
_NEXT: Final = ("nextCursor", "next_cursor", "nextOffset", "next_offset", "nextPage", "next_page", "next")
_YES: Final = ("true", "True", 1, "1")


def rows_of(listed: list[Any], read: Callable[[dict[str, Any]], Listed]) -> tuple[Listed, ...]:
    """Return a row for each item; one that is no object, or cannot be read at all, is a row that says nothing."""
    return tuple(read(item) if isinstance(item, dict) else Listed() for item in listed)


def offset_page(rows: tuple[Listed, ...], pagination: Any, offset: int) -> Page:
    """Return a page of a list that is asked for by offset; the next page begins with the last row of this one.

    Rows that came, not rows that were asked for, say where the next page begins: a provider may give fewer.
    """
    seen = offset + len(rows)
    overlaps = len(rows) > 1
    return Page(rows, more_rows(pagination, seen), str(seen - overlaps) if rows else None, overlaps)


def more_rows(pagination: Any, seen: int | None) -> bool | None:
    """Return whether there are more rows than those seen; None where that is not said, or not in a form we know.

    All signs must agree that there are none, and each in the form of its document: only that is an end. A sign of
    another form, as a number that is text, may still say that there are more. `seen` is None if it is not known.
    """
    if not isinstance(pagination, dict):
        return None
    flags = [_flag(pagination[name]) for name in _MORE if name in pagination]
    totals = [_beyond(pagination[name], seen) for name in _TOTAL if name in pagination and seen is not None]
    nexts = [True for name in _NEXT if pagination.get(name) not in (None, "", False)]
    said = [*flags, *totals, *nexts]
    if True in said:
        return True
    return False if said and None not in said else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return True if value in _YES else None


def _beyond(total: Any, seen: int) -> bool | None:
    """Tell whether a total counts more rows than those seen; one that counts fewer counts something else."""
    if isinstance(total, int) and not isinstance(total, bool):
        return None if total < seen else total > seen
    with suppress(ArithmeticError, ValueError):
        if isinstance(total, str | Decimal) and Decimal(total) > seen:
            return True
    return None


def of_asked(listed: Iterable[tuple[str, T]], asked: Sequence[str]) -> dict[str, T]:
    """Return what a list holds of the ids that were asked for, by these: one in another case is the same id.

    An id that stands in several rows which differ is left out: they prove nothing.
    """
    names = {folded(one): one for one in asked} | {one: one for one in asked}
    found: dict[str, list[T]] = {}
    for given, item in listed:
        name = names.get(given) or names.get(folded(given))
        if name is not None:
            found.setdefault(name, []).append(item)
    return {name: items[0] for name, items in found.items() if all(item == items[0] for item in items)}


def id_of(value: Any) -> str | None:
    """Return an id, None where it cannot be read."""
    with suppress(UnreadableError):
        return text_of(value)
    return None


def time_of(value: Any) -> datetime | None:
    """Return a time, None where it cannot be read."""
    with suppress(UnreadableError):
        return moment(value)
    return None


def words_of(value: Any) -> str | None:
    """Return a text, None for anything else."""
    return value if isinstance(value, str) else None
