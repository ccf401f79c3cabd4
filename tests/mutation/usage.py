"""Mutants of what proves that a lost call was not charged, and of purchases that turn up in a list later."""

from typing import Final

from tests.mutation.mutant import Mutant

_USAGE: Final = "tests/integration/test_usage.py::"
_GROWTH: Final = "tests/integration/test_growth.py::"
_RACES: Final = "tests/integration/test_usage_races.py::"
_ADOPTS: Final = "tests/integration/test_sweep_adopts.py::"
_RECONCILE: Final = "tests/integration/test_reconcile.py::"
_EXPLAINS: Final = "test_only_what_the_provider_stated_of_calls_between_the_readings_explains_growth"

MUTANTS: Final = (
    Mutant(
        removed="the figure of usage itself",
        protects="a lost call that was charged is never sent again",
        file="shared/db/usage.py",
        old="        return abs(self.unexplained) < _ROUNDING and not self.fell\n",
        new="        return True\n",
        tests=(_USAGE + "test_a_call_that_was_charged_is_held_with_what_the_figure_shows",),
    ),
    Mutant(
        removed="the mark of costs that the provider stated itself",
        protects="a person's figure, or our own price, never hides a charge",
        file="shared/db/usage.py",
        old=" AND s.stated AND ",
        new=" AND ",
        tests=(_GROWTH + _EXPLAINS,),
    ),
    Mutant(
        removed="the time until a cost shows in the figure",
        protects="a cost that does not show yet never hides a charge",
        file="shared/db/usage.py",
        old="s.stated AND s.answered_at < last.shown",
        new="s.stated",
        tests=(_GROWTH + _EXPLAINS,),
    ),
    Mutant(
        removed="the beginning of the span in which costs count",
        protects="a cost that was in the figure before the call never hides a charge",
        file="shared/db/usage.py",
        old=" WHERE s.opened_at > first.at\n",
        new="\n",
        tests=(_GROWTH + _EXPLAINS,),
    ),
    Mutant(
        removed="the reading from before the call",
        protects="a figure that was first read after the charge proves nothing",
        file="shared/db/usage.py",
        old=" WHERE r.at <= lost.opened_at\n",
        new="\n",
        tests=(_GROWTH + "test_nothing_is_said_without_a_reading_before_the_call_and_one_after_its_charge_would_show",),
    ),
    Mutant(
        removed="the key in the comparison of figures",
        protects="two keys that have used up the same prove nothing",
        file="shared/db/usage.py",
        old="JOIN lost USING (account, key_id) WHERE r.at <= lost.opened_at\n",
        new="JOIN lost USING (account) WHERE r.at <= lost.opened_at\n",
        tests=(_GROWTH + "test_neither_readings_nor_calls_of_another_key_count",),
    ),
    Mutant(
        removed="the look at figures that fell",
        protects="money that was given back never hides a charge",
        file="shared/db/usage.py",
        old=" and not self.fell\n",
        new="\n",
        tests=(_GROWTH + "test_a_figure_that_fell_in_between_proves_nothing",),
    ),
    Mutant(
        removed="the proof that a sender is gone before usage is asked",
        protects="an answer that a frozen sender still receives is in the figure",
        file="worker/reconcile.py",
        old='    if account.wire.find_by == "usage" and doubt.sender_lock is not None:\n',
        new='    if account.wire.find_by == "nothing" and doubt.sender_lock is not None:\n',
        tests=(_RACES + "test_usage_is_asked_only_once_the_sender_is_gone_and_whatever_it_still_received_would_show",),
    ),
    Mutant(
        removed="the sender's own word that its call is over only now",
        protects="what a thawed sender still caused has time to show",
        file="shared/db/submissions.py",
        old="    if before is answer.outcome is Outcome.UNKNOWN and answer.quiet_seconds is not None:\n",
        new="    if before is answer.outcome is Outcome.REJECTED and answer.quiet_seconds is not None:\n",
        tests=(_RACES + "test_a_sender_that_comes_back_and_says_that_its_call_is_over_begins_the_quiet_time_anew",),
    ),
    Mutant(
        removed="the moment at which usage was asked",
        protects="a figure that was recorded late is not taken for a newer one",
        file="worker/usage.py",
        old='    used = await cast("UsageWire", account.wire).used()\n',
        new='    used = await cast("UsageWire", account.wire).used()\n    asked_at = await runtime.sql(usage.now)\n',
        tests=(_RACES + "test_a_figure_is_as_old_as_its_question_however_late_it_is_recorded",),
    ),
    Mutant(
        removed="the rank of a purchase that a list names",
        protects="a picture that turns up after its call was judged not bought is collected",
        file="shared/db/submissions.py",
        old="    open_still = row.upstream_id is None or not answer.inferred\n",
        new="    open_still = not answer.inferred\n",
        tests=(_ADOPTS + "test_what_was_sent_again_because_a_list_lagged_keeps_both_pictures",),
    ),
    Mutant(
        removed="the hold on a job whose sender comes back and knows nothing",
        protects="nobody waits for a look that nobody will take",
        file="shared/db/submissions.py",
        old="parked = job.parked AND s.outcome = 'unknown'",
        new="parked = false",
        tests=(_RECONCILE + "test_a_sender_that_comes_back_and_knows_nothing_leaves_a_held_job_to_a_person",),
    ),
)
