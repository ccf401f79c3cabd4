"""Look-ups: when a list without a trace of a lost call proves that the call bought nothing, and when it does not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.support.listings import (
    ASKED,
    BOTH,
    EARLIER,
    KEY,
    LATER,
    OURS,
    PROMPT,
    THEIRS,
    at,
    judged,
    list_of,
    lost_call,
    made,
    purchase,
    rival,
    row_of,
    shown,
    square,
)
from worker.lost_calls.judgement import NOT_LISTED, Adopt, Lacking, Later, Unclear
from worker.providers.contract import FindBy, Listed

LISTS: Final = pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])


@LISTS
def test_a_sound_list_with_a_later_purchase_and_no_trace_of_the_call_proves_that_nothing_was_bought(
    find_by: FindBy,
) -> None:
    assert shown(find_by, lost_call()) == NOT_LISTED


@LISTS
@pytest.mark.parametrize("ours", [(), (EARLIER,), (EARLIER, purchase("during", 9))])
def test_without_a_purchase_that_began_after_the_call_was_over_nothing_is_proved(find_by: FindBy, ours: Any) -> None:
    verdict = judged(find_by, lost_call(), list_of(ours=ours), ours=ours)
    assert isinstance(verdict, Lacking)
    assert "proves nothing" in verdict.note


@LISTS
def test_a_later_purchase_that_the_list_does_not_show_is_no_presence(find_by: FindBy) -> None:
    assert isinstance(judged(find_by, lost_call(), list_of(ours=[EARLIER])), Lacking)


@LISTS
def test_a_later_purchase_of_another_account_is_no_presence(find_by: FindBy) -> None:
    ours = [EARLIER, replace(LATER, same_account=False)]
    assert isinstance(judged(find_by, lost_call(), list_of(ours=ours), ours=ours), Lacking)


@LISTS
def test_a_later_purchase_by_another_key_is_no_presence(find_by: FindBy) -> None:
    for key in ("another", None):
        ours = [EARLIER, replace(LATER, key_id=key)]
        assert isinstance(judged(find_by, lost_call(), list_of(ours=ours), ours=ours), Lacking)


@LISTS
def test_a_list_of_another_key_than_the_one_that_paid_proves_nothing_and_may_still_show_what_was_bought(
    find_by: FindBy,
) -> None:
    mine = replace(square("mine"), reference=str(OURS) if find_by == "reference" else None)
    for call, key in [(lost_call(), "another"), (replace(lost_call(), key_id=None), KEY), (lost_call(), None)]:
        unproved = shown(find_by, call, key_id=key)
        assert isinstance(unproved, Unclear)
        assert "another key" in unproved.note
        assert shown(find_by, call, mine, key_id=key) == Adopt(("mine",))


@LISTS
def test_an_id_in_another_case_is_the_same_id(find_by: FindBy) -> None:
    """Bloom may answer a POST with an upper-case id and list it in lower case."""
    ours = [replace(LATER, upstream_id="LATER"), replace(EARLIER, upstream_id="Earlier"), purchase("NEAR", 3)]
    rows = [replace(row_of(one), upstream_id=one.upstream_id.lower(), width=512, height=512) for one in ours]
    assert judged(find_by, lost_call(), rows[::-1], ours=ours, reading={"pages": 1}) == NOT_LISTED
    assert shown(find_by, lost_call(), square("a1"), owned=["A1"]) == NOT_LISTED


@LISTS
def test_a_purchase_near_the_call_that_the_list_hides_voids_it_unless_its_job_has_given_it_up_as_gone(
    find_by: FindBy,
) -> None:
    near = purchase("near", 30)
    hidden = judged(find_by, lost_call(), list_of(), ours=[*BOTH, near])
    assert isinstance(hidden, Unclear)
    assert "1 purchases of ours" in hidden.note
    assert judged(find_by, lost_call(), list_of(), ours=[*BOTH, replace(near, gone=True)]) == NOT_LISTED
    assert judged(find_by, lost_call(), list_of(ours=[*BOTH, near]), ours=[*BOTH, near]) == NOT_LISTED


@LISTS
def test_a_purchase_that_is_too_young_to_be_listed_voids_nothing(find_by: FindBy) -> None:
    young = purchase("young", (ASKED - at(0)).total_seconds() - 30)
    assert judged(find_by, lost_call(), list_of(), ours=[*BOTH, young]) == NOT_LISTED


@LISTS
@pytest.mark.parametrize("clock", [-36_000, -600, 600, 36_000])
def test_the_providers_clock_is_read_off_our_own_rows(find_by: FindBy, clock: float) -> None:
    """Ten minutes slow, a lost call's picture seems to be older than the call."""
    theirs = Listed("mine", at(3 + clock), PROMPT, str(OURS) if find_by == "reference" else None, 512, 512)
    assert judged(find_by, lost_call(), list_of(theirs, clock=clock)) == Adopt(("mine",))
    assert judged(find_by, lost_call(), list_of(clock=clock)) == NOT_LISTED


@pytest.mark.parametrize("clock", [-600, 600])
def test_a_clock_that_was_set_meanwhile_widens_the_span(clock: float) -> None:
    before, after = row_of(EARLIER, 0), row_of(LATER, clock)
    for second in (3, 3 + clock):
        rows = sorted([before, after, made("mine", second)], key=lambda row: str(row.made_at), reverse=True)
        assert judged("prompt", lost_call(), rows) == Adopt(("mine",))


def test_without_rows_of_ours_a_picture_far_from_the_call_by_an_unknown_clock_is_nobodys_proof() -> None:
    far = made("far", -600)
    assert isinstance(judged("prompt", lost_call(), [far], ours=[]), Lacking)


@LISTS
def test_a_list_that_did_not_end_and_was_not_read_back_to_the_call_proves_nothing(find_by: FindBy) -> None:
    early = purchase("early", 60)
    short = judged(find_by, lost_call(), list_of(ours=[LATER, early]), ours=[LATER, early], reading={"ended": False})
    assert isinstance(short, Unclear)
    assert "too long" in short.note
    assert shown(find_by, lost_call(), reading={"ended": False}) == NOT_LISTED


@LISTS
def test_a_list_out_of_order_does_not_end_at_an_older_row(find_by: FindBy) -> None:
    rows = tuple(reversed(list_of()))
    assert isinstance(judged(find_by, lost_call(), rows, reading={"ended": False}), Unclear)
    shuffled = [*list_of(), Listed("x", at(-50), "other", str(OURS)), Listed("y", at(500), "other")]
    verdict = judged(find_by, lost_call(), shuffled, reading={"pages": 3}, owned=["x", "y"])
    assert isinstance(verdict, Unclear)
    assert "order" in verdict.note


@LISTS
def test_a_list_of_one_page_that_ended_needs_no_order_and_one_oldest_first_is_as_good(find_by: FindBy) -> None:
    rows = tuple(reversed(list_of()))
    assert judged(find_by, lost_call(), rows) == NOT_LISTED
    assert judged(find_by, lost_call(), rows, reading={"pages": 3}) == NOT_LISTED


@LISTS
def test_a_reading_with_a_fault_proves_nothing_and_says_which(find_by: FindBy) -> None:
    verdict = shown(find_by, lost_call(), reading={"fault": "its pagination does not end"})
    assert isinstance(verdict, Unclear)
    assert "its pagination does not end" in verdict.note


ECHOES: Final = {
    "cut": "a quiet h",
    "typed otherwise": "A  quiet\u2019 harbour\u2026",
    "enhanced": "An award-winning photograph of a port at dawn, 8k",
    "empty": "",
    "not shown": None,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("second", [1, 100, 299])
def test_a_picture_of_that_time_that_nobody_owns_may_be_ours_whatever_its_prompt_reads(
    echo: str | None, second: float
) -> None:
    verdict = shown("prompt", lost_call(), made("x", second, prompt=echo))
    assert isinstance(verdict, Unclear)
    assert "may be this call's" in verdict.note


@pytest.mark.parametrize("echo", [ECHOES["cut"], ECHOES["typed otherwise"], ECHOES["not shown"]])
def test_a_later_picture_whose_prompt_may_be_a_changed_echo_of_ours_proves_nothing(echo: str | None) -> None:
    late = made("x", 400, prompt=echo)
    assert isinstance(shown("prompt", lost_call(), late), Unclear)
    assert shown("prompt", lost_call(), replace(late, prompt="a tram in the fog")) == NOT_LISTED


def test_a_picture_with_the_very_prompt_of_another_lost_call_is_that_calls() -> None:
    theirs = made("x", prompt="a tram")
    assert isinstance(shown("prompt", lost_call(), theirs), Unclear)
    assert shown("prompt", lost_call(), theirs, rivals=[rival("a tram")]) == NOT_LISTED
    assert isinstance(shown("prompt", lost_call(), replace(theirs, prompt="a tr"), rivals=[rival("a tram")]), Unclear)


def test_of_the_rows_with_the_very_prompt_of_other_lost_calls_no_more_are_theirs_than_they_want() -> None:
    one, two, third = (made(name, prompt="a tram") for name in "abc")
    pair = [rival("a tram", quiet_in=-15), rival(" a  tram", fingerprint=b"g", quiet_in=-15)]
    assert isinstance(shown("prompt", lost_call(), one, two, rivals=pair[:1]), Unclear)
    assert shown("prompt", lost_call(), one, two, rivals=pair) == NOT_LISTED
    assert shown("prompt", lost_call(), one, two, rivals=[rival("a tram", wanted=2)]) == NOT_LISTED
    assert isinstance(shown("prompt", lost_call(), one, two, third, rivals=pair), Unclear)


def test_only_rows_of_its_own_time_count_as_what_another_lost_call_made() -> None:
    ours, theirs, old = made("a", 1, prompt="a tram"), made("b", -60, prompt="a tram"), made("c", -900, prompt="a tram")
    spanned = replace(rival("a tram", quiet_in=-15), opened_at=at(-90), until=at(100))
    assert shown("prompt", lost_call(), ours, old, rivals=[spanned]) == NOT_LISTED
    assert isinstance(shown("prompt", lost_call(), ours, theirs, rivals=[spanned]), Unclear)


@pytest.mark.parametrize("prompt", [f"{PROMPT}, at night", "a QUIET harbour\u2026", "a quiet"])
def test_a_row_with_another_lost_calls_prompt_may_be_ours_where_the_two_prompts_are_alike(prompt: str) -> None:
    row = made("x", prompt=prompt)
    assert isinstance(shown("prompt", lost_call(), row, rivals=[rival(prompt, quiet_in=-15)]), Unclear)
    assert shown("prompt", lost_call(), row, rivals=[rival(prompt, quiet_in=-4)]) == Later(11)


@pytest.mark.parametrize("prompt", [PROMPT, " a quiet\nharbour ", "a quiet h", "A Quiet Harbour.", None])
def test_a_row_of_the_calls_time_and_words_that_lacks_its_reference_may_be_ours(prompt: str | None) -> None:
    dropped = made("x", reference="", prompt=prompt)
    assert isinstance(shown("reference", lost_call(), dropped), Unclear)
    assert shown("reference", lost_call(), replace(dropped, made_at=at(400))) == NOT_LISTED


@LISTS
@pytest.mark.parametrize("row", [Listed(), Listed(None, at(5)), Listed("odd", None, None)])
def test_a_row_that_cannot_be_read_may_be_ours_and_is_said_to_be_unreadable(find_by: FindBy, row: Listed) -> None:
    verdict = judged(find_by, lost_call(), [row_of(LATER), row, row_of(EARLIER)])
    assert isinstance(verdict, Unclear)
    assert find_by == "time" or "cannot be read" in verdict.note


@LISTS
def test_a_row_with_our_reference_and_no_id_is_ours_and_proves_no_absence(find_by: FindBy) -> None:
    row = made("x", reference=str(OURS), prompt="enhanced")
    for second in (-9000, 1, 9000):
        verdict = shown(find_by, lost_call(), replace(row, upstream_id=None, made_at=at(second)))
        assert isinstance(verdict, Unclear)
        assert "carries this call's reference" in verdict.note
    theirs = replace(row, upstream_id=None, made_at=at(-9000), reference=str(THEIRS))
    assert shown(find_by, lost_call(), theirs) == NOT_LISTED


@LISTS
@pytest.mark.parametrize(
    "rows",
    [
        [Listed(None, at(-2000)), Listed("x", at(-2001), None)],
        [row_of(EARLIER), Listed(), Listed("old", at(-9000))],
    ],
)
def test_a_row_that_cannot_be_read_and_cannot_be_the_calls_is_passed_over(find_by: FindBy, rows: list[Listed]) -> None:
    every = [row_of(LATER), *([] if row_of(EARLIER) in rows else [row_of(EARLIER)]), *rows]
    assert judged(find_by, lost_call(), every) == NOT_LISTED


def test_without_the_reference_on_our_own_rows_a_row_without_one_proves_nothing() -> None:
    bare = tuple(replace(row, reference="") for row in list_of())
    stranger = made("x", reference="")
    assert judged("reference", lost_call(), bare) == NOT_LISTED
    assert isinstance(judged("reference", lost_call(), (*bare, stranger)), Unclear)
    assert shown("reference", lost_call(), replace(stranger, prompt="a tram")) == NOT_LISTED


def test_a_row_that_was_not_looked_at_for_its_reference_may_be_ours() -> None:
    assert isinstance(shown("reference", lost_call(), made("x", reference=None)), Unclear)


def test_a_picture_that_a_call_in_the_air_may_own_is_waited_for_and_not_for_ever() -> None:
    young = square("young")
    in_the_air = {"in_the_air_since": at(400)}
    late = replace(young, made_at=at(401))
    assert shown("time", lost_call(), late, **in_the_air) == Later(15)
    assert isinstance(shown("time", replace(lost_call(), quiet_in=-3601), late, **in_the_air), Unclear)
    assert isinstance(shown("time", lost_call(), replace(young, made_at=at(390)), **in_the_air), Unclear)


def test_what_is_lacking_says_that_the_next_purchase_has_it_read_again() -> None:
    lacking = judged("prompt", lost_call(), [], ours=[])
    assert isinstance(lacking, Lacking)
    assert "read again when the account's next purchase settles" in lacking.note
    assert timedelta(0) < ASKED - at(0)
