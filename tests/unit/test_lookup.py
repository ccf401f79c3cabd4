"""Look-ups: whose the pictures are that a provider's list shows and nobody owns, one to one or not at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db.doubts import Doubt, Rival
from worker.lookup import NOT_LISTED, Adopt, Judgement, Later, Unclear, judge
from worker.providers.contract import Candidate, FindBy, Found

SENT: Final = datetime(2027, 1, 1, tzinfo=UTC)
QUIET: Final = SENT + timedelta(minutes=5)
OURS: Final = UUID(int=1)
PROMPT: Final = "a quiet harbour"


def doubt(*, missing: int = 1, fingerprint: bytes = b"f", submission: UUID = OURS, **request: Any) -> Doubt:
    return Doubt(
        submission_id=submission,
        job_id=uuid4(),
        request={"prompt": PROMPT, **request},
        fingerprint=fingerprint,
        missing=tuple(range(missing)),
        since=SENT,
        until=QUIET,
        quiet_in=-1,
        may_close=True,
        sender_lock=None,
        held_note=None,
    )


def rival(prompt: str = PROMPT, *, fingerprint: bytes = b"f", wanted: int = 1, quiet_in: float = -1) -> Rival:
    return Rival(fingerprint, prompt, wanted, quiet_in)


def made(name: str, second: float = 1, **more: Any) -> Candidate:
    return Candidate(name, SENT + timedelta(seconds=second), **more)


def square(name: str) -> Candidate:
    return made(name, width=1024, height=1024)


def judged(find_by: FindBy, asked: Doubt, *shown: Candidate, complete: bool = True, **more: Any) -> Judgement:
    given = {"rivals": (), "owned": (), **more}
    return judge(asked, Found(shown, complete), find_by=find_by, **given)


def test_only_what_carries_our_own_reference_is_ours_whoever_else_is_in_doubt() -> None:
    shown = [made("theirs", reference=str(uuid4())), made("bare"), made("mine", reference=str(OURS))]
    rivals = [rival(), rival(quiet_in=60)]
    assert judged("reference", doubt(), *shown, rivals=rivals) == Adopt(("mine",))
    assert judged("reference", doubt(), *shown[:2], rivals=rivals) == NOT_LISTED


@pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])
def test_an_empty_list_that_was_read_whole_says_that_nothing_was_bought_and_one_that_was_not_says_nothing(
    find_by: FindBy,
) -> None:
    assert judged(find_by, doubt()) == NOT_LISTED
    assert isinstance(judged(find_by, doubt(), complete=False), Unclear)


@pytest.mark.parametrize("find_by", ["reference", "prompt", "time"])
def test_what_another_call_owns_is_not_ours(find_by: FindBy) -> None:
    theirs = made("theirs", reference=str(OURS), width=512, height=512)
    assert judged(find_by, doubt(), theirs, owned={"theirs"}) == NOT_LISTED


@pytest.mark.parametrize("find_by", ["prompt", "time"])
def test_what_was_made_after_the_call_was_over_is_not_ours_and_proves_nothing_either(find_by: FindBy) -> None:
    """The network may hold a request back for longer than a call can last."""
    last = Candidate("last", QUIET, width=512, height=512)
    late = Candidate("late", QUIET + timedelta(milliseconds=1), width=512, height=512)
    assert judged(find_by, doubt(), late) == Later(15)
    assert isinstance(judged(find_by, replace(doubt(), quiet_in=-15), late), Unclear)
    assert judged(find_by, doubt(), last, late) == Adopt(("last",))


def test_what_carries_our_own_reference_is_ours_however_late_it_was_made() -> None:
    late = Candidate("late", QUIET + timedelta(hours=1), reference=str(OURS))
    assert judged("reference", doubt(), late) == Adopt(("late",))


def test_a_single_call_gets_the_single_picture_of_its_prompt() -> None:
    assert judged("prompt", doubt(), made("a")) == Adopt(("a",))
    assert judged("prompt", doubt(missing=2), made("b", 2), made("a", 1)) == Adopt(("a", "b"))


def test_equal_twins_are_dealt_out_one_to_one() -> None:
    shown = [made("c", 3), made("a", 1), made("b", 2)]
    owned: set[str] = set()
    for others in (2, 1, 0):
        verdict = judged("prompt", doubt(), *shown, rivals=[rival()] * others, owned=owned)
        assert isinstance(verdict, Adopt)
        owned.update(verdict.upstream_ids)
    assert owned == {"a", "b", "c"}


@pytest.mark.parametrize(("missing", "others", "count"), [(1, 0, 2), (1, 1, 1), (1, 1, 3), (2, 0, 1), (2, 1, 3)])
def test_too_many_or_too_few_pictures_are_a_persons_to_judge(missing: int, others: int, count: int) -> None:
    shown = [made(f"p{number}") for number in range(count)]
    verdict = judged("prompt", doubt(missing=missing), *shown, rivals=[rival(wanted=missing)] * others)
    assert isinstance(verdict, Unclear)
    assert str(count) in verdict.note


def test_twins_that_asked_for_different_things_are_not_told_apart_by_their_prompt() -> None:
    rivals = [rival(), rival(fingerprint=b"another ratio")]
    shown = [made(name) for name in "abc"]
    assert isinstance(judged("prompt", doubt(), *shown, rivals=rivals), Unclear)


def test_a_twin_that_misses_another_number_of_pictures_is_no_equal() -> None:
    shown = [made("a"), made("b")]
    assert isinstance(judged("prompt", doubt(), *shown, rivals=[rival(wanted=2)]), Unclear)
    assert isinstance(judged("prompt", doubt(missing=2), *shown, rivals=[rival(wanted=0)]), Unclear)


def test_what_others_asked_for_with_another_prompt_does_not_matter_where_a_list_shows_prompts() -> None:
    others = [rival("a tram", quiet_in=600), rival("a train", fingerprint=b"g")]
    assert judged("prompt", doubt(), made("a"), rivals=others) == Adopt(("a",))
    twin = rival(f" {PROMPT.replace(' ', '  ')}\n")
    assert isinstance(judged("prompt", doubt(), made("a"), rivals=[twin]), Unclear)


@pytest.mark.parametrize("find_by", ["prompt", "time"])
@pytest.mark.parametrize("shown", [(), (square("a"),), (square("a"), square("b"))])
def test_while_a_rival_may_still_buy_or_show_nothing_is_judged(find_by: FindBy, shown: tuple[Candidate, ...]) -> None:
    rivals = [rival(quiet_in=-5), rival(quiet_in=7), rival(quiet_in=30)]
    assert judged(find_by, doubt(), *shown, rivals=rivals) == Later(30)


@pytest.mark.parametrize("ratio", [None, "1:1"])
def test_a_time_alone_settles_one_call_and_one_picture_of_the_right_shape(ratio: str | None) -> None:
    request = {"aspect_ratio": ratio} if ratio else {}
    assert judged("time", doubt(**request), square("a")) == Adopt(("a",))
    wide = made("a", width=1344, height=768)
    assert judged("time", doubt(aspect_ratio="16:9"), wide) == Adopt(("a",))
    assert isinstance(judged("time", doubt(**request), wide), Unclear)


def test_a_picture_without_a_size_is_still_being_made_and_looked_at_again_for_an_hour() -> None:
    for unfinished in (made("a"), made("a", width=0, height=0), made("a", width=512)):
        assert judged("time", doubt(), unfinished) == Later(60)
        assert isinstance(judged("time", replace(doubt(), quiet_in=-3601), unfinished), Unclear)


@pytest.mark.parametrize(
    ("asked", "shown", "rivals"),
    [
        (doubt(), [square("a"), square("b")], []),
        (doubt(), [square("a")], [rival("anything else")]),
        (doubt(), [square("a"), square("b")], [rival()]),
        (doubt(missing=2), [square("a"), square("b")], []),
        (doubt(missing=2), [square("a")], []),
        (replace(doubt(), quiet_in=-7200), [made("a")], []),
        (replace(doubt(), quiet_in=-7200), [made("a", width=0, height=0)], []),
        (doubt(aspect_ratio="auto"), [square("a")], []),
        (doubt(aspect_ratio="1:0"), [square("a")], []),
    ],
)
def test_a_time_alone_settles_nothing_else(asked: Doubt, shown: list[Candidate], rivals: list[Rival]) -> None:
    assert isinstance(judged("time", asked, *shown, rivals=rivals), Unclear)


def test_a_picture_that_is_still_being_made_is_waited_for() -> None:
    assert isinstance(judged("time", doubt(), made("a")), Later)


KINDS: Final = st.sampled_from(["reference", "prompt", "time"])
NAMES: Final = st.sampled_from("abcdefgh")
SHOWN: Final = st.lists(
    st.builds(
        made,
        NAMES,
        st.integers(0, 400),
        reference=st.sampled_from([None, str(OURS), str(UUID(int=2))]),
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
    find_by: FindBy, shown: list[Candidate], rivals: list[Rival], owned: set[str], missing: int
) -> None:
    missing = 1 if find_by == "reference" else missing
    shown = _with_one_reference_each(shown)
    verdict = judged(find_by, doubt(missing=missing), *shown, rivals=rivals, owned=owned)
    if isinstance(verdict, Adopt):
        assert len(set(verdict.upstream_ids)) == len(verdict.upstream_ids) == missing
        assert not owned & set(verdict.upstream_ids)
        in_time = {one.upstream_id for one in shown if one.made_at <= QUIET or find_by == "reference"}
        assert set(verdict.upstream_ids) <= in_time
    if verdict == NOT_LISTED and find_by != "reference":
        assert {one.upstream_id for one in shown} <= owned


@given(st.integers(1, 4), st.integers(1, 3), st.permutations("abcdefghijkl"))
def test_equal_calls_judged_one_after_the_other_share_out_exactly_what_they_bought(
    calls: int, missing: int, names: list[str]
) -> None:
    bought = names[: calls * missing]
    shown = [made(name, second) for second, name in enumerate(bought)]
    owned: list[str] = []
    for others in reversed(range(calls)):
        twins = [rival(wanted=missing)] * others
        verdict = judged("prompt", doubt(missing=missing), *shown, rivals=twins, owned=set(owned))
        assert isinstance(verdict, Adopt)
        owned += verdict.upstream_ids
    assert sorted(owned) == sorted(bought)


@given(KINDS, SHOWN, st.sets(NAMES), st.integers(1, 2), st.sampled_from([b"f", b"g"]))
def test_two_doubts_judged_one_after_the_other_never_adopt_the_same_picture(
    find_by: FindBy, shown: list[Candidate], owned: set[str], missing: int, other_print: bytes
) -> None:
    first = judged(find_by, doubt(missing=missing), *shown, rivals=[rival(fingerprint=other_print)], owned=owned)
    taken = set(first.upstream_ids) if isinstance(first, Adopt) else set()
    still_in_doubt = [] if taken else [rival()]
    asked = doubt(missing=missing, fingerprint=other_print, submission=UUID(int=2))
    second = judged(find_by, asked, *shown, rivals=still_in_doubt, owned=owned | taken)
    adopted = set(second.upstream_ids) if isinstance(second, Adopt) else set()
    assert not taken & adopted
    assert not owned & adopted


def _with_one_reference_each(shown: list[Candidate]) -> list[Candidate]:
    """Drop what no provider shows: two pictures of one call of a provider that makes one picture a call."""
    seen: set[str] = set()
    kept = []
    for one in shown:
        if one.reference is None or one.reference not in seen:
            kept.append(one)
            seen.add(one.reference or "")
    return kept
