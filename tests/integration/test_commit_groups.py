"""Groups of writes: one transaction where all goes well, and a savepoint for each only once one has failed."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from shared.db import engine as engines
from shared.db.engine import Engine, transaction
from shared.db.group_commit import JointWrite, TryAgainError, WriteRefusedError, commit_all
from tests.support import rows


def adding(name: str) -> Any:
    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO batch (id, name) VALUES (gen_random_uuid(), :name)"), {"name": name})
        return name

    return work


def defect(_: Connection) -> None:
    raise LookupError("a defect")


def timing_out(connection: Connection) -> None:
    connection.execute(text("SET LOCAL statement_timeout = 1"))
    connection.execute(text("SELECT pg_sleep(5)"))


def statements(engine: Engine) -> list[str]:
    said: list[str] = []

    @event.listens_for(engine, "savepoint")
    def note(_connection: object, name: str) -> None:
        said.append(name)

    return said


def names(engine: Engine) -> list[str]:
    return [row.name for row in rows.rows(engine, "SELECT name FROM batch ORDER BY name")]


def test_a_group_that_goes_well_takes_no_savepoint(engine: Engine) -> None:
    said = statements(engine)
    assert commit_all(engine, [adding("a"), adding("b")]) == ["a", "b"]
    assert said == []
    assert names(engine) == ["a", "b"]


@pytest.mark.parametrize(
    ("bad", "kind"), [(adding("a"), WriteRefusedError), (defect, LookupError), (timing_out, TryAgainError)]
)
def test_a_write_that_fails_sets_only_itself_aside(engine: Engine, bad: Any, kind: type[Exception]) -> None:
    commit_all(engine, [adding("a")])
    before, failed, after = commit_all(engine, [adding("b"), bad, adding("c")])
    assert (before, after) == ("b", "c")
    assert isinstance(failed, kind)
    assert names(engine) == ["a", "b", "c"]


def add_all(connection: Connection, names: Sequence[str]) -> list[str]:
    """Add batches with one statement, which fails if one of them is there already."""
    added = text("INSERT INTO batch (id, name) SELECT gen_random_uuid(), n FROM unnest(CAST(:names AS text[])) AS n")
    connection.execute(added, {"names": list(names)})
    return [f"{name} of {len(names)}" for name in names]


def test_items_of_one_joint_write_are_written_with_one_statement_and_get_their_own_results(engine: Engine) -> None:
    works = [JointWrite(add_all, "a"), adding("b"), JointWrite(add_all, "c")]
    assert commit_all(engine, works) == ["a of 2", "b", "c of 2"]
    assert names(engine) == ["a", "b", "c"]


def test_an_item_that_postgresql_refuses_keeps_no_other_item_from_being_written(engine: Engine) -> None:
    commit_all(engine, [adding("a")])
    first, refused, last = commit_all(engine, [JointWrite(add_all, name) for name in ("b", "a", "c")])
    assert (first, last) == ("b of 1", "c of 1")
    assert isinstance(refused, WriteRefusedError)
    assert names(engine) == ["a", "b", "c"]


def test_a_joint_write_that_forgets_an_item_is_a_defect_of_each(engine: Engine) -> None:
    def forgetful(_: Connection, items: Sequence[str]) -> list[str]:
        return list(items[1:])

    results = commit_all(engine, [JointWrite(forgetful, "a"), JointWrite(forgetful, "b")])
    assert [type(result) for result in results] == [IndexError, IndexError]


def test_a_connection_that_died_while_it_rested_is_replaced_unseen(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(engine) as other:
        other.execute(text("SELECT 1"))
        with transaction(engine) as connection:
            mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    rows.rows(engine, "SELECT pg_terminate_backend(:pid, 5000) WHERE :pid <> pg_backend_pid()", pid=mine)
    monkeypatch.setattr(engines, "_RESTED_SECONDS", 0.0)
    for _ in range(3):
        with transaction(engine), transaction(engine) as connection:  # the second is the one that rested longest
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != mine
