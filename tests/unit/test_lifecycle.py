"""The lifecycle as data: every job can end, and nothing leads from bought back to buying."""

from itertools import product

import pytest

from shared.lifecycle import FINAL, POLLED, TRANSITIONS, IllegalTransitionError, JobState, check_transition

BOUGHT = POLLED | {JobState.TRANSFERRING}


def reachable(start: JobState, without: frozenset[JobState] = frozenset()) -> set[JobState]:
    found, left = {start}, [start]
    while left:
        for state in TRANSITIONS[left.pop()] - found - without:
            found.add(state)
            left.append(state)
    return found


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(JobState)


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL))
def test_every_open_job_can_succeed_or_fail(state: JobState) -> None:
    assert {JobState.SUCCEEDED, JobState.FAILED} <= reachable(state)


@pytest.mark.parametrize("state", sorted(BOUGHT))
def test_what_is_bought_is_never_bought_again_before_it_ends(state: JobState) -> None:
    assert not {JobState.QUEUED, JobState.SUBMITTING, JobState.IN_DOUBT} & reachable(state, without=FINAL)


def test_money_is_spent_only_from_the_queue() -> None:
    assert {state for state in JobState if JobState.SUBMITTING in TRANSITIONS[state]} == {JobState.QUEUED}


def test_only_a_failed_job_can_be_bought_again_and_a_cancelled_one_only_collected() -> None:
    assert TRANSITIONS[JobState.CANCELLED] == {JobState.PENDING, JobState.TRANSFERRING}
    assert {state for state in FINAL if JobState.QUEUED in TRANSITIONS[state]} == {JobState.FAILED}
    assert not TRANSITIONS[JobState.SUCCEEDED]


def test_an_unknown_answer_is_held_and_never_goes_on_by_itself_to_success() -> None:
    assert JobState.SUCCEEDED not in TRANSITIONS[JobState.IN_DOUBT]
    assert JobState.SUBMITTING not in TRANSITIONS[JobState.IN_DOUBT]


@pytest.mark.parametrize(("before", "after"), list(product(JobState, JobState)))
def test_a_transition_that_is_not_listed_is_refused(before: JobState, after: JobState) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {before} to {after}"):
            check_transition(before, after)


def test_the_table_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[JobState.SUCCEEDED] = frozenset({JobState.QUEUED})  # type: ignore[index]
