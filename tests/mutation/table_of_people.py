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
        removed="the right to buy, where a page decides what a retry does",
        protects="the right to operate alone has no job bought",
        file="ops/dashboard/acting.py",
        old="may_buy=has_one_of(person, BUYERS)",
        new="may_buy=True",
        also=("if needed and not has_one_of(person, needed):", "if False and needed:"),
        tests=("tests/integration/test_dashboard_money.py::test_the_right_to_operate_alone_has_no_job_bought",),
    ),
    Mutant(
        removed="the count of what an act on a page buys",
        protects="a token's cap bounds what it has bought again, at every door",
        file="ops/dashboard/acting.py",
        old="        client.count_spending(person.token, proposal.purchases)",
        new="        pass",
        tests=(
            "tests/integration/test_dashboard_money.py::test_whatever_an_act_buys_counts_against_the_cap_of_the_token",
        ),
    ),
    Mutant(
        removed="the bound on the terms of a file that is sent on a page",
        protects="nobody who may not spend raises the cap of a batch",
        file="ops/dashboard/new_batch.py",
        old="    return not person.may(Right.SPEND)",
        new="    return False",
        tests=(
            "tests/integration/test_dashboard_money.py::test_a_file_raises_the_cap_of_a_batch_only_for_whoever_may_spend",
        ),
    ),
    Mutant(
        removed="the scope for saying that a lost call was charged nothing",
        protects="nobody who may not spend has a lost call paid for again by clearing it first",
        file="producer/client/purchases.py",
        old="if self.again or self.clears:",
        new="if self.again:",
        tests=(
            "tests/integration/test_api_actions.py::test_only_whoever_may_spend_says_that_a_lost_call_bought_nothing",
        ),
    ),
    Mutant(
        removed="the scope for what may pay twice",
        protects="nobody who may not spend has a job bought again",
        file="producer/client/purchases.py",
        old="            return _SPENDERS",
        new="            return BUYERS",
        tests=("tests/integration/test_api_actions.py::test_no_scopes_but_that_for_spending_pay_twice",),
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
    Mutant(
        removed="the look for rows that wait to be checked, where a batch is told over HTTP",
        protects="nobody fetches the results of a batch before its last row is a job",
        file="producer/api/shown.py",
        old="is_settled(totals) and not facts.is_arriving",
        new="is_settled(totals)",
        tests=(
            "tests/integration/test_unchecked_rows.py::test_a_batch_is_not_settled_over_http_while_a_row_waits_to_be_checked",
        ),
    ),
    Mutant(
        removed="the refusal to cancel a row that is no job yet",
        protects="nobody is told that a row is cancelled which is then bought",
        file="producer/api/access.py",
        old='if facts.job["epoch"] == UNCHECKED.epoch:',
        new="if False:",
        tests=(
            "tests/integration/test_unchecked_rows.py::test_a_cancel_that_cannot_reach_a_row_yet_says_so_and_does_not_answer_as_if_it_had",
        ),
    ),
    Mutant(
        removed="the lock on a batch without a cap while an intent is written",
        protects="a hold and a first cap stop every call whose intent is not committed before them",
        file="shared/db/payments/caps.py",
        old="WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR SHARE\n",
        new="WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id\n",
        tests=(
            "tests/integration/test_act_races.py::test_a_hold_and_a_first_cap_wait_for_an_intent_that_is_being_written",
        ),
    ),
    Mutant(
        removed="the lock on a policy while a look decides by it",
        protects="a batch that is to hold its lost calls has none sent again by a look that ends later",
        file="worker/stages/follow_provider.py",
        old="    lost_calls.lock_policy(connection, submission_id)\n",
        new="",
        tests=(
            "tests/integration/test_act_races.py::test_a_batch_that_holds_its_lost_calls_from_now_on_waits_for_a_look_that_sends_one_again",
        ),
    ),
    Mutant(
        removed="the look for a job that lacks nothing any more",
        protects="what arrives after a person had it bought again is not bought again",
        file="shared/db/payments/intents.py",
        old="    return [row for row in rows if row.missing]\n",
        new="    return list(rows)\n",
        tests=(
            "tests/integration/test_act_races.py::test_a_job_that_lacks_nothing_takes_no_place_and_no_money_of_those_beside_it",
        ),
    ),
    Mutant(
        removed="the look whether the batch of an overdue job is held",
        protects="no deadline passes while a person holds a batch",
        file="worker/dispatch.py",
        old="    over = steering.hold_instead(connection, claims.past_deadline(connection), actor=actor)\n",
        new="    over = claims.past_deadline(connection)\n",
        tests=(
            "tests/integration/test_act_races.py::test_no_deadline_passes_of_a_job_that_came_into_a_held_batch_or_was_on_hold_for_its_cap",
        ),
    ),
    Mutant(
        removed="the look for what other attempts bought when a poll ends a job",
        protects="an answer that comes while a second call comes to nothing is collected before its links end",
        file="worker/stages/poll.py",
        old="    submissions.collect_after_end(connection, failed, actor=runtime.sender.name)\n",
        new="",
        tests=(
            "tests/integration/test_late_evidence_ends.py::test_it_is_collected_where_the_second_call_s_pictures_are_found_to_have_failed_meanwhile",
        ),
    ),
)
