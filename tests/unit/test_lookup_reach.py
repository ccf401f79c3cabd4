"""Look-ups: how far back a list must be seen to go before what it lacks proves that a call bought nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.support.listings import (
    ASKED,
    BOTH,
    EARLIER,
    LATER,
    judged,
    list_of,
    lost_call,
    made,
    purchase,
    row_of,
)
from worker.lost_calls.judgement import NOT_LISTED, Unclear
from worker.providers.contract import FindBy

LISTS: Final = pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])
HOUR: Final = timedelta(hours=1)
OLD: Final = made("stranger", -5000, prompt="a tram", reference="")
EVEN_EARLIER: Final = purchase("even earlier", -2000)


@LISTS
@pytest.mark.parametrize(
    ("ours", "more", "reading"),
    [
        (BOTH, {}, {}),
        ([LATER], {"bought_before": True}, {}),
        ([LATER], {}, {"asked_at": ASKED + HOUR}),
    ],
    ids=["it lacks what we bought before", "we bought before, long ago", "nothing bought before, and an old call"],
)
def test_a_list_that_calls_itself_whole_and_shows_nothing_from_before_the_call_proves_nothing(
    find_by: FindBy, ours: Any, more: Any, reading: Any
) -> None:
    """A list of the last half hour may call that everything."""
    verdict = judged(find_by, lost_call(), list_of(ours=[LATER]), ours=ours, reading=reading, **more)
    assert isinstance(verdict, Unclear)
    assert "nothing from before it" in verdict.note


@LISTS
@pytest.mark.parametrize(
    ("ours", "row"),
    [([LATER], OLD), (BOTH, replace(row_of(EARLIER), made_at=None))],
    ids=["a stranger's", "ours, without a time"],
)
def test_any_row_from_before_the_call_shows_that_the_list_goes_back_to_it(find_by: FindBy, ours: Any, row: Any) -> None:
    rows, reading = [row_of(LATER), row], {"asked_at": ASKED + HOUR}
    assert judged(find_by, lost_call(), rows, ours=ours, reading=reading, bought_before=True) == NOT_LISTED


@LISTS
@pytest.mark.parametrize("before", [[], [replace(EARLIER, gone=True)], [replace(EARLIER, key_id="another")]])
def test_a_young_call_of_a_key_that_bought_nothing_before_needs_no_older_row(find_by: FindBy, before: Any) -> None:
    assert judged(find_by, lost_call(), list_of(ours=[LATER]), ours=[LATER, *before]) == NOT_LISTED


@LISTS
def test_a_purchase_between_the_call_and_the_oldest_row_that_is_missing_voids_the_list_at_any_distance(
    find_by: FindBy,
) -> None:
    rows, ours = list_of(OLD, ours=[LATER]), [LATER, EVEN_EARLIER]
    verdict = judged(find_by, lost_call(), rows, ours=ours)
    assert isinstance(verdict, Unclear)
    assert "nor 1 purchases of ours" in verdict.note
    assert judged(find_by, lost_call(), [*rows, row_of(EVEN_EARLIER)], ours=ours) == NOT_LISTED
    assert judged(find_by, lost_call(), rows, ours=[LATER, replace(EVEN_EARLIER, gone=True)]) == NOT_LISTED


@LISTS
def test_a_purchase_from_before_the_oldest_row_or_by_another_key_need_not_be_listed(find_by: FindBy) -> None:
    old = purchase("old", -9000)
    assert judged(find_by, lost_call(), list_of(), ours=[*BOTH, old]) == NOT_LISTED
    anothers = replace(EVEN_EARLIER, key_id="another")
    assert judged(find_by, lost_call(), list_of(OLD), ours=[*BOTH, anothers]) == NOT_LISTED


@LISTS
@pytest.mark.parametrize("second", [-1000, -30, 30])
def test_what_another_account_bought_with_the_same_key_must_be_listed_too(find_by: FindBy, second: float) -> None:
    other = replace(purchase("other", second), same_account=False)
    rows, ours = list_of(OLD), [*BOTH, other]
    verdict = judged(find_by, lost_call(), rows, ours=ours)
    assert isinstance(verdict, Unclear)
    assert "nor 1 purchases of ours" in verdict.note
    assert judged(find_by, lost_call(), [row_of(LATER), *rows[1:], row_of(other)], ours=ours) == NOT_LISTED
    for key in ("another", None):
        assert judged(find_by, lost_call(), rows, ours=[*BOTH, replace(other, key_id=key)]) == NOT_LISTED
    assert isinstance(judged(find_by, lost_call(), rows, ours=[*BOTH, purchase("own", -30)]), Unclear)
