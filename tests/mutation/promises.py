"""Mutants of caps, pauses, look-ups, cancelling and poison: what goes on by itself, and where it must stop."""

from typing import Final

from tests.mutation.mutant import Mutant

_CAPS: Final = "tests/integration/test_caps.py::"
_RESUME: Final = "tests/integration/test_resume.py::"
_LOOKUP: Final = "tests/integration/test_lookup.py::"
_LET_GO: Final = "tests/integration/test_let_go.py::"
_JUDGE: Final = "tests/unit/test_lookup.py::"
_CANCEL: Final = "tests/integration/test_cancel.py::"
_POISON: Final = "tests/integration/test_poison.py::"
_LATE: Final = "tests/integration/test_late_evidence.py::"

MUTANTS: Final = (
    Mutant(
        removed="the lock of a capped batch",
        protects="senders on two accounts do not spend the same money",
        file="shared/db/caps.py",
        old="        connection.execute(_LOCK, of_batch)\n",
        new="",
        tests=(_CAPS + "test_many_senders_on_two_accounts_buy_exactly_what_a_batch_cap_has_room_for",),
    ),
    Mutant(
        removed="the caps",
        protects="neither a batch nor an account's day spends more than it may",
        file="shared/db/caps.py",
        old="            if purse is not None and not purse.fits(price):\n",
        new="            if purse is not None and purse.fits(price) is None:\n",
        tests=(_CAPS + "test_many_senders_keep_a_daily_cap_and_the_next_day_has_room_again",),
    ),
    Mutant(
        removed="the refusal of an unknown price",
        protects="nothing is bought whose cost nobody can bound",
        file="shared/db/caps.py",
        old="            if self._allow_unknown and batch is None and self._day is None:\n",
        new="            if batch is None and self._day is None:\n",
        tests=(_CAPS + "test_a_job_without_a_known_price_is_parked_unless_its_account_allows_it",),
    ),
    Mutant(
        removed="the refusal of an unknown price under a cap",
        protects="a cap holds, or nothing is bought",
        file="shared/db/caps.py",
        old="            if self._allow_unknown and batch is None and self._day is None:\n",
        new="            if self._allow_unknown:\n",
        tests=(_CAPS + "test_a_cap_cannot_be_kept_without_a_price_and_so_nothing_is_bought",),
    ),
    Mutant(
        removed="the resume that finds by itself that a pause is over",
        protects="a top-up needs no command",
        file="worker/probe.py",
        old="    if over and accounts.resume(connection, name, ended=due.code):\n",
        new="    if False and accounts.resume(connection, name, ended=due.code):\n",
        tests=(_RESUME + "test_a_key_that_is_put_right_at_the_provider_is_found_by_itself",),
    ),
    Mutant(
        removed="the ramp after a pause",
        protects="a resume that was wrong costs one call, not a window of them",
        file="shared/db/accounts.py",
        old='concurrency=min(row["concurrency"], row["ramp"] or row["concurrency"]),',
        new='concurrency=row["concurrency"],',
        tests=(_RESUME + "test_messages_of_the_time_before_the_pause_open_no_more_than_the_ramp_allows",),
    ),
    Mutant(
        removed="the reason that a resume must have ended",
        protects="a look never ends a pause that a person began",
        file="shared/db/accounts.py",
        old="WHERE name = :name AND (:by_hand OR paused_code = :code) RETURNING name",
        new="WHERE name = :name AND (:by_hand OR :code IS NOT NULL) RETURNING name",
        tests=(_RESUME + "test_a_pause_by_hand_stays_although_the_account_was_paused_already",),
    ),
    Mutant(
        removed="the ownership of what a list shows",
        protects="a picture is never adopted by two calls",
        file="worker/lookup.py",
        old="[one for one in found.candidates if one.upstream_id not in owned]",
        new="list(found.candidates)",
        tests=(_JUDGE + "test_what_another_call_owns_is_not_ours",),
    ),
    Mutant(
        removed="the end of the span in which a call can have bought",
        protects="a picture that somebody made by hand later is not taken for ours",
        file="worker/lookup.py",
        old="    free = [one for one in unowned if one.made_at <= doubt.until]\n",
        new="    free = unowned\n",
        tests=(_JUDGE + "test_what_was_made_after_the_call_was_over_is_not_ours_and_proves_nothing_either",),
    ),
    Mutant(
        removed="the doubt about a picture that was made too late",
        protects="a request that the network held back is not sent again",
        file="worker/lookup.py",
        old="    if not free and unowned:\n",
        new="    if not free and not found:\n",
        tests=(_JUDGE + "test_what_was_made_after_the_call_was_over_is_not_ours_and_proves_nothing_either",),
    ),
    Mutant(
        removed="the count in adopting one to one",
        protects="with too many or too few pictures a person judges, nobody guesses",
        file="worker/lookup.py",
        old="    if len(free) != wanted * calls:\n",
        new="    if len(free) < wanted:\n",
        tests=(_JUDGE + "test_too_many_or_too_few_pictures_are_a_persons_to_judge",),
    ),
    Mutant(
        removed="the comparison of equal calls",
        protects="calls that asked for different things do not swap pictures",
        file="worker/lookup.py",
        old="(rival.fingerprint, rival.wanted) != (doubt.fingerprint, len(doubt.missing))",
        new="rival.wanted < 0",
        tests=(_JUDGE + "test_twins_that_asked_for_different_things_are_not_told_apart_by_their_prompt",),
    ),
    Mutant(
        removed="the wait for rivals",
        protects="what another call may still claim is judged later",
        file="worker/lookup.py",
        old="    if unsettled := [rival.quiet_in for rival in rivals if rival.quiet_in > 0]:\n",
        new="    if unsettled := [rival.quiet_in for rival in rivals if rival.quiet_in is None]:\n",
        tests=(_JUDGE + "test_while_a_rival_may_still_buy_or_show_nothing_is_judged",),
    ),
    Mutant(
        removed="the wait until a purchase would show in the list",
        protects="a list that lags is not taken for proof that nothing was bought",
        file="worker/reconcile.py",
        old="        return None\n    if doubt.quiet_in > 0:\n",
        new="        return None\n    if doubt.quiet_in > 1e9:\n",
        tests=(_LET_GO + "test_a_list_is_not_asked_before_a_purchase_would_show_in_it",),
    ),
    Mutant(
        removed="the completeness of a list",
        protects="a list that was cut off is no proof that nothing was bought",
        file="worker/lookup.py",
        old="    if found.complete:\n        return NOT_LISTED\n",
        new="    if found.candidates is not None:\n        return NOT_LISTED\n",
        tests=(
            _JUDGE
            + "test_an_empty_list_that_was_read_whole_says_that_nothing_was_bought_and_one_that_was_not_says_nothing",
        ),
    ),
    Mutant(
        removed="the proof that a sender is gone",
        protects="a frozen sender and its successor do not both pay",
        file="worker/reconcile.py",
        old="    elif not doubts.sender_gone(connection, doubt):\n",
        new="    elif not submission:\n",
        tests=(_LET_GO + "test_a_call_whose_sender_lives_is_never_sent_again_and_one_whose_sender_is_gone_is",),
    ),
    Mutant(
        removed="the batch's word that a call may be sent again",
        protects="by default a lost call is held, whatever a list shows",
        file="worker/reconcile.py",
        old="    if not doubt.may_close:\n",
        new="    if doubt.may_close is None:\n",
        tests=(_LOOKUP + "test_a_call_that_bought_nothing_is_held_with_that_finding_unless_told_otherwise",),
    ),
    Mutant(
        removed="the end that was asked for, where a job would be sent again",
        protects="a cancelled job pays for nothing more, and ends as cancelled",
        file="shared/db/transitions.py",
        old="_STOPS = \"(job.cancel_requested_at IS NOT NULL AND asked.after IN ('queued', 'succeeded', 'failed'))\"",
        new='_STOPS = "false"',
        tests=(_CANCEL + "test_a_job_cancelled_while_it_is_submitted_is_never_sent_again",),
    ),
    Mutant(
        removed="the count of crashes",
        protects="a job that kills its workers ends instead of killing all of them",
        file="worker/poison.py",
        old="        if one.crashes >= limit:\n",
        new="        if one.crashes >= limit + 1000:\n",
        tests=(_POISON + "test_a_job_that_ends_worker_after_worker_alone_ends_itself",),
    ),
    Mutant(
        removed="the hold on a poisonous job whose payment is open",
        protects="money that may be out is held, not forgotten with the job",
        file="worker/poison.py",
        old="    if one.state not in _MAYBE_BOUGHT:\n",
        new="    if one.state not in _MAYBE_BOUGHT - {JobState.SUBMITTING}:\n",
        tests=(_POISON + "test_a_poisonous_job_whose_payment_is_open_is_held_in_doubt",),
    ),
    Mutant(
        removed="the collecting of what an earlier attempt turned out to have bought",
        protects="no paid image is lost to a person's word that came before its answer",
        file="shared/db/submissions.py",
        old="        collect(connection, job_id, actor=actor)\n",
        new="        _ = actor\n",
        tests=(_LATE + "test_an_answer_before_the_job_is_paid_again_is_collected_and_nothing_is_paid",),
    ),
    Mutant(
        removed="a place of its own for a picture of a second attempt",
        protects="of two attempts that were both bought, both pictures are kept",
        file="shared/db/submissions.py",
        old="    images = _beside_others(images, connection.execute(",
        new="    _beside_others(images, connection.execute(",
        tests=(_LATE + "test_an_answer_while_the_second_attempt_is_on_its_way_keeps_both_pictures_and_settles_both",),
    ),
    Mutant(
        removed="the refusal of a person's word once the answer is there",
        protects="nothing is paid again for a doubt that no longer exists",
        file="shared/db/resolve.py",
        old="    if lost is not None and lost.outcome != Outcome.UNKNOWN and not row.parked:\n",
        new="    if lost is not None and lost.outcome is None:\n",
        tests=(_LATE + "test_an_answer_just_before_the_person_decides_is_followed_and_the_person_is_told",),
    ),
)
