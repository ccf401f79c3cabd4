"""The read layer: look-ups by every name, pages that join without gap or double, and no transaction left open."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from producer import Client
from producer.client import NoSuchBatchError, NoSuchJobError
from shared.db.engine import Engine, transaction
from shared.db.jobs import bulk
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.read import pages
from shared.db.read.pages import BatchCursor, FinishedCursor, id_range
from shared.lifecycle import ImageState, JobState
from tests.support import rows

_OPEN = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"


def ids(engine: Engine, batch: str = "b") -> list[UUID]:
    statement = "SELECT job.id FROM job JOIN batch ON batch.id = batch_id WHERE name = :name ORDER BY job.id"
    return [row.id for row in rows.rows(engine, statement, name=batch)]


def end(engine: Engine, some: Iterable[UUID], state: JobState = JobState.CANCELLED) -> None:
    with transaction(engine) as connection:
        move(connection, [Move(Claim(job, 0), JobState.QUEUED, state, code="x") for job in some], actor="a")


@pytest.mark.parametrize(
    ("beginning", "first", "last"),
    [
        ("0190", "01900000-0000-0000-0000-000000000000", "0190ffff-ffff-ffff-ffff-ffffffffffff"),
        ("01900000-", "01900000-0000-0000-0000-000000000000", "01900000-ffff-ffff-ffff-ffffffffffff"),
        ("01900000-7aF", "01900000-7af0-0000-0000-000000000000", "01900000-7aff-ffff-ffff-ffffffffffff"),
    ],
)
def test_the_beginning_of_an_id_is_a_range_of_ids(beginning: str, first: str, last: str) -> None:
    assert id_range(beginning) == (UUID(first), UUID(last))


@pytest.mark.parametrize("name", ["", "019", "0190x", "0190-", "01900000a", "harbour", "{0190}", f"{UUID(int=0)}0"])
def test_what_begins_no_id_is_no_range(name: str) -> None:
    assert id_range(name) is None


def test_a_job_is_found_by_its_id_its_beginning_its_custom_id_and_with_its_batch(
    client: Client, engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("x/y"), rows.new_job("twice")], batch="a/b")
    rows.add(engine, [rows.new_job("y"), rows.new_job("twice")], batch="a/b/x")
    first, second, third, fourth = *ids(engine, "a/b"), *ids(engine, "a/b/x")
    assert client.find_job(str(first)) == client.find_job("x/y") == first
    assert client.find_job(str(third)[:-2]) == client.find_job("y") == third
    assert client.find_job("a/b/twice") == second
    assert client.find_job("a/b/x/twice") == fourth
    for unclear in ("twice", "a/b/x/y", str(first)[:4]):
        with pytest.raises(NoSuchJobError, match="jobs answer to"):
            client.find_job(unclear)
    for unknown in ("nobody", "%", "a/twice", "zzzz"):
        with pytest.raises(NoSuchJobError, match=r"no job is called .*: give an id"):
            client.find_job(unknown)
    with pytest.raises(NoSuchJobError, match=r"it is a batch: genqueue jobs a/b$"):
        client.find_job("a/b")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "0123456789"),
        ("queued", "01346"),
        ("on_hold", "1"),
        ("in_doubt", "89"),
        ("checking", "9"),
        ("cancelled", "257"),
        ("succeeded", ""),
        ("looking_up", "9"),
    ],
)
def test_pages_of_every_size_join_to_the_jobs_of_a_state(
    engine: Engine, client: Client, state: str | None, expected: str
) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(10)])
    every = ids(engine)
    end(engine, [every[2], every[5], every[7]])
    rows.rows(engine, "UPDATE job SET on_hold = true, error_code = 'x' WHERE custom_id = '1'")
    doubt = (
        "UPDATE job SET state = 'in_doubt', error_code = 'x', on_hold = custom_id = '8' WHERE custom_id IN ('8', '9')"
    )
    rows.rows(engine, doubt)
    for size in (1, 3, 10, 50):
        found: list[str] = []
        after = None
        with engine.connect() as connection:
            while page := pages.jobs(connection, "b", state=state, after=after, limit=size):
                assert len(page) <= size
                found += [row["custom_id"] for row in page]
                after = page[-1]["id"]
        assert "".join(found) == expected
    assert "".join(row["custom_id"] for row in client.jobs("b", state=state)) == expected


def test_pages_of_batches_and_of_finished_jobs_join_too(engine: Engine, client: Client) -> None:
    for number in range(5):
        rows.add(engine, [rows.new_job("a")] if number else [], batch=f"b{number}")
        end(engine, ids(engine, f"b{number}"))
    found: list[str] = []
    at = None
    done = [(row["batch"], row["state"]) for row in finished_by_twos(engine)]
    with engine.connect() as connection:
        while page := pages.batches(connection, after=at, limit=2):
            found += [row["name"] for row in page]
            at = BatchCursor(page[-1]["created_at"], page[-1]["id"])
    assert found == [f"b{number}" for number in range(5)]
    assert done == [(f"b{number}", "cancelled") for number in range(1, 5)]
    assert [(row["name"], row["jobs"], row["cancelled"]) for row in client.batches()] == [
        ("b0", 0, 0),
        *((f"b{number}", 1, 1) for number in range(1, 5)),
    ]


def finished_by_twos(engine: Engine) -> Iterable[pages.Row]:
    after = FinishedCursor(datetime(2020, 1, 1, tzinfo=UTC), bulk.NIL)
    with engine.connect() as connection:
        while page := pages.finished(connection, after, limit=2):
            yield from page
            after = FinishedCursor(page[-1]["finished_at"], page[-1]["id"])


def test_pages_of_results_hold_whole_jobs(engine: Engine) -> None:
    for _ in range(3):
        rows.transferring(engine, ImageState.READY, ImageState.FAILED)
    rows.add(engine, [rows.new_job("waits", n=3)])
    with engine.connect() as connection:
        whole = pages.results(connection, "b")
        found, after = [], None
        for size in (2, 1, 5):
            page = pages.results(connection, "b", after=after, limit=size)
            found.append(len(page.rows))
            after = page.after
    assert (len(whole.rows), whole.after) == (9, None)
    assert (found, after) == ([4, 2, 3], None)


def test_nothing_is_open_while_a_caller_looks_at_a_result(
    client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages.results, "__kwdefaults__", {"after": None, "limit": 2})
    rows.add(engine, [rows.new_job(str(number)) for number in range(5)])
    found = []
    for row in client.results("b"):
        found.append(row["custom_id"])
        assert rows.rows(engine, _OPEN)[0].n == 0
    assert found == list("01234")


def test_results_of_a_batch_that_is_not_there_are_refused(client: Client) -> None:
    with pytest.raises(NoSuchBatchError):
        next(client.results("nobody"))


def test_error_codes_are_counted_by_provider(client: Client, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b"), rows.new_job("c", account="getimg")])
    end(engine, ids(engine)[:2], JobState.FAILED)
    assert client.error_counts("b") == {"bloom": {"x": 2}}
