"""Reads the rows of a provider's own list: an odd row stays a row, so that nothing is taken for absent."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from worker.providers.contract import Listed, Page
from worker.providers.reading import UnreadableError, text_of
from worker.providers.refusals import moment


def rows_of(listed: list[Any], read: Callable[[dict[str, Any]], Listed]) -> tuple[Listed, ...]:
    """Return a row for each item; one that is no object, or cannot be read at all, is a row that says nothing."""
    return tuple(read(item) if isinstance(item, dict) else Listed() for item in listed)


def offset_page(rows: tuple[Listed, ...], pagination: Any, offset: int) -> Page:
    """Return a page of a list that is asked for by offset; the next page begins with the last row of this one.

    Rows that came, not rows that were asked for, say where the next page begins: a provider may give fewer.
    """
    seen = offset + len(rows)
    overlaps = len(rows) > 1
    return Page(rows, _more(pagination, seen), str(seen - overlaps) if rows else None, overlaps)


def _more(pagination: Any, seen: int) -> bool | None:
    """Return whether there are more rows than those seen: `hasMore` and `total` must agree that there are none."""
    if not isinstance(pagination, dict):
        return None
    said = [pagination[name] for name in ("hasMore", "has_more") if isinstance(pagination.get(name), bool)]
    total = pagination.get("total")
    if isinstance(total, int) and not isinstance(total, bool):
        said.append(total > seen)
    return any(said) if said else None


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
