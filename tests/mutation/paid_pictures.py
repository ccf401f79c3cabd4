"""The mutants of what keeps paid pictures: their rows, their bytes, and the looks that may end them."""

from typing import Final

from tests.mutation.mutant import Mutant

PICTURES: Final[tuple[Mutant, ...]] = (
    Mutant(
        removed="the place of a picture that may still be collected",
        protects="a late answer forgets no picture that can be asked for, free",
        file="shared/db/payments/placing.py",
        old="    return bool(place.collectable or (place.known and not place.older))\n",
        new="    return False\n",
        tests=(
            (
                "tests/integration/test_pictures_kept.py::"
                "test_a_late_answer_of_an_earlier_call_replaces_no_picture_that_can_be_asked_for"
            ),
        ),
    ),
    Mutant(
        removed="the purchase in the guard of a store",
        protects="a frozen worker's picture is not taken for one that was bought after it",
        file="shared/db/jobs/stored_images.py",
        old=(
            '    "image.job_id = a.job_id AND image.index = a.index AND image.submission_id = a.submission_id "\n'
            '    "AND image.upstream_id IS NOT DISTINCT FROM a.upstream_id"\n'
        ),
        new='    "image.job_id = a.job_id AND image.index = a.index"\n',
        tests=(
            (
                "tests/integration/test_pictures_kept.py::"
                "test_a_frozen_worker_stores_its_picture_beside_the_one_that_was_bought_after_it"
            ),
        ),
    ),
    Mutant(
        removed="the look at each image of a failed job",
        protects="nothing is bought again while an image of the job can be collected, free",
        file="shared/db/jobs/retry.py",
        old="        if row.can_ask:\n",
        new="        if row.can_ask and row.complete:\n",
        tests=(
            (
                "tests/integration/test_collected_free.py::"
                "test_an_image_that_can_be_collected_is_collected_before_its_moderated_neighbour_is_bought_again"
            ),
        ),
    ),
    Mutant(
        removed="the doubt about a failure without a final reason",
        protects="a picture that its provider tries to make again is not given up",
        file="worker/providers/bloom.py",
        old="error=message, sure=code == _REFUSED)\n",
        new="error=message)\n",
        tests=("tests/integration/test_collected_free.py::test_a_failure_that_the_provider_takes_back_ends_nothing",),
    ),
    Mutant(
        removed="the look at the id in an answer",
        protects="somebody else's picture is not stored as ours",
        file="worker/providers/reading.py",
        old="    if given is not None and given != ",
        new="    if given is None and given != ",
        tests=("tests/integration/test_collected_free.py::test_an_answer_that_names_another_picture_is_not_ours",),
    ),
    Mutant(
        removed="the look for a job that was erased meanwhile",
        protects="no preview of an erased job stays in the bucket",
        file="shared/db/lost_calls/candidates.py",
        old="        doomed.doom(connection, [key])\n",
        new="        pass\n",
        tests=(
            "tests/integration/test_candidates.py::test_a_preview_that_is_made_while_its_jobs_are_erased_is_deleted",
        ),
    ),
    Mutant(
        removed="the difference between a link that is refused and one that is led astray",
        protects="one redirect of a portal, or one answer of a filtered name server, loses no picture",
        file="worker/transport/address_guard.py",
        old="        raise Misdirected(str(refused)) from None\n",
        new="        raise AddressRefused(str(refused)) from None\n",
        tests=(
            "tests/unit/test_address_guard.py::test_a_redirect_that_is_refused_may_pass_and_the_same_text_in_a_link_may_not",
            "tests/unit/test_address_guard.py::test_a_name_that_a_sinkhole_answers_for_once_may_pass",
        ),
    ),
    Mutant(
        removed="the belief in a link beside a word that no document has",
        protects="a renamed state loses no picture that is finished",
        file="worker/providers/state_words.py",
        old="    ends = linked and bool(said)",
        new="    ends = False and linked and bool(said)",
        tests=(
            "tests/unit/test_refusals_media.py::test_an_answer_in_any_state_is_a_receipt_and_a_poll_reads_the_same",
            "tests/unit/test_refusals_media.py::test_the_state_of_media_stands_in_either_field",
        ),
    ),
    Mutant(
        removed="the doubt about a failure in free text",
        protects="a picture whose failure only sounds like a safety check's is not given up at once",
        file="worker/providers/banatie.py",
        old="error_code=code, error=why, sure=False)",
        new="error_code=code, error=why, sure=code == _REFUSED)",
        tests=("tests/unit/test_refusals_media.py::test_no_free_text_ends_a_generation_at_the_first_look",),
    ),
    Mutant(
        removed="the patience with a page in place of an image",
        protects="a host that says with status 200 that it is down loses no picture",
        file="worker/next_step/failed_copy.py",
        old="settings.fetch_page_tries if self.is_page else 0)",
        new="0)",
        tests=(
            (
                "tests/integration/test_downloads.py::"
                "test_a_page_in_place_of_an_image_ends_nothing_within_hours_while_the_link_lives"
            ),
        ),
    ),
    Mutant(
        removed="the keeping of bytes that may hold a picture",
        protects="a picture in an unknown wrapping is not thrown away",
        file="worker/stages/copy_image.py",
        old="    kept_as = await runtime.in_thread(_kept_as, fetched, refused)\n",
        new="    kept_as = refused.begins_as\n",
        tests=(
            (
                "tests/integration/test_unverified.py::"
                "test_bytes_that_may_hold_a_picture_are_kept_at_once_and_fetched_again_as_a_page_is"
            ),
        ),
    ),
    Mutant(
        removed="the comparison of a picture with its stated size",
        protects="a placeholder is not stored for the picture that was paid for",
        file="worker/stages/copy_image.py",
        old="        facts = _trusted(image, _sized(image, facts))\n",
        new="        facts = _trusted(image, facts)\n",
        tests=(
            "tests/integration/test_stated_sizes.py::test_a_placeholder_is_kept_and_the_picture_that_follows_it_stored",
        ),
    ),
    Mutant(
        removed="the name that damaged bytes have before they are stored",
        protects="what a dying worker leaves of a paid picture is found, and erased with its job",
        file="worker/stages/put_object.py",
        old="    if not verified:\n        await runtime.write(stored_images.announce, image.claim.job_id, key)\n",
        new="",
        tests=(
            (
                "tests/integration/test_short_pictures.py::"
                "test_damaged_bytes_are_named_by_their_job_before_they_are_in_the_bucket"
            ),
        ),
    ),
    Mutant(
        removed="the look whether a bucket verifies what comes with a signed URL",
        protects="a damaged picture is not stored as the one that was paid for",
        file="worker/transport/quick_put.py",
        old="abandon_on_cancel=True)\n            return False\n",
        new="abandon_on_cancel=True)\n            return True\n",
        tests=(
            (
                "tests/integration/test_quick_put.py::"
                "test_a_bucket_that_takes_damaged_bytes_this_way_gets_none_and_keeps_nothing_of_the_proof"
            ),
        ),
    ),
    Mutant(
        removed="the look whether an object had left when its answer came",
        protects="an answer that came too early stores no paid picture",
        file="worker/transport/quick_put.py",
        old="self.status == _TAKEN and self.is_late and ",
        new="self.status == _TAKEN and ",
        tests=(
            (
                "tests/integration/test_quick_put_attacks.py::"
                "test_an_answer_that_comes_before_the_last_byte_left_stores_nothing"
            ),
        ),
    ),
    Mutant(
        removed="the question for the checksum that an answer to a PUT does not state",
        protects="a login page before the bucket stores no paid picture",
        file="worker/transport/storage.py",
        old="stated or self._stated_later(key)",
        new="stated or spool.sha256_base64",
        tests=(
            (
                "tests/integration/test_quick_put_attacks.py::"
                "test_boto3s_own_success_stores_nothing_that_the_bucket_does_not_state_to_have"
            ),
        ),
    ),
    Mutant(
        removed="the look whether a bucket's answer came before",
        protects="the repeated answer to one object stores no other paid picture",
        file="worker/transport/quick_put.py",
        old="not (self.body or self.is_repeated)",
        new="not self.body",
        tests=(
            (
                "tests/integration/test_quick_put_attacks.py::"
                "test_an_answer_that_is_repeated_after_the_next_object_left_does_not_store_that"
            ),
        ),
    ),
    Mutant(
        removed="the count of paid jobs that bring no image",
        protects="an account that takes money and gives nothing does not take it for every job of a batch",
        file="worker/stages/poll.py",
        old="        why = next_step.nothing_found(now) or _not_linked(job, looks)\n",
        new="        why = _not_linked(job, looks)\n",
        tests=(
            (
                "tests/integration/test_nothing_delivered.py::"
                "test_an_account_whose_images_all_fail_stops_buying_long_before_its_batch_is_bought"
            ),
        ),
    ),
    Mutant(
        removed="the other accounts of a key in the look for an id's owner",
        protects="two accounts of one key do not show the same purchase as two",
        file="shared/db/payments/ownership.py",
        old='_ONE_KEY: Final = "(s.account = me.account OR s.key_id = me.key_id)"\n',
        new='_ONE_KEY: Final = "s.account = me.account"\n',
        tests=(
            "tests/integration/test_ownership.py::test_what_another_account_bought_with_the_same_key_is_anothers_too",
        ),
    ),
    Mutant(
        removed="the look for a link that another image has",
        protects="one picture is not stored as two that were paid for",
        file="worker/stages/poll.py",
        old="    if others := next_step.links_of_others(looks.known, found):\n",
        new="    if others := next_step.links_of_others(looks.known, found[:0]):\n",
        tests=(
            (
                "tests/integration/test_nothing_delivered.py::"
                "test_a_link_that_two_jobs_are_given_is_stored_for_one_and_the_other_is_asked_about_again"
            ),
        ),
    ),
    Mutant(
        removed="what stays of the link of a stored image",
        protects="one picture is not stored as another of its job a look later",
        file="shared/db/jobs/stored_images.py",
        old="link = {LEFT_OF_LINK}, error_code",
        new="link = NULL, error_code",
        tests=(
            (
                "tests/integration/test_nothing_delivered.py::"
                "test_a_link_that_all_images_of_a_job_are_given_is_stored_for_one_however_often_it_is_shown"
            ),
        ),
    ),
)
