"""Look-ups: whose the pictures are that a provider's list shows and nobody owns, one to one or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db.lost_calls.lost_calls import LostCall, OtherCall
from tests.support.listings import (
    OURS,
    PROMPT,
    QUIET,
    SENT,
    lost_call,
    made,
    rival,
    shown,
    square,
)
from worker.lost_calls.judgement import NOT_LISTED, Adopt, Later, Unclear
from worker.providers.contract import FindBy, Listed


def test_only_what_carries_our_own_reference_is_ours_whoever_else_is_in_doubt() -> None:
    rows = [made("theirs", reference=str(uuid4())), made("bare", reference=""), made("mine", reference=str(OURS))]
    rivals = [rival(), rival(quiet_in=60)]
    assert shown("reference", lost_call(), *rows, rivals=rivals) == Adopt(("mine",))
    others = [rows[0], replace(rows[1], prompt="a tram")]
    assert shown("reference", lost_call(), *others, rivals=rivals) == NOT_LISTED


BRAND: Final = "11111111-1111-4111-8111-11111111aaaa"
ASKED_FOR: Final = {"aspectRatio": "1:1", "brandSessionId": BRAND, "prompt": PROMPT}


@pytest.mark.parametrize(
    "said",
    [
        [("aspectRatio", "21:9")],
        [("brandSessionId", "99999999-9999-4999-8999-999999999999")],
        [("aspectRatio", "1:1"), ("brandSessionId", "99999999-9999-4999-8999-999999999999")],
    ],
)
def test_a_row_that_says_it_was_asked_for_otherwise_is_not_adopted_and_proves_no_absence(said: Any) -> None:
    other = made("stranger", stated=tuple(said))
    verdict = shown("prompt", lost_call(), other, wanted=ASKED_FOR)
    assert isinstance(verdict, Unclear)
    assert [row.upstream_id for row in verdict.candidates] == ["stranger"]
    mine = made("mine", 2, stated=(("aspectRatio", "1:1"), ("brandSessionId", BRAND)))
    assert shown("prompt", lost_call(), other, mine, wanted=ASKED_FOR) == Adopt(("mine",))


@pytest.mark.parametrize(
    "said",
    [
        (),
        (("aspectRatio", " 1 : 1 "),),
        (("aspectRatio", "1x1"), ("brandSessionId", BRAND.upper())),
        (("brandSessionId", BRAND.replace("-", "")),),
        (("imageSize", "4K"),),
    ],
)
def test_what_either_side_does_not_say_or_writes_otherwise_contradicts_nothing(said: Any) -> None:
    assert shown("prompt", lost_call(), made("mine", stated=said), wanted=ASKED_FOR) == Adopt(("mine",))
    assert shown("prompt", lost_call(), made("mine", stated=(("aspectRatio", "3:2"),))) == Adopt(("mine",))


@pytest.mark.parametrize("second", [-90_000, -1, 1, 90_000])
@pytest.mark.parametrize("prompt", [None, "", "enhanced beyond recognition"])
def test_a_reference_counts_at_any_time_and_under_any_prompt(second: float, prompt: str | None) -> None:
    row = made("mine", second, reference=str(OURS), prompt=prompt)
    assert shown("reference", lost_call(), row) == Adopt(("mine",))
    assert shown("reference", lost_call(), replace(row, made_at=None)) == Adopt(("mine",))


def test_a_reference_counts_for_as_many_pictures_as_were_asked_for_and_the_rest_are_unowned() -> None:
    rows = [made(f"r{number}", -number, reference=str(OURS)) for number in range(5)]
    assert shown("reference", lost_call(), *rows) == Adopt(("r0",), ("r1", "r2", "r3", "r4"))
    assert shown("reference", lost_call(missing=2), *rows) == Adopt(("r0", "r1"), ("r2", "r3", "r4"))


@pytest.mark.parametrize("failed", [{0}, {0, 2}, {1}, {0, 1, 2}, set()])
def test_of_several_pictures_of_one_reference_those_that_did_not_fail_come_first(failed: set[int]) -> None:
    rows = [made(f"r{number}", -number, reference=str(OURS), failed=number in failed) for number in range(3)]
    verdict = shown("reference", lost_call(), *rows)
    assert isinstance(verdict, Adopt)
    names = [*verdict.upstream_ids, *verdict.additional]
    assert [int(name[1:]) in failed for name in names] == sorted(number in failed for number in range(3))
    assert sorted(names) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])
def test_what_another_call_owns_is_not_ours(find_by: FindBy) -> None:
    theirs = made("theirs", reference=str(OURS), width=512, height=512)
    assert shown(find_by, lost_call(), theirs, owned=["theirs"]) == NOT_LISTED


@pytest.mark.parametrize("find_by", ["prompt", "time"])
def test_what_was_made_after_the_call_was_over_is_not_ours_and_proves_nothing_either(find_by: FindBy) -> None:
    """The network may hold a request back for longer than a call can last."""
    last = Listed("last", QUIET, PROMPT, width=512, height=512)
    late = Listed("late", QUIET + timedelta(seconds=10), PROMPT, width=512, height=512)
    assert shown(find_by, replace(lost_call(), quiet_in=-14), late) == Later(15)
    assert isinstance(shown(find_by, replace(lost_call(), quiet_in=-15), late), Unclear)
    assert shown(find_by, lost_call(), last, late) == Adopt(("last",))


def test_a_single_call_gets_the_single_picture_of_its_prompt() -> None:
    assert shown("prompt", lost_call(), made("a")) == Adopt(("a",))
    assert shown("prompt", lost_call(missing=2), made("b", 2), made("a", 1)) == Adopt(("a", "b"))


def test_equal_twins_are_dealt_out_one_to_one() -> None:
    rows = [made("c", 3), made("a", 1), made("b", 2)]
    owned: list[str] = []
    for others in (2, 1, 0):
        verdict = shown("prompt", lost_call(), *rows, rivals=[rival()] * others, owned=owned)
        assert isinstance(verdict, Adopt)
        owned += verdict.upstream_ids
    assert sorted(owned) == ["a", "b", "c"]


def test_of_equal_twins_of_which_only_some_bought_the_first_gets_what_there_is_and_the_last_is_proved_unbought() -> (
    None
):
    assert shown("prompt", lost_call(), made("a"), rivals=[rival()]) == Adopt(("a",))
    assert shown("prompt", lost_call(), made("a"), owned=["a"]) == NOT_LISTED
    rows = [made(name) for name in "ab"]
    assert shown("prompt", lost_call(missing=2), *rows, rivals=[rival(wanted=2)] * 2) == Adopt(("a", "b"))


def test_a_twin_that_a_person_settled_may_own_the_only_picture() -> None:
    settled = replace(rival(), settled=True)
    assert isinstance(shown("prompt", lost_call(), made("a"), rivals=[settled]), Unclear)


@pytest.mark.parametrize(("missing", "others", "count"), [(1, 0, 2), (1, 1, 3), (2, 0, 1), (2, 1, 3), (2, 1, 1)])
def test_too_many_or_too_few_pictures_are_a_persons_to_judge(missing: int, others: int, count: int) -> None:
    rows = [made(f"p{number}") for number in range(count)]
    verdict = shown("prompt", lost_call(missing=missing), *rows, rivals=[rival(wanted=missing)] * others)
    assert isinstance(verdict, Unclear)
    assert str(count) in verdict.note


def test_twins_that_asked_for_different_things_are_not_told_apart_by_their_prompt() -> None:
    rivals = [rival(), rival(fingerprint=b"another ratio")]
    rows = [made(name) for name in "abc"]
    assert isinstance(shown("prompt", lost_call(), *rows, rivals=rivals), Unclear)


def test_a_twin_that_misses_another_number_of_pictures_is_no_equal() -> None:
    rows = [made("a"), made("b")]
    assert isinstance(shown("prompt", lost_call(), *rows, rivals=[rival(wanted=2)]), Unclear)
    assert isinstance(shown("prompt", lost_call(missing=2), *rows, rivals=[rival(wanted=0)]), Unclear)


def test_what_others_asked_for_with_another_prompt_does_not_matter_where_a_list_shows_prompts() -> None:
    others = [rival("a tram", quiet_in=600), rival("a train", fingerprint=b"g")]
    assert shown("prompt", lost_call(), made("a"), rivals=others) == Adopt(("a",))
    twin = rival(f" {PROMPT.replace(' ', '  ')}\n", fingerprint=b"g")
    assert isinstance(shown("prompt", lost_call(), made("a"), rivals=[twin]), Unclear)


@pytest.mark.parametrize("find_by", ["prompt", "time"])
@pytest.mark.parametrize("rows", [(), (square("a"),), (square("a"), square("b"))])
def test_while_a_rival_may_still_buy_or_show_nothing_is_judged(find_by: FindBy, rows: tuple[Listed, ...]) -> None:
    rivals = [rival(quiet_in=-5), rival(quiet_in=7), rival(quiet_in=30)]
    assert shown(find_by, lost_call(), *rows, rivals=rivals) == Later(30)


@pytest.mark.parametrize("ratio", [None, "1:1"])
def test_a_time_alone_settles_one_call_and_one_picture_of_the_right_shape(ratio: str | None) -> None:
    request: dict[str, Any] = {"aspect_ratio": ratio} if ratio else {}
    assert shown("time", lost_call(**request), square("a")) == Adopt(("a",))
    wide = made("a", width=1344, height=768)
    assert shown("time", lost_call(aspect_ratio="16:9"), wide) == Adopt(("a",))
    assert isinstance(shown("time", lost_call(**request), wide), Unclear)


def test_a_picture_without_a_size_is_still_being_made_and_looked_at_again_for_an_hour() -> None:
    for unfinished in (made("a"), made("a", width=0, height=0), made("a", width=512)):
        assert shown("time", lost_call(), unfinished) == Later(60)
        assert isinstance(shown("time", replace(lost_call(), quiet_in=-3601), unfinished), Unclear)


@pytest.mark.parametrize(
    ("asked", "rows", "rivals"),
    [
        (lost_call(), [square("a"), square("b")], []),
        (lost_call(), [square("a")], [rival("anything else")]),
        (lost_call(), [square("a"), square("b")], [rival()]),
        (lost_call(missing=2), [square("a"), square("b")], []),
        (lost_call(missing=2), [square("a")], []),
        (replace(lost_call(), quiet_in=-7200), [made("a")], []),
        (replace(lost_call(), quiet_in=-7200), [made("a", width=0, height=0)], []),
        (lost_call(aspect_ratio="auto"), [square("a")], []),
        (lost_call(aspect_ratio="1:0"), [square("a")], []),
    ],
)
def test_a_time_alone_settles_nothing_else(asked: LostCall, rows: list[Listed], rivals: list[OtherCall]) -> None:
    assert isinstance(shown("time", asked, *rows, rivals=rivals), Unclear)


KINDS: Final = st.sampled_from(["reference", "prompt", "time"])
NAMES: Final = st.sampled_from("abcdefgh")
SHOWN: Final = st.lists(
    st.builds(
        made,
        NAMES,
        st.integers(0, 400),
        prompt=st.sampled_from([PROMPT, "q", None]),
        reference=st.sampled_from([None, "", str(OURS), str(UUID(int=2))]),
        width=st.sampled_from([None, 512]),
        height=st.sampled_from([None, 512, 640]),
    ),
    unique_by=lambda one: one.upstream_id,
    max_size=8,
)
RIVALS: Final = st.lists(
    st.builds(rival, st.sampled_from([PROMPT, "q"]), quiet_in=st.sampled_from([-1, 5])), max_size=3
)


@given(KINDS, SHOWN, RIVALS, st.sets(NAMES), st.integers(1, 3))
def test_what_is_adopted_is_exactly_as_much_as_was_asked_for_and_nobodys(
    find_by: FindBy, rows: list[Listed], rivals: list[OtherCall], owned: set[str], missing: int
) -> None:
    verdict = shown(find_by, lost_call(missing=missing), *rows, rivals=rivals, owned=sorted(owned))
    if isinstance(verdict, Adopt):
        referred = any(row.reference == str(OURS) for row in rows if row.upstream_id not in owned)
        assert len(set(verdict.upstream_ids)) == len(verdict.upstream_ids) <= missing
        assert referred or len(verdict.upstream_ids) == missing
        assert not owned & {*verdict.upstream_ids, *verdict.additional}


@given(KINDS, SHOWN, RIVALS, st.sets(NAMES))
def test_nothing_is_called_unbought_while_a_row_of_its_time_belongs_to_nobody(
    find_by: FindBy, rows: list[Listed], rivals: list[OtherCall], owned: set[str]
) -> None:
    verdict = shown(find_by, lost_call(), *rows, rivals=rivals, owned=sorted(owned))
    if verdict == NOT_LISTED:
        assert not [row for row in rows if row.upstream_id not in owned and _may_be_ours(find_by, row, rivals)]


def _may_be_ours(find_by: FindBy, row: Listed, rivals: Sequence[OtherCall]) -> bool:
    if row.reference == str(UUID(int=2)):
        return False
    if find_by == "reference":
        return row.reference != ""
    if find_by == "prompt" and row.made_at is not None and row.made_at > QUIET:
        return row.prompt in {PROMPT, None}
    return not (find_by == "prompt" and row.prompt == "q" and any(one.prompt == "q" for one in rivals))


@given(st.integers(1, 4), st.integers(1, 3), st.permutations("abcdefghijkl"))
def test_equal_calls_judged_one_after_the_other_share_out_exactly_what_they_bought(
    calls: int, missing: int, names: list[str]
) -> None:
    bought = names[: calls * missing]
    rows = [made(name, second) for second, name in enumerate(bought)]
    owned: list[str] = []
    for others in reversed(range(calls)):
        twins = [rival(wanted=missing)] * others
        verdict = shown("prompt", lost_call(missing=missing), *rows, rivals=twins, owned=owned)
        assert isinstance(verdict, Adopt)
        owned += verdict.upstream_ids
    assert sorted(owned) == sorted(bought)


@given(KINDS, SHOWN, st.sets(NAMES), st.integers(1, 2), st.sampled_from([b"f", b"g"]))
def test_two_doubts_judged_one_after_the_other_never_adopt_the_same_picture(
    find_by: FindBy, rows: list[Listed], owned: set[str], missing: int, other_print: bytes
) -> None:
    first = shown(
        find_by, lost_call(missing=missing), *rows, rivals=[rival(fingerprint=other_print)], owned=sorted(owned)
    )
    taken = set(first.upstream_ids) if isinstance(first, Adopt) else set()
    still_in_doubt = [] if taken else [rival()]
    asked = lost_call(missing=missing, fingerprint=other_print, submission=UUID(int=2))
    second = shown(find_by, asked, *rows, rivals=still_in_doubt, owned=sorted(owned | taken))
    adopted = set(second.upstream_ids) if isinstance(second, Adopt) else set()
    assert not taken & adopted
    assert not owned & adopted


def test_the_span_of_a_call_begins_when_it_was_sent() -> None:
    old = made("old", -60)
    assert shown("prompt", lost_call(), old) == NOT_LISTED
    assert SENT - timedelta(seconds=60) == old.made_at
