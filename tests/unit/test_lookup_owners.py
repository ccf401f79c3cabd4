"""Look-ups: a picture that another call's answer named, by mistake, may be what a lost call bought."""

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.support.listings import BOTH, LATER, OURS, PROMPT, judged, list_of, lost_call, made, purchase, row_of, square
from worker.lost_calls.judgement import NOT_LISTED, Adopt, Unclear
from worker.providers.contract import FindBy, Listed

LISTS: Final = pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])
NEXT: Final = replace(purchase("mine", 300, 302), prompt="a tram")
"""A call that was made after the lost one, and whose answer named the lost one's picture."""
MINE: Final = made("mine", width=512, height=512)


def with_owner(find_by: FindBy, owner: Any, row: Listed = MINE, *others: Listed) -> Any:
    """Judge a list with `row`, which is recorded for the call of `owner`."""
    return judged(find_by, lost_call(), list_of(row, *others), ours=[*BOTH, owner])


@LISTS
def test_a_picture_that_was_there_before_its_owners_call_began_may_be_the_lost_calls(find_by: FindBy) -> None:
    for owner in (NEXT, replace(NEXT, prompt=PROMPT)):
        verdict = with_owner(find_by, owner)
        assert isinstance(verdict, Unclear)
        assert "another call's answer named" in verdict.note
        assert verdict.candidates == ()  # a person cannot choose what has an owner
    during = replace(NEXT, opened_at=NEXT.opened_at.replace(year=2026), prompt=PROMPT)
    assert with_owner(find_by, during) == NOT_LISTED


@pytest.mark.parametrize("find_by", ["reference", "prompt"])
def test_a_picture_with_the_lost_calls_words_is_not_explained_by_an_owner_that_asked_for_others(
    find_by: FindBy,
) -> None:
    beside = replace(purchase("mine", 0, 3), prompt="a tram")
    assert isinstance(with_owner(find_by, beside), Unclear)
    assert with_owner(find_by, replace(beside, prompt=PROMPT)) == NOT_LISTED
    assert with_owner(find_by, beside, made("mine", prompt="a tram")) == NOT_LISTED
    assert with_owner(find_by, beside, made("mine", prompt="enhanced")) == NOT_LISTED


@LISTS
def test_an_answer_that_named_more_than_was_asked_for_explains_no_row_of_other_words(find_by: FindBy) -> None:
    owner = replace(purchase("mine", 0, 3), prompt="a tram", named_more=True)
    shown = made("mine", prompt=None if find_by == "time" else "another", width=512, height=512)
    assert isinstance(with_owner(find_by, owner, shown), Unclear)
    assert with_owner(find_by, owner, replace(shown, prompt="a tram")) == NOT_LISTED


@LISTS
def test_an_answer_that_named_more_than_was_asked_for_is_no_presence(find_by: FindBy) -> None:
    odd = replace(LATER, named_more=True, prompt="another")
    assert judged(find_by, lost_call(), list_of(ours=[odd]), ours=[odd]) != NOT_LISTED


def test_a_row_with_its_owners_reference_is_its_owners() -> None:
    owner = replace(purchase("mine", 0, 3), prompt="a tram", named_more=True)
    assert with_owner("reference", owner, replace(MINE, reference=str(owner.submission_id))) == NOT_LISTED


def test_what_carries_the_lost_calls_reference_and_is_recorded_for_another_proves_a_purchase() -> None:
    row = replace(MINE, reference=str(OURS))
    verdict = with_owner("reference", NEXT, row)
    assert isinstance(verdict, Unclear)
    assert "this call's reference" in verdict.note
    free = made("free", reference=str(OURS))
    assert with_owner("reference", NEXT, row, free) == Adopt(("free",))


@pytest.mark.parametrize("find_by", ["prompt", "time"])
def test_nothing_is_adopted_beside_a_picture_whose_owner_is_in_doubt(find_by: FindBy) -> None:
    assert isinstance(with_owner(find_by, NEXT, MINE, square("other")), Unclear)
    assert judged(find_by, lost_call(), list_of(square("other"), row_of(NEXT)), ours=[*BOTH, NEXT]) == Adopt(("other",))
