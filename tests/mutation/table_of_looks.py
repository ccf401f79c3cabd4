"""The mutants of the looks for lost calls: what a list or a figure may not be taken for."""

from typing import Final

from tests.mutation.mutant import Mutant

LOOKS: Final[tuple[Mutant, ...]] = (
    Mutant(
        removed="the memory of a link beside a state that is no end",
        protects="a look that is refused at the last bound does not lose the link of the looks before",
        file="worker/stages/look_plan.py",
        old="    if change.state in IMAGE_UNFINISHED and change.link not in {None, row.link}:\n",
        new="    if change.link not in {change.link, row.link}:\n",
        tests=(
            (
                "tests/integration/test_belief.py::"
                "test_a_link_beside_a_state_that_is_no_end_is_remembered_until_the_last_bound"
            ),
        ),
    ),
    Mutant(
        removed="the reading of a look that broke off behind its JSON",
        protects="what is bought through a wrong length is collected through it too",
        file="worker/providers/asking.py",
        old="        if reply.status is None or not is_success(reply.status) or not seen:\n",
        new="        if reply is not None:\n",
        tests=(
            (
                "tests/unit/test_refusals_polls.py::"
                "test_whole_json_that_shows_the_picture_is_an_answer_although_it_broke_off"
            ),
        ),
    ),
    Mutant(
        removed="the whole answer that a proof of absence needs",
        protects="a list of which a part is missing never makes the queue buy a call again",
        file="worker/providers/asking.py",
        old="        if reply.status is None or not is_success(reply.status) or not seen:\n",
        new="        if reply.status is None or not is_success(reply.status):\n",
        tests=("tests/unit/test_refusals_polls.py::test_a_list_that_is_to_prove_an_absence_must_have_come_to_its_end",),
    ),
    Mutant(
        removed="the doubt about a failure of what was finished",
        protects="one wrong word beside one dead link ends no paid picture",
        file="worker/next_step/failed_copy.py",
        old="    if not look.sure or look.state is ImageState.FAILED:\n",
        new="    if not look.sure:\n",
        tests=(
            (
                "tests/unit/test_next_step_images.py::"
                "test_a_failure_of_what_was_finished_is_believed_after_several_looks"
            ),
        ),
    ),
    Mutant(
        removed="the memory that an image was called finished",
        protects="one wrong word behind a missing link ends no paid picture",
        file="worker/next_step/image_look.py",
        old="    if found is not None and found.sure and not _was_finished(image, found):\n",
        new="    if found is not None and found.sure:\n",
        tests=("tests/unit/test_next_step_images.py::test_so_is_a_failure_of_what_was_called_finished_without_a_link",),
    ),
    Mutant(
        removed="the key that an absence is judged with",
        protects="the list of another key's project is not taken for proof that nothing was bought",
        file="worker/lost_calls/absence.py",
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
        file="worker/lost_calls/adoption.py",
        old="        same = [row for row in named if not contradicts(row, facts.wanted)]\n",
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
        file="worker/stages/look_requests.py",
        old="    await _ask_left_open(runtime, account, looks)\n",
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
    Mutant(
        removed="the rows that a list counts and does not show",
        protects="a list that lacks rows of its own count proves no absence",
        file="worker/lost_calls/listing.py",
        old=" if total > len(rows) else None)",
        new=" if total < 0 else None)",
        tests=("tests/unit/test_listing.py::test_a_list_that_counts_more_rows_than_it_shows_may_hide_one",),
    ),
    Mutant(
        removed="the pages that a page counts",
        protects="a page that counts further pages is not the end of its list",
        file="worker/providers/listed.py",
        old="    said = [*flags, *totals, *nexts, *pages]\n",
        new="    said = [*flags, *totals, *nexts]\n",
        tests=("tests/unit/test_listing.py::test_a_page_that_counts_further_pages_is_not_the_last",),
    ),
    Mutant(
        removed="the word of a list that it is not whole",
        protects="a list that says that it is partial proves no absence",
        file="worker/providers/bloom.py",
        old="            check_whole(answer := read_json(reply.body))\n",
        new="            answer = read_json(reply.body)\n",
        tests=("tests/unit/test_refusals_lookups.py::test_a_list_that_says_that_it_is_not_whole_proves_nothing",),
    ),
    Mutant(
        removed="the doubt of an owner whose answer may have named another call's picture",
        protects="a lost call's picture that another call's answer names is not taken for that call's own",
        file="worker/lost_calls/list_facts.py",
        old="        return not is_doubtful(row, owner, lost_call, self._bounds, slack_seconds=self.slack_seconds)\n",
        new="        return True\n",
        tests=(
            (
                "tests/unit/test_lookup_owners.py::"
                "test_a_picture_that_was_there_before_its_owners_call_began_may_be_the_lost_calls"
            ),
        ),
    ),
    Mutant(
        removed="the question whose a refused look is",
        protects="one image that its provider refuses to show does not stop its account by turns",
        file="worker/stages/poll.py",
        old="    refused = None if looks.of_one_job else looks.refusal\n",
        new="    refused = looks.refusal\n",
        tests=(
            (
                "tests/integration/test_refused_alone.py::"
                "test_one_job_that_is_always_refused_does_not_pause_its_account_by_turns"
            ),
        ),
    ),
    Mutant(
        removed="the other spellings of an id that is not there",
        protects="an image whose id was answered in another case is not given up as gone",
        file="worker/stages/look_requests.py",
        old="        await _ask_in_other_case(runtime, account, looks)\n",
        new="",
        tests=(
            (
                "tests/integration/test_refused_alone.py::"
                "test_an_image_that_its_provider_knows_in_another_case_is_found_there"
            ),
        ),
    ),
    Mutant(
        removed="the image's own answer when its last bound passes",
        protects="a link that a list leaves out is not lost with the last bound",
        file="worker/stages/look_requests.py",
        old="    await _ask_for_the_last_time(runtime, account, asked, looks)\n",
        new="",
        tests=(
            (
                "tests/integration/test_refused_alone.py::"
                "test_a_picture_whose_list_row_has_no_link_is_asked_for_by_itself_when_the_last_bound_passes"
            ),
        ),
    ),
    Mutant(
        removed="the doubt of a reset that is longer than any window",
        protects="milliseconds that are taken for seconds do not stop an account for most of a day",
        file="worker/providers/times.py",
        old="        return left if number > EPOCH_FROM else credible_wait(left)\n",
        new="        return left\n",
        tests=("tests/unit/test_refusals.py::test_the_wait_is_read_from_what_the_headers_say",),
    ),
    Mutant(
        removed="the second reading of a look by the parser of paid calls",
        protects="what was bought under an odd head is collected under it",
        file="worker/transport/api_get.py",
        old="                    return await self._ask_leniently(request, came)\n",
        new="                    raise\n",
        tests=("tests/unit/test_api_get.py::test_a_head_that_a_paid_call_is_read_under_is_read_by_a_look_too",),
    ),
    Mutant(
        removed="the doubt of a time that is a date or the beginning of a clock",
        protects="a row whose time is none is not taken for one that was made before the call",
        file="worker/providers/listed.py",
        old="        return found if len(value) > _DATE_CHARS and found.year >= _FIRST_YEAR else None\n",
        new="        return found\n",
        tests=(
            (
                "tests/unit/test_refusals_lookups.py::"
                "test_a_date_and_the_moment_at_which_a_clock_begins_are_no_time_of_a_row"
            ),
        ),
    ),
    Mutant(
        removed="the doubt of a time without a zone beside times that name theirs",
        protects="a row of another zone is not taken for one that was made before the call",
        file="worker/lost_calls/listing.py",
        old="    return tuple(replace(row, made_at=None) if row.is_local else row for row in rows)\n",
        new="    return tuple(rows)\n",
        tests=("tests/unit/test_listing.py::test_a_time_without_a_zone_says_nothing_beside_times_that_name_theirs",),
    ),
    Mutant(
        removed="the forms in which a reference may be written",
        protects="a picture that carries our reference in another form is not taken for another call's",
        file="worker/providers/banatie.py",
        old="        return str(UUID(reference.strip()))\n",
        new="        return reference\n",
        tests=("tests/unit/test_refusals_lookups.py::test_a_reference_of_ours_is_known_in_any_form_of_a_uuid",),
    ),
    Mutant(
        removed="the row from before the call that a list must show",
        protects="a list of the last half hour is not taken for one that goes back to the call",
        file="worker/lost_calls/absence.py",
        old="    if not _reaches_beyond(lost_call, facts):\n",
        new="    if lost_call.cancelled and not _reaches_beyond(lost_call, facts):\n",
        tests=(
            (
                "tests/unit/test_lookup_reach.py::"
                "test_a_list_that_calls_itself_whole_and_shows_nothing_from_before_the_call_proves_nothing"
            ),
        ),
    ),
    Mutant(
        removed="the purchases between the call and the oldest row that a list must show",
        protects="a list with a gap around the call is not taken for whole",
        file="worker/lost_calls/absence.py",
        old="        if _is_near(one, lost_call) or _lies_between(one, oldest, lost_call, facts)\n",
        new="        if _is_near(one, lost_call)\n",
        tests=(
            (
                "tests/unit/test_lookup_reach.py::"
                "test_a_purchase_between_the_call_and_the_oldest_row_that_is_missing_voids_the_list_at_any_distance"
            ),
        ),
    ),
    Mutant(
        removed="what other accounts bought with the same key, of what a list must show",
        protects="a list that hides the purchases of another account of the key is not taken for whole",
        file="worker/lost_calls/absence.py",
        old="    if not one.same_account and not lost_call.was_made_with(one.key_id):\n",
        new="    if not one.same_account:\n",
        tests=(
            "tests/unit/test_lookup_reach.py::test_what_another_account_bought_with_the_same_key_must_be_listed_too",
        ),
    ),
    Mutant(
        removed="the fault of a cursor that leads back",
        protects="a page of known rows that calls itself the last is not taken for the end of the list",
        file="worker/lost_calls/listing.py",
        old='        return "it shows rows again" if old else None\n',
        new="        return None\n",
        tests=(
            (
                "tests/unit/test_listing.py::"
                "test_a_cursor_that_leads_back_to_known_rows_is_a_fault_although_its_page_calls_itself_the_last"
            ),
        ),
    ),
    Mutant(
        removed="the rows that a list shows under another row's id",
        protects="a picture that is listed under a wrong id is not taken for absent",
        file="worker/lost_calls/listing.py",
        old="        elif not _is_same(known[name], row):\n",
        new="        elif name not in known:\n",
        tests=(
            (
                "tests/unit/test_listing.py::"
                "test_a_second_row_of_an_id_that_says_something_else_stays_as_a_row_without_an_id"
            ),
        ),
    ),
    Mutant(
        removed="the row that has our reference and no id",
        protects="what carries the call's reference is never taken for another call's",
        file="worker/lost_calls/lookup.py",
        old="    if _is_nameless(lost_call, facts):\n",
        new="    if lost_call.cancelled and _is_nameless(lost_call, facts):\n",
        tests=(
            "tests/unit/test_lookup_proof.py::test_a_row_with_our_reference_and_no_id_is_ours_and_proves_no_absence",
        ),
    ),
    Mutant(
        removed="the deleted rows of Banatie's list",
        protects="what was bought and then deleted at Banatie is not taken for never bought",
        file="worker/lost_calls/read_list.py",
        old="with_deleted=True",
        new="with_deleted=False",
        tests=(
            (
                "tests/integration/test_lookup_odd_lists.py::"
                "test_what_was_deleted_at_banatie_is_not_taken_for_never_bought"
            ),
        ),
    ),
    Mutant(
        removed="the fault of a list in which a name comes twice",
        protects="rows that a reader of JSON passes over are not taken for absent",
        file="worker/lost_calls/listing.py",
        old="        fault = fault or answer.fault or (",
        new="        fault = fault or (",
        tests=("tests/unit/test_listing.py::test_the_fault_of_any_page_is_the_readings",),
    ),
    Mutant(
        removed="the digits of a usage figure",
        protects="a charge below the last digit of a rounded figure is not taken for none",
        file="shared/db/lost_calls/stated_costs.py",
        old=" and growth.models <= self.models and self._would_show(growth)\n",
        new=" and growth.models <= self.models\n",
        tests=(
            (
                "tests/unit/test_usage_figures.py::"
                "test_a_figure_proves_nothing_of_a_call_that_may_cost_no_more_than_its_last_digit"
            ),
        ),
    ),
    Mutant(
        removed="the difference between an unstated figure and 0",
        protects="a charge in a figure that a key does not state is not taken for none",
        file="worker/providers/openrouter.py",
        old='cost_of(key.get("byok_usage"))\n',
        new='cost_of(key.get("byok_usage", 0))\n',
        tests=(
            (
                "tests/unit/test_refusals_lookups.py::"
                "test_what_an_openrouter_key_has_used_up_is_told_from_what_its_owner_pays_elsewhere"
            ),
        ),
    ),
    Mutant(
        removed="the order of several pictures of one reference",
        protects="a failed twin does not stand in for the picture that was paid for",
        file="worker/lost_calls/lookup.py",
        old="    rows = sorted(_with_reference(lost_call, facts), key=lambda row: row.failed)\n",
        new="    rows = _with_reference(lost_call, facts)\n",
        tests=(
            "tests/unit/test_lookup.py::test_of_several_pictures_of_one_reference_those_that_did_not_fail_come_first",
        ),
    ),
)
