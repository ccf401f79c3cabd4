"""Mutants of claims and transitions: who may move a job, and where to."""

from typing import Final

from tests.mutation.mutant import Mutant

_TRANSITIONS: Final = "tests/integration/test_transitions.py::"
_CLAIMS: Final = "tests/integration/test_claims.py::"
_WORKERS: Final = "tests/integration/test_workers.py::"
_STALE: Final = "tests/integration/test_stale_transfer.py::"
_POISON: Final = "tests/integration/test_poison.py::"
_BESIDE: Final = "tests/integration/test_evidence_beside_others.py::"
_RECONCILE: Final = "tests/integration/test_reconcile.py::"

MUTANTS: Final = (
    Mutant(
        removed="the epoch in the guard of every transition",
        protects="a worker that was frozen and wakes up moves no job",
        file="shared/db/transitions.py",
        old="WHERE job.id = asked.id AND job.epoch = asked.epoch AND job.state = asked.before",
        new="WHERE job.id = asked.id AND job.state = asked.before",
        tests=(_TRANSITIONS + "test_whoever_lost_the_epoch_moves_nothing_and_leaves_no_event",),
    ),
    Mutant(
        removed="the state in the guard of every transition",
        protects="two who hold the same claim cannot both move the job",
        file="shared/db/transitions.py",
        old="WHERE job.id = asked.id AND job.epoch = asked.epoch AND job.state = asked.before",
        new="WHERE job.id = asked.id AND job.epoch = asked.epoch",
        tests=(_TRANSITIONS + "test_whoever_has_another_state_in_mind_moves_nothing",),
    ),
    Mutant(
        removed="the raise of the epoch in a claim",
        protects="a message from before the claim is stale",
        file="shared/db/claims.py",
        old="UPDATE job SET epoch = epoch + 1, claimed_by",
        new="UPDATE job SET claimed_by",
        tests=(_CLAIMS + "test_a_claim_raises_the_epoch_and_hides_the_job_until_its_lease_ends",),
    ),
    Mutant(
        removed="SKIP LOCKED in a claim",
        protects="claimants at once do not wait for each other, and never get the same job",
        file="shared/db/claims.py",
        old="LIMIT :count FOR NO KEY UPDATE SKIP LOCKED\n)\nUPDATE job",
        new="LIMIT :count\n)\nUPDATE job",
        tests=(_CLAIMS + "test_claimants_at_once_never_get_the_same_job",),
    ),
    Mutant(
        removed="the lifecycle's check of a transition",
        protects="a defect of ours cannot take a job where no job may go",
        file="shared/db/transitions.py",
        old="        check_transition(self.before, self.after)\n",
        new="",
        tests=(_TRANSITIONS + "test_a_transition_that_the_lifecycle_lacks_never_reaches_the_database",),
    ),
    Mutant(
        removed="the states in which a claim may be given back",
        protects="a message that came twice does not end the lease of a call being paid",
        file="shared/db/transitions.py",
        old='  AND job.state = ANY(CAST(:states AS text[]))\n""")\n\n_RENEW',
        new='""")\n\n_RENEW',
        tests=(_TRANSITIONS + "test_giving_back_a_message_that_came_twice_leaves_the_call_being_paid_alone",),
    ),
    Mutant(
        removed="the lock that proves a worker gone",
        protects="a frozen worker keeps its claims, and is not taken for dead",
        file="shared/db/workers.py",
        old="\n  AND pg_try_advisory_xact_lock_shared(lock_key)\n",
        new="\n",
        tests=(_WORKERS + "test_a_frozen_worker_keeps_its_claims_while_it_holds_its_lock",),
    ),
    Mutant(
        removed="the whole stage that reconciles",
        protects="a call whose sender died is found, and held with its money",
        file="worker/reconcile.py",
        old="    for claim in claims:\n        with bound_contextvars",
        new="    for claim in claims[:0]:\n        with bound_contextvars",
        tests=(_RECONCILE + "test_a_call_whose_sender_never_answered_is_held_and_its_money_too",),
    ),
    Mutant(
        removed="the look at a job whose evidence came too late for its sender",
        protects="what was bought is collected at once, not when the lease ends",
        file="worker/submit.py",
        old="    if not won:\n        submissions.follow_late(",
        new="    if won is None:\n        submissions.follow_late(",
        tests=(_RECONCILE + "test_late_evidence_finishes_the_job_without_paying_again",),
    ),
    Mutant(
        removed="the claim's guard where a transfer ends",
        protects="whoever lost the claim gives up no picture that its successor is copying",
        file="worker/transfer.py",
        old="    if submissions.state_of(connection, claim) is not JobState.TRANSFERRING:\n        return None\n",
        new="",
        tests=(_STALE + "test_whoever_lost_the_job_while_copying_gives_up_no_picture_past_the_last_bound",),
    ),
    Mutant(
        removed="the claim's guard where a picture changes",
        protects="whoever lost the claim gives up no picture",
        file="shared/db/images.py",
        old="  AND job.id = a.job_id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL\n",
        new="  AND job.id = a.job_id\n",
        tests=(_TRANSITIONS + "test_a_worker_that_lost_its_claim_gives_up_no_picture",),
    ),
    Mutant(
        removed="the guard of cancelling",
        protects="a job being paid for is not ended under its sender's hands",
        file="shared/db/cancel.py",
        old="    free = [row for row in found if row.state == JobState.QUEUED]\n"
        "    bought = [row.id for row in found if row.state != JobState.QUEUED]\n",
        new="    bought: list[UUID] = []\n"
        "    free = found\n"
        '    connection.execute(text("UPDATE job SET state = $$queued$$ WHERE id = ANY(:ids)"), '
        '{"ids": [row.id for row in found]})\n',
        tests=("tests/integration/test_people.py::test_cancelling_while_workers_submit_pays_for_no_cancelled_job",),
    ),
    Mutant(
        removed="the mark that a message was begun",
        protects="a message that comes twice begins nothing twice",
        file="shared/db/claims.py",
        old="AND job.claimed_by IS NOT NULL AND job.company IS NULL\n",
        new="AND job.claimed_by IS NOT NULL\n",
        tests=(_POISON + "test_a_message_that_comes_twice_begins_nothing_twice",),
    ),
    Mutant(
        removed="the question which attempt late evidence is of",
        protects="the answer of a first attempt does not end the lease of the second",
        file="shared/db/submissions.py",
        old=" AND s.id = (\n  SELECT newest.id FROM submission newest",
        new=" AND EXISTS (\n  SELECT newest.id FROM submission newest",
        tests=(_BESIDE + "test_late_evidence_of_a_first_attempt_leaves_the_second_in_its_senders_hand",),
    ),
    Mutant(
        removed="the memory for evidence while the database is away",
        protects="what a paid call brought is committed, however long that takes",
        file="worker/committer.py",
        old="                self._troubled.append(write)\n",
        new="                write.error = result\n                write.done.set()\n",
        tests=("tests/unit/test_committer.py::test_nothing_is_lost_while_the_database_is_away",),
    ),
)
