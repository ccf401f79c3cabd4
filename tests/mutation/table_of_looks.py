"""The mutants of the looks for lost calls: what a list or a figure may not be taken for."""

from typing import Final

from tests.mutation.mutant import Mutant

LOOKS: Final[tuple[Mutant, ...]] = (
    Mutant(
        removed="the key that an absence is judged with",
        protects="the list of another key's project is not taken for proof that nothing was bought",
        file="worker/lost_calls/lookup.py",
        old="    if not lost_call.was_made_with(facts.key_id):\n",
        new="    if not lost_call:\n",
        tests=(
            (
                "tests/unit/test_lookup_proof.py::"
                "test_a_list_of_another_key_than_the_one_that_paid_proves_nothing_and_may_still_show_what_was_bought"
            ),
        ),
    ),
    Mutant(
        removed="the plain words for the end of Bloom's list",
        protects="a page whose pagination cannot be read is not taken for the end of the list",
        file="worker/providers/bloom.py",
        old="    return plainly and more_rows(data, seen) is False\n",
        new="    return not more_rows(data, seen)\n",
        tests=("tests/unit/test_refusals_lookups.py::test_blooms_list_ends_only_where_it_says_plainly_that_it_does",),
    ),
    Mutant(
        removed="the number of rows that other lost calls want",
        protects="a retyped prompt that equals another lost call's does not hide what this call bought",
        file="worker/lost_calls/rivals.py",
        old="            theirs.update(places if len(places) <= sum(rival.wanted for rival in group) else ())\n",
        new="            theirs.update(places)\n",
        tests=(
            (
                "tests/unit/test_lookup_proof.py::"
                "test_of_the_rows_with_the_very_prompt_of_other_lost_calls_no_more_are_theirs_than_they_want"
            ),
        ),
    ),
    Mutant(
        removed="the trial of what a provider states",
        protects="a surplus of stated costs does not hide the charge of a lost call",
        file="worker/lost_calls/usage.py",
        old="    return _NOT_CHARGED if agreed.covers(growth) else _UNTRIED\n",
        new="    return _NOT_CHARGED if growth else _UNTRIED\n",
        tests=(
            (
                "tests/integration/test_usage.py::"
                "test_a_figure_is_not_believed_before_it_agreed_with_stated_costs_over_a_span_of_known_calls"
            ),
        ),
    ),
    Mutant(
        removed="what a row says of its call besides the prompt",
        protects="a stranger's picture of the same words but another shape or brand is not taken for ours",
        file="worker/lost_calls/lookup.py",
        old="        same = [row for row in named if not _contradicts(row, facts.wanted)]\n",
        new="        same = named\n",
        tests=(
            (
                "tests/unit/test_lookup.py::"
                "test_a_row_that_says_it_was_asked_for_otherwise_is_not_adopted_and_proves_no_absence"
            ),
        ),
    ),
    Mutant(
        removed="the single requests where a list of many fails",
        protects="a list that is broken for good keeps no finished picture from being collected",
        file="worker/stages/poll.py",
        old="    await _ask_unlisted(runtime, account, looks)\n",
        new="",
        tests=("tests/integration/test_poll_lists.py::test_pictures_whose_list_fails_are_asked_for_by_themselves",),
    ),
    Mutant(
        removed="the look at what stands beside an error",
        protects="a warning beside a finished picture loses nothing that is paid for",
        file="worker/providers/asking.py",
        old="    if any(_holds(reply.body, place) for place in answer_at):\n",
        new="    if False and any(_holds(reply.body, place) for place in answer_at):\n",
        tests=("tests/unit/test_errors_inside.py::test_a_warning_beside_what_was_asked_for_is_no_error",),
    ),
    Mutant(
        removed="the comparison of rows of one id",
        protects="a stale row beside the true one ends no picture",
        file="worker/providers/listed.py",
        old=" if all(item == items[0] for item in items)}",
        new="}",
        tests=("tests/unit/test_refusals_polls.py::test_rows_of_one_id_that_differ_prove_nothing",),
    ),
)
