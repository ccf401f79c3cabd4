"""The mutants of odd answers to paid calls: what states a charge, names a purchase, or belongs to others."""

from typing import Final

from tests.mutation.mutant import Mutant

ANSWERS: Final[tuple[Mutant, ...]] = (
    Mutant(
        removed="the charge that an error states",
        protects="an error that states what it charged is never bought again automatically",
        file="worker/providers/tell_tales.py",
        old="    if charge := stated_charge(answer):\n",
        new="    if (charge := stated_charge(answer)) < 0:\n",
        tests=(
            "tests/unit/test_stated_charges.py::test_what_states_its_charge_is_never_refused_and_its_answer_is_kept",
        ),
    ),
    Mutant(
        removed="the stated charge when a call is judged unbought",
        protects="no list and no figure makes the queue buy a call again whose own answer states a charge",
        file="worker/next_step/lost_call.py",
        old="    if submission.error_code == CHARGE_STATED:\n",
        new="    if not submission.error_code:\n",
        tests=("tests/unit/test_next_step.py::test_a_call_whose_answer_states_a_charge_is_never_taken_for_unbought",),
    ),
    Mutant(
        removed="the look for a receipt under an error's status",
        protects="pictures that come under a wrong status are taken, not bought again",
        file="worker/providers/receipt.py",
        old="    if success or is_purchase(found, result.body):\n",
        new="    if success:\n",
        tests=("tests/unit/test_stated_charges.py::test_a_receipt_under_a_wrong_status_is_a_receipt",),
    ),
    Mutant(
        removed="the look for a receipt in an error that broke off",
        protects="what is whole in an answer that broke off is taken at once, not when its links are over",
        file="worker/providers/receipt.py",
        old="    if success or is_purchase(found, result.body):\n",
        new="    if success or (isinstance(result, PaidReply) and is_purchase(found, result.body)):\n",
        tests=("tests/unit/test_stated_charges.py::test_a_whole_receipt_is_one_although_its_answer_broke_off",),
    ),
    Mutant(
        removed="the doubt about a refusal that broke off",
        protects="an answer of which a part is missing is no proof that nothing was bought",
        file="worker/providers/receipt.py",
        old="    return without_answer(result) if isinstance(result, Lost) else refused(result, table, key=key)\n",
        new=(
            "    whole = PaidReply(result.status or 0, result.headers, result.body)\n"
            "    return refused(whole, table, key=key)\n"
        ),
        tests=(
            (
                "tests/unit/test_stated_charges.py::"
                "test_an_error_that_broke_off_refuses_nothing_although_its_json_is_whole"
            ),
        ),
    ),
    Mutant(
        removed="the places that an answer's own pictures take before those of others",
        protects="an id of an earlier call in an answer pushes no picture out of its place",
        file="shared/db/payments/ownership.py",
        old="    answer = _own_first(answer, theirs)\n",
        new="",
        tests=("tests/integration/test_ownership.py::test_an_id_that_is_anothers_pushes_no_picture_out_of_its_place",),
    ),
    Mutant(
        removed="PostEverywhere's media_id before its media_ids",
        protects="the picture is asked for by the documented handle",
        file="worker/providers/posteverywhere.py",
        old="    named = [handle, *(one for one in given if one != handle)] if handle else given\n",
        new="    named = given or [handle]\n",
        tests=("tests/unit/test_refusals_media.py::test_the_media_id_comes_before_whatever_media_ids_list",),
    ),
    Mutant(
        removed="the least wait after a refusal",
        protects="a server that asks for no wait is not called without a pause",
        file="worker/next_step/refusal_waits.py",
        old="    if asked is None or asked < inputs.settings.retry_first_seconds:\n",
        new="    if asked is None:\n",
        tests=(
            (
                "tests/unit/test_next_step.py::"
                "test_a_server_that_asks_for_hardly_any_wait_is_called_again_after_a_growing_one"
            ),
        ),
    ),
    Mutant(
        removed="the word for a half-drawn image",
        protects="of a stream that nobody asked for, the finished image is stored",
        file="worker/providers/inline_answer.py",
        old="        if number in halves:\n",
        new="        if not halves:\n",
        tests=(
            (
                "tests/unit/test_refusals_inline.py::"
                "test_of_a_stream_that_nobody_asked_for_the_finished_image_is_taken_and_no_half_drawn_one"
            ),
        ),
    ),
    Mutant(
        removed="the larger of two stated costs",
        protects="the bill covers what an answer states, whatever it states besides",
        file="worker/providers/openrouter.py",
        old="    return max(first, second)\n",
        new="    return second\n",
        tests=("tests/unit/test_refusals_inline.py::test_of_two_stated_costs_the_larger_one_counts",),
    ),
    Mutant(
        removed="the rounding that a balance's digits allow",
        protects="no alarm is raised for binary fractions and parts of a cent",
        file="shared/db/payments/drift.py",
        old="        if abs(self.difference) < self._rounding:\n",
        new="        if not self.difference:\n",
        tests=("tests/unit/test_drift.py::test_what_the_digits_of_a_balance_cannot_show_is_no_drift_and_all_else_is",),
    ),
    Mutant(
        removed="the headers that name a purchase",
        protects="a handle that stands only in a header is kept with the reason of the hold",
        file="worker/providers/tell_tales.py",
        old="    if told.outcome is not Outcome.UNKNOWN or not named:\n",
        new="    if told.outcome is not Outcome.UNKNOWN or named:\n",
        tests=(
            "tests/unit/test_stated_charges.py::test_a_handle_that_stands_only_in_a_header_is_kept_with_the_reason",
        ),
    ),
    Mutant(
        removed="the comparison of an answer's links with those of the call that has its id",
        protects="a replayed answer is not booked again, and its pictures do not become another job's",
        file="shared/db/payments/ownership.py",
        old="    _check_news(connection, submission_id, answer, theirs)\n",
        new="",
        tests=(
            (
                "tests/integration/test_ownership.py::"
                "test_an_answer_that_repeats_another_with_its_id_and_links_is_nothing_to_go_by"
            ),
        ),
    ),
    Mutant(
        removed="the parts of an error in which a charge may stand",
        protects="a charge that is stated beside an error's words is not passed over, and the call not bought again",
        file="worker/providers/tell_tales.py",
        old='(_object(part.get(inner)) for inner in ("details", "metadata", "data"))',
        new="()",
        tests=("tests/unit/test_stated_charges.py::test_a_charge_in_a_part_of_the_error_counts_too",),
    ),
    Mutant(
        removed="the patience with a byte that is no text",
        protects="what is paid for is read, whatever stands beside it in the answer",
        file="worker/providers/reading.py",
        old='json.detect_encoding(body), "replace").strip()',
        new='json.detect_encoding(body), "strict").strip()',
        tests=("tests/unit/test_reading.py::test_a_receipt_is_read_whatever_stands_beside_it",),
    ),
    Mutant(
        removed="the look for links in a success that cannot be read",
        protects="a paid picture is fetched while its link lives, although its answer has another shape",
        file="worker/providers/getimg.py",
        old="    return Accepted(status, seen) if seen else None\n",
        new="    return None\n",
        tests=("tests/unit/test_salvage.py::test_a_link_that_stands_elsewhere_is_seen_and_not_trusted",),
    ),
    Mutant(
        removed="the distrust of a link that was only seen in an answer",
        protects="a picture that may be another one than was bought counts only at a person's word",
        file="worker/stages/copy_image.py",
        old="    if isinstance(facts, ImageError) or image.error_code != UNSURE_LINK:\n",
        new="    if isinstance(facts, ImageFacts | ImageError):\n",
        tests=(
            (
                "tests/integration/test_salvaged_links.py::"
                "test_a_picture_to_which_an_unreadable_answer_links_is_kept_until_a_person_accepts_it"
            ),
        ),
    ),
    Mutant(
        removed="the mark of such a link after a failed download",
        protects="a link that fails for a moment is trusted no more at the next try",
        file="worker/next_step/failed_copy.py",
        old=" or image.error_code == UNSURE_LINK\n",
        new="\n",
        tests=(
            (
                "tests/integration/test_salvaged_links.py::"
                "test_a_link_that_fails_for_a_moment_is_still_not_trusted_at_the_next_try"
            ),
        ),
    ),
    Mutant(
        removed="the spill of an answer that is too long for memory",
        protects="a paid picture in place of a link is kept whole",
        file="worker/transport/paid_post.py",
        old="        if self.spill is None:\n",
        new="        if self.sink is None:\n",
        tests=("tests/unit/test_paid_post.py::test_an_answer_too_long_for_memory_goes_on_into_the_spill_whole",),
    ),
    Mutant(
        removed="the decompression of an answer that broke off",
        protects="a receipt whose length is wrong is read although it came compressed",
        file="worker/transport/paid_post.py",
        old="_plain(self.headers, bytes(self.body), SHORT_BYTES)",
        new="bytes(self.body)",
        tests=(
            (
                "tests/unit/test_undone.py::"
                "test_a_compressed_answer_that_broke_off_behind_its_text_is_undone_like_a_whole_one"
            ),
        ),
    ),
    Mutant(
        removed="the compression that no header names",
        protects="a compressed answer is read, not held until its links are over",
        file="worker/transport/undone.py",
        old=" or body.startswith(_FRAMED):\n",
        new=":\n",
        tests=("tests/unit/test_paid_post.py::test_an_answer_that_was_compressed_unasked_is_read_all_the_same",),
    ),
    Mutant(
        removed="the link to what is never called finished",
        protects="a picture whose state cannot be read is fetched before it is given up",
        file="worker/next_step/image_look.py",
        old="    if change.link is not None or image.link is not None:\n",
        new="    if look.found is not None and look.found.link is not None:\n",
        tests=(
            (
                "tests/integration/test_belief.py::"
                "test_a_link_to_what_is_never_called_finished_is_taken_when_the_last_bound_passes"
            ),
        ),
    ),
    Mutant(
        removed="the looks that are answered with another success than 200",
        protects="a provider that says 202 for what is unfinished is not taken for one that does not answer",
        file="worker/providers/asking.py",
        old="if reply.status == _OK or (is_success(reply.status) and any(",
        new="if reply.status == _OK or (reply.status == _OK and any(",
        tests=("tests/unit/test_refusals_polls.py::test_any_success_that_shows_the_picture_is_an_answer",),
    ),
    Mutant(
        removed="the bytes of a picture that always comes short",
        protects="what a link gave of a picture is in the bucket when the link is over",
        file="worker/stages/copy_image.py",
        old="            await _keep_short(runtime, image, fetched, error)\n",
        new="",
        tests=(
            (
                "tests/integration/test_short_pictures.py::"
                "test_what_came_short_twice_in_the_same_way_is_kept_and_can_be_accepted"
            ),
        ),
    ),
    Mutant(
        removed="what an answer that is read late names beyond the job's own",
        protects="pictures that nobody asked for are listed, whenever their answer is read",
        file="worker/evidence/unreadable.py",
        old="        unowned=surplus(asked.missing, answer.images),\n",
        new="",
        tests=(
            (
                "tests/integration/test_kept_answers.py::"
                "test_an_answer_that_is_read_late_is_recorded_as_fully_as_one_that_was_read_at_once"
            ),
        ),
    ),
    Mutant(
        removed="the look for a receipt inside an error",
        protects="a refusal that holds what was bought is not taken for one that cost nothing",
        file="worker/providers/receipt.py",
        old="        named = _is_in_error(result.status, result.body, read) or _names_purchase(result)\n",
        new="        named = _names_purchase(result)\n",
        tests=(
            (
                "tests/unit/test_receipts_in_errors.py::"
                "test_a_receipt_inside_an_error_is_not_refused_and_its_answer_is_kept"
            ),
        ),
    ),
    Mutant(
        removed="the look for a picture that an error names",
        protects="a limit or an empty balance that names what was made is not taken for a refusal that cost nothing",
        file="worker/providers/tell_tales.py",
        old="    return (is_success(status) or status in _OF_THE_ACCOUNT) and _names_any(_parsed(body), _DEPTH)\n",
        new="    return False\n",
        tests=(
            (
                "tests/unit/test_receipts_in_errors.py::"
                "test_an_error_that_is_not_about_the_row_and_names_a_picture_is_not_refused"
            ),
        ),
    ),
    Mutant(
        removed="the looks that are answered beside a refused one",
        protects="one picture that its provider refuses to show pauses no account whose other pictures it shows",
        file="worker/stages/look_health.py",
        old="    if refused.again is RetryRule.RESUME and not answered:\n",
        new="    if refused.again is RetryRule.RESUME:\n",
        tests=(
            (
                "tests/integration/test_belief.py::"
                "test_a_refusal_of_one_picture_among_others_that_are_shown_pauses_no_account"
            ),
        ),
    ),
    Mutant(
        removed="the connection that each download has for itself",
        protects="no job is given the picture of another where a gateway repeats its answer",
        file="worker/transport/address_guard.py",
        old="            force_close=True,\n",
        new="",
        tests=("tests/unit/test_quiet_connector.py::test_a_download_is_never_the_repeated_answer_to_the_one_before",),
    ),
)
