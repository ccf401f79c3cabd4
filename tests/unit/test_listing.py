"""Readings of a list: every row once, to the list's own end or far enough back, and every doubt about that noted."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from shared.lifecycle import Outcome
from tests.support.listings import ASKED, at
from worker import event_loop
from worker.lost_calls.listing import Enough, ListReading, read
from worker.providers.contract import Listed, ListWire, Page, Refused, RetryRule
from worker.providers.listed import offset_page


class Pages:
    """A wire that gives pages by what is asked for, and counts."""

    most_pages = 5

    def __init__(self, give: Any) -> None:
        self.asked: list[str | None] = []
        self._give = give

    async def page(self, following: str | None = None) -> Page | Refused:
        self.asked.append(following)
        page: Page | Refused = self._give(following)
        return page


def by_offset(rows: Sequence[Listed], *, limit: int = 3, pagination: Any = lambda _seen: None) -> Pages:
    """A list by offset whose pages hold at most `limit` rows."""

    def give(following: str | None) -> Page:
        offset = int(following or 0)
        shown = tuple(rows[offset : offset + limit])
        return offset_page(shown, pagination(offset + len(shown)), offset)

    return Pages(give)


def names(rows: Sequence[Listed]) -> list[str | None]:
    return [row.upstream_id for row in rows]


def newest_first(count: int) -> list[Listed]:
    return [Listed(f"r{number}", at(-number)) for number in range(count)]


def never(_rows: Sequence[Listed]) -> bool:
    return False


def reading(wire: Pages, enough: Enough = never) -> Any:
    async def work() -> ListReading | Refused:
        return await read(cast("ListWire", wire), enough, asked_at=ASKED)

    return event_loop.run(work)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 8])
def test_a_list_that_says_nothing_of_its_end_is_read_until_a_page_brings_nothing_new(count: int) -> None:
    found = reading(by_offset(newest_first(count)))
    assert names(found.rows) == names(newest_first(count))
    assert (found.ended, found.fault, found.disorder) == (True, None, None)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_list_that_always_shows_its_first_page_has_not_ended(count: int) -> None:
    rows = newest_first(count)
    found = reading(Pages(lambda following: offset_page(tuple(rows), None, int(following or 0))))
    assert (found.ended, found.fault) == (False, "its pagination does not end")


def test_a_row_whose_id_comes_in_another_case_is_the_same_row() -> None:
    def give(following: str | None) -> Page:
        return Page((Listed("ab" if following else "AB", at(0)),), more=True, following="next")

    assert names(reading(Pages(give)).rows) == ["AB"]


ONE: Listed = Listed("a", at(0), "a tram", None, 512, 512, stated=(("aspectRatio", "1:1"),))


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, made_at=at(-60)),
        replace(ONE, prompt="a harbour"),
        replace(ONE, prompt=None),
        replace(ONE, reference="r"),
        replace(ONE, width=640),
        replace(ONE, stated=()),
        replace(ONE, upstream_id="A", prompt="a harbour"),
    ],
)
def test_a_second_row_of_an_id_that_says_something_else_stays_as_a_row_without_an_id(other: Listed) -> None:
    found = reading(Pages(lambda _following: Page((ONE, other, ONE), more=False)))
    assert found.rows == (ONE, replace(other, upstream_id=None))
    pages = {None: Page((Listed("b", at(5)), ONE), None, "1", overlaps=True), "1": Page((other,), more=False)}
    found = reading(Pages(pages.get))
    assert (found.rows[1:], found.fault) == ((ONE, replace(other, upstream_id=None)), None)


@pytest.mark.parametrize("other", [ONE, replace(ONE, upstream_id="A"), replace(ONE, width=None, height=None)])
def test_a_second_row_of_an_id_that_says_the_same_is_the_same_picture(other: Listed) -> None:
    for first, second in ((ONE, other), (other, ONE)):
        found = reading(Pages(lambda _following, rows=(first, second): Page(rows, more=False)))
        assert found.rows == (first,)


def test_a_page_shorter_than_asked_for_is_not_the_end() -> None:
    wire = by_offset(newest_first(5), limit=2, pagination=lambda seen: {"hasMore": seen < 5, "total": 5})
    assert names(reading(wire).rows) == ["r0", "r1", "r2", "r3", "r4"]
    assert wire.asked == [None, "1", "2", "3"]


def test_a_list_that_says_that_it_ends_is_asked_no_further() -> None:
    wire = by_offset(newest_first(2), pagination=lambda _seen: {"hasMore": False, "total": 2})
    assert reading(wire).ended
    assert wire.asked == [None]


@pytest.mark.parametrize("said", [{"hasMore": True}, {"hasMore": False, "total": 99}])
def test_a_list_that_promises_more_and_brings_nothing_new_has_not_ended(said: Any) -> None:
    found = reading(by_offset(newest_first(4), pagination=lambda _seen: said))
    assert (found.ended, found.fault) == (False, "its pagination does not end")


def test_a_cursor_that_leads_back_has_not_ended() -> None:
    found = reading(Pages(lambda _following: Page((Listed("a", at(0)),), more=True, following="again")))
    assert (found.ended, found.fault) == (False, "its pagination does not end")


@pytest.mark.parametrize("second", [slice(0, 3), slice(1, 3), slice(2, 5)], ids=["all", "part", "old and new"])
def test_a_cursor_that_leads_back_to_known_rows_is_a_fault_although_its_page_calls_itself_the_last(
    second: slice,
) -> None:
    """What the cursor should have led to is never shown."""
    rows = newest_first(5)

    def give(following: str | None) -> Page:
        return Page(tuple(rows[second]), more=False) if following else Page(tuple(rows[:3]), more=True, following="c")

    found = reading(Pages(give))
    assert (found.ended, found.fault) == (True, "it shows rows again")


def test_the_fault_of_any_page_is_the_readings() -> None:
    rows = newest_first(4)
    for faulty in (None, "c"):
        pages = {
            None: Page(tuple(rows[:2]), more=True, following="c", fault=None if faulty else "odd"),
            "c": Page(tuple(rows[2:]), more=False, fault="odd" if faulty else None),
        }
        assert reading(Pages(pages.get)).fault == "odd"


def test_a_cursor_list_whose_pages_share_no_row_has_no_fault() -> None:
    rows = newest_first(5)
    for rest in (rows[3:], []):
        pages = {None: Page(tuple(rows[:3]), more=True, following="c"), "c": Page(tuple(rest), more=False)}
        found = reading(Pages(pages.get))
        assert (found.ended, found.fault) == (True, None)


@pytest.mark.parametrize("said", [None, {"hasMore": False}])
@pytest.mark.parametrize(("second", "fault"), [(slice(1, 3), "it shows rows again"), (slice(2, 3), None)])
def test_a_list_by_offset_that_shows_only_old_rows_has_its_fault_unless_these_are_the_one_that_pages_share(
    second: slice, fault: str | None, said: Any
) -> None:
    rows = newest_first(3)

    def give(following: str | None) -> Page:
        shown = tuple(rows[second] if following else rows)
        return offset_page(shown, said if following else said and {"hasMore": True}, int(following or 0))

    found = reading(Pages(give))
    assert (found.ended, found.fault) == (True, fault)


def test_a_row_that_was_removed_while_pages_were_read_is_noticed() -> None:
    rows = newest_first(7)

    def give(following: str | None) -> Page:
        offset = int(following or 0)
        shown = rows[1:] if offset else rows
        return offset_page(tuple(shown[offset : offset + 3]), None, offset)

    assert reading(Pages(give)).fault == "its rows moved while it was read"


def test_a_row_that_was_added_while_pages_were_read_is_no_fault() -> None:
    rows = newest_first(7)

    def give(following: str | None) -> Page:
        offset = int(following or 0)
        shown = [Listed("new", at(5)), *rows] if offset else rows
        return offset_page(tuple(shown[offset : offset + 3]), None, offset)

    found = reading(Pages(give))
    assert (found.fault, found.ended) == (None, True)
    assert set(names(found.rows)) >= set(names(rows))


def test_reading_stops_where_enough_is_read_and_only_in_the_order_of_time() -> None:
    def back(rows: Sequence[Listed]) -> bool:
        return any(row.made_at is not None and row.made_at < at(-2) for row in rows)

    wire = by_offset(newest_first(30))
    found = reading(wire, back)
    assert (len(wire.asked), found.ended, found.reaches(at(-2))) == (2, False, True)
    assert not found.reaches(at(-20))
    one_old_row = [Listed("old", at(-9999)), *newest_first(30)]
    wire = by_offset(one_old_row)
    found = reading(wire, back)
    assert len(wire.asked) == Pages.most_pages
    assert not found.reaches(at(-2))
    assert found.disorder is not None


def test_reading_has_a_bound() -> None:
    wire = by_offset(newest_first(100))
    assert not reading(wire).ended
    assert len(wire.asked) == Pages.most_pages


def test_a_page_that_is_refused_refuses_the_reading() -> None:
    refusal = Refused(Outcome.REJECTED, RetryRule.AFTER, "rate_limited", "slow")
    assert reading(Pages(lambda _following: refusal)) == refusal


def test_rows_without_ids_are_never_taken_for_one_another() -> None:
    rows = [Listed(None, at(0)), Listed(None, at(-1))]
    assert len(reading(by_offset(rows, pagination=lambda _seen: {"hasMore": False})).rows) == 2


def test_rows_of_one_second_may_stand_in_either_order() -> None:
    rows = (Listed("a", at(0)), Listed("b", at(0) + timedelta(milliseconds=900)))
    assert ListReading(rows, ASKED, ended=True, pages=2).disorder is None
    later = (Listed("a", at(0)), Listed("b", at(1.5)), Listed("c", at(0)))
    assert ListReading(later, ASKED, ended=True, pages=2).disorder is not None


def test_a_list_that_counts_more_rows_than_it_shows_may_hide_one() -> None:
    rows = newest_first(3)
    promised = [{"total": 4}, {"total": 4, "hasMore": True}, {"hasMore": False, "total": 3}]

    def give(following: str | None) -> Page:
        offset = int(following or 0)
        return offset_page(tuple(rows[offset:3]), promised[0] if not offset else promised[2], offset)

    found = reading(Pages(give))
    assert (found.ended, found.fault) == (True, "it counts more rows than it shows")
    assert reading(by_offset(rows, pagination=lambda _seen: {"total": 3})).fault is None


@pytest.mark.parametrize("name", ["pages", "totalPages", "total_pages", "pageCount", "last_page"])
def test_a_page_that_counts_further_pages_is_not_the_last(name: str) -> None:
    rows = tuple(newest_first(2))
    for pages in (2, "2", 2.0):
        assert offset_page(rows, {"hasMore": False, name: pages}, 0).more is True
        assert offset_page(rows, {"hasMore": False, name: pages, "page": 2}, 0).more is False
    few: list[object] = [1, 0, None, "many", []]
    assert all(offset_page(rows, {"hasMore": False, name: said}, 0).more is False for said in few)


def test_a_time_without_a_zone_says_nothing_beside_times_that_name_theirs() -> None:
    local = Listed("b", at(-1), is_local=True)
    mixed = reading(by_offset([Listed("a", at(0)), local], pagination=lambda _seen: {"hasMore": False}))
    assert [row.made_at for row in mixed.rows] == [at(0), None]
    alone = reading(by_offset([local, Listed("c", None)], pagination=lambda _seen: {"hasMore": False}))
    assert [row.made_at for row in alone.rows] == [at(-1), None]
