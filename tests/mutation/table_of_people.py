"""The mutants of what people are told and asked before money moves."""

from typing import Final

from tests.mutation.mutant import Mutant

PEOPLE: Final[tuple[Mutant, ...]] = (
    Mutant(
        removed="the jobs on hold in the look after a restore",
        protects="nobody is told that no job waits while a job on hold would be bought again at its release",
        file="shared/db/restoration.py",
        old="j.state = 'queued' AND j.created_at",
        new="j.state = 'queued' AND NOT j.on_hold AND j.created_at",
        tests=("tests/integration/test_restored.py::test_a_job_that_waits_on_hold_may_be_bought_again_too",),
    ),
    Mutant(
        removed="the refusal of caps without an amount",
        protects="a program that names no amount does not leave its batch without a bound",
        file="producer/client/batches.py",
        old="        if not max_cost:\n",
        new="        if False and not max_cost:\n",
        tests=("tests/integration/test_advice.py::test_no_amount_is_no_wish_to_remove_the_caps",),
    ),
    Mutant(
        removed="the revisions behind a custom_id that has become free",
        protects="an edited row that was bought is not bought again after its first revision has left",
        file="shared/db/jobs/revisions.py",
        old="                    asked[index] = self._next(row.custom_id, asked[index])\n",
        new="                    asked[index] = 0\n",
        tests=(
            ("tests/integration/test_revisions.py::test_a_revision_is_not_bought_again_after_an_earlier_one_has_left"),
        ),
    ),
)
