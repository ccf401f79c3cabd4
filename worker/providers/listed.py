"""Reads the rows of a provider's own list: an odd row stays a row, so that nothing is taken for absent."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from shared.upstream_ids import folded
from worker.providers.contract import Listed, Page
from worker.providers.reading import DAMAGED, UnreadableError, text_of
from worker.providers.times import moment

T = TypeVar("T")
_MORE: Final = ("hasMore", "has_more", "hasNext", "has_next", "hasNextPage", "has_next_page")
_TOTAL: Final = ("total", "totalCount", "total_count")
_NEXT: Final = ("nextCursor", "next_cursor", "nextOffset", "next_offset", "nextPage", "next_page", "next")
_PAGES: Final = ("pages", "totalPages", "total_pages", "pageCount", "page_count", "lastPage", "last_page")
_PAGE: Final = ("page", "currentPage", "current_page")
_NOT_WHOLE: Final = (
    "partial",
    "isPartial",
    "is_partial",
    "incomplete",
    "truncated",
    "degraded",
    "timedOut",
    "timed_out",
)
_YES: Final = ("true", "True", 1, "1")
_DATE_CHARS: Final = 10
_FIRST_YEAR: Final = 2000  # before any of the providers; clocks of computers begin in 1, 1601, 1900 and 1970


def rows_of(listed: list[Any], read: Callable[[dict[str, Any]], Listed]) -> tuple[Listed, ...]:
    """Return a row for each item; one that is no object, or cannot be read at all, is a row that says nothing."""
    return tuple(read(item) if isinstance(item, dict) else Listed() for item in listed)


def check_whole(answer: Any) -> None:
    """Raise `UnreadableError` where a list says itself that rows may be missing: it proves no absence."""
    body = answer if isinstance(answer, dict) else {}
    places = (body, *(body.get(name) for name in ("data", "meta", "pagination")))
    if any(place.get(name) for place in places if isinstance(place, dict) for name in _NOT_WHOLE):
        raise UnreadableError("a list that says that it is not whole")


def offset_page(rows: tuple[Listed, ...], pagination: Any, offset: int, *, fault: str | None = None) -> Page:
    """Return a page of a list that is asked for by offset; the next page begins with the last row of this one.

    Rows that came, not rows that were asked for, say where the next page begins: a provider may give fewer.
    """
    seen = offset + len(rows)
    overlaps = len(rows) > 1
    following = str(seen - overlaps) if rows else None
    return Page(rows, more_rows(pagination, seen), following, overlaps, total_of(pagination), fault)


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
    page = next((pagination[name] for name in _PAGE if name in pagination), 1)
    pages = [True for name in _PAGES if name in pagination and _is_more(pagination[name], page)]
    said = [*flags, *totals, *nexts, *pages]
    if True in said:
        return True
    return False if said and None not in said else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return True if value in _YES else None


def _is_more(pages: Any, page: Any) -> bool:
    """Tell whether more pages are counted than the number of this one."""
    with suppress(ArithmeticError, ValueError, TypeError):
        return Decimal(pages) > Decimal(page)
    return False


def total_of(pagination: Any) -> int | None:
    """Return the highest number of rows that a page says the list has; None where it says none."""
    stated = [pagination[name] for name in _TOTAL if name in pagination] if isinstance(pagination, dict) else []
    return max((one for one in stated if isinstance(one, int) and not isinstance(one, bool)), default=None)


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
    """Return a time, None where it cannot be read; a date alone is none, nor is the moment at which a clock begins."""
    with suppress(UnreadableError):
        found = moment(value)
        return found if len(value) > _DATE_CHARS and found.year >= _FIRST_YEAR else None
    return None


def is_local(value: Any) -> bool:
    """Tell whether a time names no zone; `time_of` reads it as UTC."""
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(value).tzinfo is None
    return False


def words_of(value: Any) -> str | None:
    """Return a text, None for anything else, and for one that came damaged: it may be any text."""
    return value if isinstance(value, str) and DAMAGED not in value else None
