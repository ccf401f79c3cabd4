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
        old="    if success or (isinstance(result, PaidReply) and is_purchase(found, result.body)):\n",
        new="    if success:\n",
        tests=("tests/unit/test_stated_charges.py::test_a_receipt_under_a_wrong_status_is_a_receipt",),
    ),
)
