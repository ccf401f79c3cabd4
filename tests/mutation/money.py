"""Mutants of the intent, the evidence and the ledger: what is paid for once, and accounted for."""

from typing import Final

from tests.mutation.mutant import Mutant

_SUBMISSIONS: Final = "tests/integration/test_submissions.py::"
_SLOTS: Final = "tests/integration/test_slots.py::"
_LEDGER: Final = "tests/integration/test_ledger.py::"
_BESIDE: Final = "tests/integration/test_evidence_beside_others.py::"
_TRANSFER: Final = "tests/integration/test_transfer.py::"
_ENQUEUE: Final = "tests/integration/test_enqueue.py::"

MUTANTS: Final = (
    Mutant(
        removed="the comparison of a row with the one of the same custom_id",
        protects="a changed row under a known name is refused, not silently dropped",
        file="shared/db/enqueue.py",
        old="WHERE job.fingerprint <> a.fingerprint OR job.provider",
        new="WHERE job.provider",
        tests=(_ENQUEUE + "test_a_custom_id_that_stands_for_another_request_is_refused_and_nothing_is_written",),
    ),
    Mutant(
        removed="the uniqueness of a custom_id in its batch",
        protects="the same file enqueued twice buys nothing twice",
        file="shared/db/enqueue.py",
        old="ON CONFLICT (batch_id, custom_id) DO NOTHING\n",
        new="",
        tests=(_ENQUEUE + "test_the_same_rows_again_add_nothing",),
    ),
    Mutant(
        removed="the account's lock while an intent is written",
        protects="rate windows and concurrency are exact over any number of workers",
        file="shared/db/accounts.py",
        old="_LOCK_WAIT = text(_LOCK)",
        new='_LOCK_WAIT = text(_LOCK.replace("FOR NO KEY UPDATE", ""))',
        tests=(_SLOTS + "test_no_sliding_window_ever_holds_more_than_its_limit_however_many_ask_at_once",),
    ),
    Mutant(
        removed="the look at a pause while an intent is written",
        protects="a paused account pays for nothing more, whatever was claimed before",
        file="shared/db/intents.py",
        old="    if locked is None or not locked.may_pay:",
        new="    if locked is None:",
        tests=(_SUBMISSIONS + "test_a_paused_account_opens_nothing_and_its_jobs_go_back_unspent",),
    ),
    Mutant(
        removed="the rate window while an intent is written",
        protects="no more calls leave than the provider allows",
        file="shared/db/intents.py",
        old="    free = min(slots.room(connection, account, locked.windows).free, max(",
        new="    free = min(len(wanted), max(",
        tests=(_SUBMISSIONS + "test_what_the_window_does_not_allow_goes_back_unspent_to_its_place_in_line",),
    ),
    Mutant(
        removed="the end of the lease for an intent",
        protects="a message that outlived its lease pays for nothing",
        file="shared/db/intents.py",
        old="\n  AND job.due_at > clock_timestamp()\n",
        new="\n",
        tests=(_SUBMISSIONS + "test_a_message_that_outlived_its_lease_opens_nothing",),
    ),
    Mutant(
        removed="the deadline for an intent",
        protects="a job past its deadline buys nothing any more",
        file="shared/db/intents.py",
        old=" AND job.deadline_at > now()\n",
        new="\n",
        tests=(_SUBMISSIONS + "test_a_job_past_its_deadline_opens_nothing",),
    ),
    Mutant(
        removed="the reserve of an intent",
        protects="money in the air is counted before it is spent",
        file="shared/db/intents.py",
        old="    ledger.reserve(connection, intent.submission_id, reserved)\n",
        new="",
        tests=(_SUBMISSIONS + "test_an_intent_opens_a_submission_and_takes_slot_and_reserve_in_one_step",),
    ),
    Mutant(
        removed="the release of the reserve",
        protects="each amount is in exactly one place",
        file="shared/db/ledger.py",
        old="change = {name: getattr(after, name) - getattr(before, name) for name in Position._fields}",
        new="change = {name: getattr(after, name) for name in Position._fields}",
        tests=(_LEDGER + "test_every_amount_is_in_exactly_one_place",),
    ),
    Mutant(
        removed="the rank of evidence",
        protects="nothing replaces what the provider itself said",
        file="shared/db/submissions.py",
        old="    if not better and (before not in {None, Outcome.UNKNOWN} or before is answer.outcome):\n",
        new="    if before is answer.outcome:\n",
        tests=(_SUBMISSIONS + "test_no_evidence_replaces_an_acceptance",),
    ),
    Mutant(
        removed="the rule that an upstream id belongs to one submission",
        protects="two jobs never count the same purchase as theirs",
        file="shared/db/migrations/versions/0001_first.py",
        old="  UNIQUE (job_id, epoch),\n  UNIQUE (account, upstream_id)\n",
        new="  UNIQUE (job_id, epoch)\n",
        tests=("tests/integration/test_ownership.py::test_two_calls_never_own_the_same_receipt_nor_the_same_picture",),
    ),
    Mutant(
        removed="the rule that a picture's upstream id belongs to one job",
        protects="two jobs never show the same purchase as theirs",
        file="shared/db/migrations/versions/0001_first.py",
        old="  PRIMARY KEY (job_id, index),\n  UNIQUE (account, upstream_id),\n",
        new="  PRIMARY KEY (job_id, index),\n",
        tests=("tests/integration/test_ownership.py::test_two_calls_never_own_the_same_receipt_nor_the_same_picture",),
    ),
    Mutant(
        removed="the undoing of an intent whose commit was not confirmed",
        protects="a job is not held for a call that never left",
        file="shared/db/intents.py",
        old="        record(connection, submission_id, Answer(Outcome.NOT_SENT,",
        new="        _ = (connection, submission_id, Answer(Outcome.NOT_SENT,",
        tests=(_SUBMISSIONS + "test_an_intent_whose_commit_was_not_confirmed_is_taken_back_unspent",),
    ),
    Mutant(
        removed="the count of what is missing in a retry",
        protects="what is stored is not bought a second time",
        file="shared/db/submissions.py",
        old="    WHERE NOT EXISTS (SELECT 1 FROM image\n"
        "      WHERE image.job_id = job.id AND image.index = i AND image.state IN ('stored', 'upstream_only'))\n",
        new="",
        tests=(_SUBMISSIONS + "test_buying_again_asks_only_for_what_is_not_stored_and_replaces_what_never_came",),
    ),
    Mutant(
        removed="the word that buys again",
        protects="what was bought once is bought again only at a person's word",
        file="shared/db/retry.py",
        old="    bought = wanted.buy + (wanted.buy_again if buy_again else ())\n",
        new="    bought = wanted.buy + wanted.buy_again\n",
        tests=("tests/integration/test_people.py::test_what_was_bought_is_bought_again_only_when_told_to",),
    ),
    Mutant(
        removed="the proof of a sender whose call was judged lost meanwhile",
        protects="nobody is asked about a call that is known never to have left",
        file="shared/db/intents.py",
        old='_EXISTS = text("SELECT 1 FROM submission WHERE id = :id")',
        new='_EXISTS = text("SELECT 1 FROM submission WHERE id = :id AND outcome IS NULL")',
        tests=(_BESIDE + "test_the_proof_that_nothing_left_counts_after_the_call_was_judged_lost",),
    ),
    Mutant(
        removed="the protection of what is stored from a later answer",
        protects="a picture in the bucket is never forgotten",
        file="shared/db/submissions.py",
        old="WHERE image.state NOT IN ('stored', 'upstream_only')\n",
        new="",
        tests=(_BESIDE + "test_the_providers_own_word_about_an_adopted_picture_forgets_nothing_that_is_stored",),
    ),
    Mutant(
        removed="the pause of an account that cannot pay",
        protects="its jobs wait, unspent, instead of failing one by one",
        file="worker/submit.py",
        old="        if answer.again is Again.RESUME:\n            accounts.pause(",
        new="        if answer.again is None:\n            accounts.pause(",
        tests=("tests/integration/test_road.py::test_a_402_pauses_the_account_and_a_resume_finishes_the_jobs",),
    ),
    Mutant(
        removed="the pause of an account whose provider fails call after call",
        protects="an outage holds a few jobs, not all of them",
        file="worker/submit.py",
        old="    if doubts >= runtime.settings.doubts_before_pause:\n",
        new="    if doubts < 0:\n",
        tests=("tests/integration/test_outage.py::test_an_outage_pauses_the_account_and_the_rest_waits_unspent",),
    ),
    Mutant(
        removed="the look at the bucket before paying",
        protects="nothing is bought whose result would die before it can be stored",
        file="worker/submit.py",
        old="    if account is None or (account.wire.poll_batch == 0 and runtime.bucket_is_refusing):\n",
        new="    if account is None:\n",
        tests=(_TRANSFER + "test_a_message_to_pay_that_arrives_while_the_bucket_is_away_goes_back_unspent",),
    ),
)
