"""The provider's clock, as the rows of our own purchases show it."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.listings import at, purchase, row_of
from worker.lost_calls.listing import ListReading
from worker.lost_calls.provider_clock import ProviderClock, clock_of, placed
from worker.providers.contract import Listed

SECOND = timedelta(seconds=1)


def test_without_a_row_of_ours_the_clock_is_only_believed_within_the_slack() -> None:
    assert clock_of([Listed("x", at(0))], {}, slack_seconds=60) == ProviderClock(-60 * SECOND, 60 * SECOND, known=False)


@given(st.integers(-100_000, 100_000), st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 90)), min_size=1))
def test_the_true_difference_lies_within_what_our_rows_show(clock: int, calls: list[tuple[int, int]]) -> None:
    bought = [purchase(f"p{number}", begin, begin + took) for number, (begin, took) in enumerate(calls)]
    rows = [row_of(one, clock) for one in bought]
    found = clock_of(rows, {one.upstream_id: one for one in bought}, slack_seconds=0)
    assert found.known
    assert found.least <= clock * SECOND <= found.most
    assert found.earliest(at(7)) < at(7 + clock) < found.latest(at(7))


def test_two_clocks_are_both_within() -> None:
    slow, right = purchase("a", 0), purchase("b", 100)
    rows = [row_of(slow, -600), row_of(right)]
    found = clock_of(rows, {"a": slow, "b": right}, slack_seconds=0)
    assert found.least <= -600 * SECOND
    assert found.most >= 0 * SECOND


def test_a_row_without_a_time_lies_between_its_neighbours_where_the_list_is_in_order() -> None:
    rows = (Listed("a", at(9)), Listed("b"), Listed("c"), Listed("d", at(1)), Listed("e"))
    spans = [(earliest, latest) for _, earliest, latest in placed(ListReading(rows, at(10), ended=True))]
    assert spans == [(at(9), at(9)), (at(1), at(9)), (at(1), at(9)), (at(1), at(1)), (None, at(1))]
    backwards = placed(ListReading(rows[::-1], at(10), ended=True))
    assert backwards[0][1:] == (None, None)
