"""The schema: equal to its types, migrated by many at once, and holding its own invariants."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from shared.db import migrating, schema
from shared.db.engine import Engine, open_engine
from shared.db.schema import SchemaError
from tests.support import rows
from tests.support.servers import Databases


@pytest.fixture
def empty(databases: Databases) -> Iterator[Engine]:
    with databases.fresh(migrated=False) as url:
        engine = open_engine(SecretStr(url), application="tests", pool_size=1)
        yield engine
        engine.dispose()


def test_the_types_mirror_the_migrated_database(engine: Engine) -> None:
    assert migrating.differences(engine) == []


def test_migrating_twice_changes_nothing(empty: Engine) -> None:
    assert migrating.migrate(empty) == migrating.migrate(empty) == schema.wanted_revision()
    schema.check(empty)


def test_four_may_migrate_at_once(databases: Databases) -> None:
    with databases.fresh(migrated=False) as url, ThreadPoolExecutor(4) as pool:
        engines = [open_engine(SecretStr(url), application="tests", pool_size=1) for _ in range(4)]
        assert set(pool.map(migrating.migrate, engines)) == {schema.wanted_revision()}
        schema.check(engines[0])
        for engine in engines:
            engine.dispose()


def test_an_empty_database_is_told_to_migrate(empty: Engine) -> None:
    with pytest.raises(SchemaError, match=r"is empty, this code needs .*: run `genqueue migrate`"):
        schema.check(empty)


def test_a_newer_schema_is_refused_by_check_and_by_migrate(engine: Engine) -> None:
    rows.rows(engine, "UPDATE alembic_version SET version_num = '9999'")
    for ask in (schema.check, migrating.migrate):
        with pytest.raises(SchemaError, match="9999 is newer than this code: upgrade genqueue"):
            ask(engine)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE job SET state = 'lost'", "job_state_known"),
        ("UPDATE job SET state = 'succeeded', due_at = NULL", "job_finished_iff_final"),
        ("UPDATE job SET finished_at = now()", "job_finished_iff_final"),
        ("UPDATE job SET due_at = NULL", "job_due_iff_not_final"),
        ("UPDATE job SET state = 'cancelled', finished_at = now()", "job_due_iff_not_final"),
        ("UPDATE job SET state = 'failed', finished_at = now(), due_at = NULL", "job_failed_has_code"),
        ("UPDATE job SET state = 'in_doubt'", "job_failed_has_code"),
        ("UPDATE account SET paused_at = now()", "account_paused_has_reason"),
        ("UPDATE image SET state = 'stored'", "image_stored_has_object"),
        ("UPDATE image SET state = 'failed'", "image_failed_has_code"),
    ],
)
def test_the_database_refuses_a_row_that_breaks_an_invariant(engine: Engine, statement: str, constraint: str) -> None:
    rows.transferring(engine)
    with pytest.raises(IntegrityError, match=constraint):
        rows.rows(engine, statement)


def test_a_job_has_at_most_one_open_submission(engine: Engine) -> None:
    rows.one_intent(engine)
    with pytest.raises(IntegrityError, match="submission_one_open"):
        rows.rows(
            engine,
            "INSERT INTO submission "
            "(id, epoch, job_id, batch_id, account, sender, sender_lock, send_by, visible_by, unit) "
            "SELECT gen_random_uuid(), epoch + 1, job_id, batch_id, account, sender, sender_lock, send_by, visible_by, "
            "unit FROM submission",
        )


def test_an_upstream_id_belongs_to_one_submission_of_an_account(engine: Engine) -> None:
    rows.transferring(engine)
    rows.transferring(engine)
    with pytest.raises(IntegrityError, match="submission_account_upstream_id_key"):
        rows.rows(engine, "UPDATE submission SET upstream_id = 'the same'")


def test_every_revision_lies_beside_the_code(repository: Path) -> None:
    versions = repository / "shared" / "db" / "migrations" / "versions"
    assert f"{schema.wanted_revision()}_" in "".join(path.name for path in versions.glob("*.py"))


def test_a_database_of_the_first_release_keeps_its_jobs_and_their_money(empty: Engine) -> None:
    migrating.migrate(empty, to="0001")
    for statement in FIRST_RELEASE:
        rows.rows(empty, statement)
    migrating.migrate(empty)
    (found,) = rows.rows(
        empty,
        "SELECT s.batch_id = job.batch_id AS same, s.visible_by > s.send_by AS later, s.inferred, job.on_hold, "
        "job.crashes, batch.caps FROM submission s JOIN job ON job.id = s.job_id JOIN batch ON batch.id = job.batch_id",
    )
    assert tuple(found) == (True, True, False, False, 0, {})


FIRST_RELEASE = (
    "INSERT INTO account (name, provider, unit, concurrency) VALUES ('bloom', 'bloom', 'credit', 4)",
    "INSERT INTO batch (id, name) VALUES (gen_random_uuid(), 'spring')",
    (
        "INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, state, due_at, "
        "deadline_at, collect_until, error_code) SELECT gen_random_uuid(), id, 'a', 'bloom', 'bloom', '{}', '', 1, "
        "'in_doubt', now(), now(), now(), 'answer_lost' FROM batch"
    ),
    (
        "INSERT INTO submission (id, job_id, epoch, account, sender, sender_lock, send_by, outcome, unit) "
        "SELECT gen_random_uuid(), id, 1, 'bloom', 'w', 1, now(), 'unknown', 'credit' FROM job"
    ),
)
