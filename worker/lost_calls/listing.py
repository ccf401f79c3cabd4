"""A reading of a provider's own list: every row that it showed, and whether the reading can be trusted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Self

from shared.upstream_ids import folded
from worker.providers.contract import Listed, ListWire, Page, Refused

_JITTER: Final = timedelta(seconds=1)  # rows of the same moment may be in either order

Enough = Callable[[Sequence[Listed]], bool]
"""Tells whether rows, in the order of the list, reach back far enough."""


@dataclass(frozen=True, slots=True)
class ListReading:
    """The rows of a list, in its own order, each once. `asked_at` is on our clock, before the first request.

    `ended`: the list's own pagination said that there are no more rows. `fault`: why rows may be missing in between.
    """

    rows: tuple[Listed, ...]
    asked_at: datetime
    ended: bool
    fault: str | None = None
    pages: int = 1

    @property
    def is_newest_first(self) -> bool:
        """Whether no row is older than the next one."""
        return is_newest_first(self.rows)

    @property
    def disorder(self) -> str | None:
        """Why its order proves nothing. A list of one page needs no order."""
        whole = self.ended and (self.pages == 1 or is_newest_first(self.rows[::-1]))
        return None if whole or self.is_newest_first else "it is not in the order of time"

    def reaches(self, moment: datetime) -> bool:
        """Tell whether every row made since `moment`, by the provider's clock, was read."""
        if self.ended:
            return True
        return self.is_newest_first and any(made < moment - _JITTER for made in times(self.rows))

    def with_references(self, references: Mapping[str, str | None]) -> Self:
        """Return the reading with the references that looks by id found."""
        rows = (
            replace(row, reference=references[row.upstream_id or ""]) if row.upstream_id in references else row
            for row in self.rows
        )
        return replace(self, rows=tuple(rows))


def times(rows: Iterable[Listed]) -> list[datetime]:
    """Return the times of the rows that have a time."""
    return [row.made_at for row in rows if row.made_at is not None]


def is_newest_first(rows: Sequence[Listed]) -> bool:
    """Tell whether the rows with a time are ordered by time, the newest first."""
    return all(newer >= older - _JITTER for newer, older in pairwise(times(rows)))


def of_one_zone(rows: Sequence[Listed]) -> tuple[Listed, ...]:
    """Return the rows without the times that name no zone, if others name theirs: these may be of any zone."""
    if not any(row.made_at and not row.is_local for row in rows):
        return tuple(rows)
    return tuple(replace(row, made_at=None) if row.is_local else row for row in rows)


async def read(wire: ListWire, enough: Enough, *, asked_at: datetime) -> ListReading | Refused:
    """Read the list page by page, until it ends, until `enough` of it is read in order, or to the wire's bound."""
    rows: list[Listed] = []
    known: dict[str, Listed] = {}
    pages, total, fault, page = 0, 0, None, Page((), following=None)
    while pages < wire.most_pages:
        answer = await wire.page(page.following)
        if isinstance(answer, Refused):
            return answer
        pages += 1
        fresh, again = _fresh(answer, known)
        fault = fault or answer.fault or (_seam_fault(page, answer, again) if pages > 1 else None)
        before, page = len(page.rows), answer
        rows += fresh
        total = max(total, page.total or 0)
        if ended := _is_last(page, fresh, before):
            fault = fault or ("it counts more rows than it shows" if total > len(rows) else None)
            return ListReading(of_one_zone(rows), asked_at, ended, fault, pages)
        if not fresh or page.following is None:
            fault = "its pagination does not end"
            return ListReading(of_one_zone(rows), asked_at, ended=False, fault=fault, pages=pages)
        timed = of_one_zone(rows)
        if is_newest_first(timed) and enough(timed):
            break
    return ListReading(of_one_zone(rows), asked_at, ended=False, fault=fault, pages=pages)


def _seam_fault(before: Page, page: Page, old: int) -> str | None:
    """Return why rows may be missing between two pages, the second of which has `old` rows of ids that came before.

    None if the second page is seen to go on where the first one ends.

    the second page                                     it may be
    of a list by offset lacks the last row before it    that rows were removed meanwhile
    of a list by offset has rows, and only old ones     that the offset is not heeded
    of a list by cursor has any old row                 that the cursor leads back: what follows is never shown
    """
    if not before.overlaps:
        return "it shows rows again" if old else None
    if page.rows and not old:
        return "its rows moved while it was read"
    return "it shows rows again" if len(page.rows) > 1 and old == len(page.rows) else None


def _fresh(page: Page, known: dict[str, Listed]) -> tuple[list[Listed], int]:
    """Return the rows that are not known yet, and how many have the id of an earlier page's; add them to `known`.

    A row that differs from the one that has its id is another picture, under an id that is not its own: it stays, as a
    row without an id.
    """
    earlier, again = set(known), 0
    fresh = []
    for row in page.rows:
        name = folded(row.upstream_id) if row.upstream_id else None
        again += name in earlier
        if name is None or name not in known:
            fresh.append(row)
        elif not _is_same(known[name], row):
            fresh.append(replace(row, upstream_id=None))
        if name is not None:
            known.setdefault(name, row)
    return fresh, again


def _is_same(one: Listed, other: Listed) -> bool:
    """Tell whether two rows say the same of one picture; its size may have become known in between."""
    sizes = {(row.width, row.height) for row in (one, other) if row.width and row.height}
    plain = (replace(row, upstream_id=None, width=None, height=None) for row in (one, other))
    return len(sizes) <= 1 and len(set(plain)) == 1


def _is_last(page: Page, fresh: Sequence[Listed], before: int) -> bool:
    """Tell whether the list has ended: its pagination says so, or it says nothing and the page has no new row.

    `before` is the number of rows of the page before. The last page of a list by offset repeats fewer rows. A page of
    as many rows shows that the list ignores the offset: it always shows its first page, and has not ended.
    """
    if page.more is None:
        return not fresh and (not page.rows or len(page.rows) < before)
    return not page.more
