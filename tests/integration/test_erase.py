"""Erasing: what is personal goes from the database and the bucket, the money stays, and what is open is refused."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from ops.downloading import download_batch
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import inbox
from shared.db.jobs.insert_rows import JobTimes
from shared.db.jobs.transitions import Move, move
from shared.db.leaving import doomed
from shared.lifecycle import JobState
from tests.integration.test_unverified import CUT, WHOLE, job
from tests.support import aged, held, rows
from tests.support.command import Ran, genqueue
from tests.support.drain import drain, on_loop
from tests.support.outcome import ended
from tests.support.shelf import serving_shelf
from worker.runtime import Runtime
from worker.transport.spool import Spool
from worker.transport.storage_errors import StorageRefused
from worker.upkeep.leaving import delete_doomed

SECRET = "grandmother in her garden"
PERSONAL = (
    "UPDATE job SET error = :words WHERE id = :id",
    "UPDATE submission SET error = :words, kept_as = 's3://b/submissions/x/answer' WHERE job_id = :id",
    "UPDATE image SET error = :words, link = :words WHERE job_id = :id",
    "UPDATE job_event SET note = :words WHERE job_id = :id",
    (
        "UPDATE job SET request = jsonb_build_object('prompt', CAST(:words AS text), 'n', 1, 'model', 'm', "
        "'references', jsonb_build_array(CAST(:words AS text)), "
        "'options', jsonb_build_object('negative', CAST(:words AS text))) "
        "WHERE id = :id"
    ),
)
Run = Callable[..., Ran]


@pytest.fixture
def run(database_url: str) -> Run:
    return lambda *arguments: genqueue("erase", *arguments, env={"GENQUEUE_DATABASE_URL": database_url})


def told(engine: Engine, job_id: UUID) -> UUID:
    """Have the words of a person in every place of a job where any may stand."""
    for statement in PERSONAL:
        rows.rows(engine, statement, id=job_id, **({"words": SECRET} if ":words" in statement else {}))
    return job_id


def said_of(engine: Engine, job_id: UUID) -> str:
    """Everything that the database holds of a job, as one text."""
    tables = {"job": "id", "submission": "job_id", "image": "job_id", "job_event": "job_id", "ledger": "job_id"}
    return "\n".join(
        str(row)
        for table, name in tables.items()
        for row in rows.rows(engine, f"SELECT * FROM {table} WHERE {name} = :id", id=job_id)  # noqa: S608 - our names
    )


def money(engine: Engine) -> list[Any]:
    return [
        rows.rows(engine, "SELECT * FROM ledger ORDER BY id"),
        rows.rows(engine, "SELECT id, outcome, reserved, settled, elsewhere, upstream_id FROM submission ORDER BY id"),
    ]


def keys(engine: Engine) -> set[str]:
    return {row.key for row in rows.rows(engine, "SELECT key FROM doomed_object")}


def test_no_word_of_a_person_is_left_and_no_cent_moves(engine: Engine, client: Client) -> None:
    erased = told(engine, aged.ended(engine, batch="spring", days=1))
    other = told(engine, aged.ended(engine, batch="summer", days=1))
    before, bill = money(engine), client.bill()
    (fingerprint,) = rows.rows(engine, "SELECT fingerprint FROM job WHERE id = :id", id=erased)
    assert SECRET in said_of(engine, erased)
    assert client.carry_out_erase(client.plan_erase(job=erased)).jobs.total() == 1
    assert SECRET not in said_of(engine, erased)
    assert SECRET in said_of(engine, other)
    assert (money(engine), client.bill()) == (before, bill)
    found = rows.job(engine, erased)
    assert found.request == {"prompt": "[erased]", "n": 1, "model": "m"}
    assert found.fingerprint == fingerprint.fingerprint
    (event,) = rows.rows(engine, "SELECT * FROM job_event WHERE code = 'erased'")
    assert (event.job_id, event.actor, event.from_state, event.to_state) == (erased, "person", "succeeded", "succeeded")


@pytest.mark.parametrize("key", ["promt", "negative_prompt", "input", "model", "size", "n"])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"words": SECRET}], ids=["text", "list", "object"])
def test_no_word_of_a_wrong_row_is_left_under_any_key(engine: Engine, client: Client, key: str, value: object) -> None:
    row = {"custom_id": "a", "provider": "bloom", "prompt": SECRET, key: value}
    asked = "SELECT job_id FROM enqueue('spring', CAST(:rows AS jsonb))"
    ((job_id,),) = rows.rows(engine, asked, rows=json.dumps([row]))
    with transaction(engine) as connection:
        assert inbox.take(connection, "spring", JobTimes(100, 100), actor="w") == 1
    assert rows.job(engine, job_id).error_code == inbox.INVALID
    client.carry_out_erase(client.plan_erase(batch="spring"))
    assert SECRET not in said_of(engine, job_id)
    assert [tuple(one) for one in rows.rows(engine, asked, rows=json.dumps([row]))] == [(job_id,)]


def test_of_a_request_only_what_no_person_words_is_left(engine: Engine, client: Client) -> None:
    erased = aged.ended(engine, batch="spring", days=1)
    kept = {"model": "m", "aspect_ratio": "1:1", "size": "2K", "n": 1, "seed": 7, "output_format": "png"}
    asked = {"prompt": SECRET, "references": [SECRET], "options": {"a": SECRET}, "a later field": SECRET, **kept}
    change = "UPDATE job SET request = CAST(:asked AS jsonb) WHERE id = :id"
    rows.rows(engine, change, asked=json.dumps(asked), id=erased)
    client.carry_out_erase(client.plan_erase(batch="spring"))
    assert rows.job(engine, erased).request == {"prompt": "[erased]", **kept}


def test_the_same_row_sent_again_is_still_known_and_adds_nothing(client: Client, runtime: Runtime) -> None:
    row = {"provider": "bloom", "prompt": SECRET, "custom_id": "a"}
    client.enqueue([row], batch="b")
    drain(runtime, ended(client))
    client.carry_out_erase(client.plan_erase(batch="b"))
    assert client.enqueue([row], batch="b").added == 0


def test_a_failed_job_that_was_erased_is_never_sent_with_the_marker_for_a_prompt(
    engine: Engine, client: Client
) -> None:
    (job_id,) = [held.refused(engine)]
    assert len(client.plan_retry(job=job_id).targets) == 1
    client.carry_out_erase(client.plan_erase(job=job_id))
    assert client.plan_retry(job=job_id).targets == ()


def test_stored_images_stay_and_kept_replies_and_unverified_files_leave_the_bucket(
    engine: Engine, client: Client, runtime: Runtime, tmp_path: Any
) -> None:
    with serving_shelf() as shelf:
        whole, cut = job(engine, shelf.put(WHOLE)), job(engine, shelf.put(CUT))
        drain(runtime, ended(client))
    (reply,) = rows.rows(engine, "SELECT id FROM submission WHERE job_id = :id", id=whole)
    put(runtime, f"submissions/{reply.id}/reply")
    (stored,) = rows.rows(engine, "SELECT key FROM image WHERE job_id = :id", id=whole)
    (unverified,) = rows.rows(engine, "SELECT key FROM image WHERE job_id = :id", id=cut)
    client.carry_out_erase(client.plan_erase(batch="b"))
    on_loop(runtime, partial(delete_doomed, runtime))
    assert keys(engine) == set()
    assert [is_there(runtime, key) for key in (stored.key, unverified.key, f"submissions/{reply.id}/reply")] == [
        True,
        False,
        False,
    ]
    assert download_batch(client.results("b"), runtime.storage, tmp_path).written == 1


def test_with_results_the_stored_images_go_too_and_a_download_says_that_they_are_not_there(
    engine: Engine, client: Client, runtime: Runtime, tmp_path: Any
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": SECRET}], batch="b")
    drain(runtime, ended(client))
    (stored,) = rows.rows(engine, "SELECT key, sha256 FROM image")
    client.carry_out_erase(client.plan_erase(batch="b", results=True))
    on_loop(runtime, partial(delete_doomed, runtime))
    assert not is_there(runtime, stored.key)
    assert [row["s3_uri"] for row in client.results("b")] == [None]
    assert download_batch(client.results("b"), runtime.storage, tmp_path).missing == 1
    assert rows.rows(engine, "SELECT sha256 FROM image")[0].sha256 == stored.sha256


def test_what_the_bucket_refuses_to_delete_is_tried_again_later(
    engine: Engine, client: Client, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged.ended(engine, days=1)
    client.carry_out_erase(client.plan_erase(batch="b"))
    doomed_keys = keys(engine)
    with monkeypatch.context() as refusing:
        refusing.setattr(runtime.storage, "delete", _refuse)
        on_loop(runtime, partial(delete_doomed, runtime))
    assert keys(engine) == doomed_keys
    assert client.doomed_objects() == (3, "storage_refused")
    with transaction(engine) as connection:
        assert doomed.take(connection, 10) == []
    told = genqueue(
        "prune", "--dry-run", env={"GENQUEUE_DATABASE_URL": client.settings.database_url.get_secret_value()}
    )
    assert "3 erased objects wait for a worker to delete them from the bucket (so far storage_refused)" in told.out
    rows.rows(engine, "UPDATE doomed_object SET due_at = now()")
    on_loop(runtime, partial(delete_doomed, runtime))
    assert client.doomed_objects() == (0, None)


def _refuse(_key: str) -> None:
    raise StorageRefused("no")


def put(runtime: Runtime, key: str) -> None:
    with Spool(directory=runtime.spool_dir, max_bytes=1000) as spool:
        spool.write(b"a kept answer")
        runtime.storage.put(key, spool, content_type="application/octet-stream", metadata={})


def is_there(runtime: Runtime, key: str) -> bool:
    return runtime.storage.head(key) is not None


def _held(engine: Engine) -> None:
    held.held(engine)


def _queued(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])


def _in_the_air(engine: Engine) -> None:
    rows.one_intent(engine)


def _money_held(engine: Engine) -> None:
    (job_id,) = held.held(engine)
    with transaction(engine) as connection:
        move(connection, [Move(rows.claim_of(engine, job_id), JobState.IN_DOUBT, JobState.FAILED, code="x")], actor="p")


def _uncollected(engine: Engine) -> None:
    rows.rows(engine, "UPDATE image SET state = 'ready' WHERE job_id = :id", id=aged.ended(engine, days=1))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (_held, "held in doubt: `genqueue resolve JOB --fail` ends it"),
        (_queued, "not ended yet: `genqueue cancel JOB` ends it"),
        (_in_the_air, "not ended yet: `genqueue cancel JOB` ends it"),
        (_money_held, "`genqueue resolve JOB --fail --charged AMOUNT` settles it"),
        (_uncollected, "`genqueue retry JOB` collects it"),
    ],
)
def test_what_is_open_or_held_is_refused_with_the_command_that_ends_it(
    engine: Engine, run: Run, stage: Callable[[Engine], None], words: str
) -> None:
    stage(engine)
    before = held.everything(engine)
    ran = run("b", "--yes")
    assert ran.code == 2
    assert ran.err.startswith("1 left alone: ")
    assert words in ran.err
    assert "nothing was erased" in ran.err
    assert held.everything(engine) == before


def test_the_rest_of_a_batch_is_erased_beside_a_job_that_is_held_and_the_command_ends_with_3(
    engine: Engine, run: Run
) -> None:
    held.held(engine)
    aged.ended(engine, days=1)
    ran = run("b", "--yes")
    assert ran.code == 3
    assert "1 left alone: held in doubt" in ran.err
    assert "1 erased, stored images stay; a worker deletes the objects from the bucket" in ran.err


def test_a_dry_run_changes_nothing_and_its_token_does_exactly_what_it_showed(engine: Engine, run: Run) -> None:
    job_id = aged.ended(engine, days=1)
    before = held.everything(engine)
    shown = run("b", "--dry-run")
    assert shown.code == 0
    assert held.everything(engine) == before
    (command,) = [line.split() for line in shown.out.splitlines() if "--confirm" in line]
    later = aged.ended(engine, days=1)
    refused = run(*command[2:])
    assert (refused.code, "nothing was done" in refused.err) == (2, True)
    assert rows.job(engine, job_id).request["prompt"] != "[erased]"
    rows.rows(
        engine,
        "UPDATE job SET state = 'in_doubt', due_at = now(), finished_at = NULL, error_code = 'x' WHERE id = :id",
        id=later,
    )
    assert run(*command[2:]).code == 3
    assert rows.job(engine, job_id).request["prompt"] == "[erased]"
    assert rows.job(engine, later).request["prompt"] != "[erased]"


def test_without_a_word_nothing_is_erased_where_nobody_can_be_asked(engine: Engine, run: Run) -> None:
    aged.ended(engine, days=1)
    before = held.everything(engine)
    assert run("b").code == 2
    assert held.everything(engine) == before


def test_a_name_that_is_neither_a_job_nor_a_batch_is_refused(engine: Engine, run: Run) -> None:
    ran = run("never")
    assert ran.code == 2
    assert "there is no batch 'never', and no job is called 'never'" in ran.err
