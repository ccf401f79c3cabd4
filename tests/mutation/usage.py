"""Mutants of what proves that a lost call was not charged, and of purchases that turn up in a list later."""

from typing import Final

from tests.mutation.mutant import Mutant

_USAGE: Final = "tests/integration/test_usage.py::"
_GROWTH: Final = "tests/integration/test_growth.py::"
_ADOPTS: Final = "tests/integration/test_sweep_adopts.py::"
_RECONCILE: Final = "tests/integration/test_reconcile.py::"
_EXPLAINS: Final = "test_only_what_the_provider_stated_of_calls_between_the_readings_explains_growth"

MUTANTS: Final = (
    Mutant(
        removed="the figure of usage itself",
        protects="a lost call that was charged is never sent again",
        file="shared/db/usage.py",
        old="        return abs(self.unexplained) < _ROUNDING\n",
        new="        return True\n",
        tests=(_USAGE + "test_a_call_that_was_charged_is_held_with_what_the_figure_shows",),
    ),
    Mutant(
        removed="the mark of costs that the provider stated itself",
        protects="a person's figure, or our own price, never hides a charge",
        file="shared/db/usage.py",
        old=" AND stated AND ",
        new=" AND ",
        tests=(_GROWTH + _EXPLAINS,),
    ),
    Mutant(
        removed="the time until a cost shows in the figure",
        protects="a cost that does not show yet never hides a charge",
        file="shared/db/usage.py",
        old="outcome = 'accepted' AND stated AND answered_at < shown",
        new="outcome = 'accepted' AND stated",
        tests=(_GROWTH + _EXPLAINS,),
    ),
    Mutant(
        removed="the beginning of the span in which costs count",
        protects="a cost that was in the figure before the call never hides a charge",
        file="shared/db/usage.py",
        old=" AND opened_at > first.at\n",
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
        removed="the rank of a purchase that a list names",
        protects="a picture that turns up after its call was judged not bought is collected",
        file="shared/db/submissions.py",
        old="(named or not answer.inferred)",
        new="(not answer.inferred)",
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
