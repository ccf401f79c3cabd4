"""Work on very many jobs: a few hundred in a transaction, whoever is killed in the middle, and on from there."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, event

from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import bulk
from shared.db.jobs.transitions import Move
from shared.db.payments import caps
from shared.db.read import counts
from shared.lifecycle import JobState, Outcome
from tests.support import rows

JOBS = 1_300
FAILED = """
UPDATE job SET state = 'failed', due_at = NULL, finished_at = now(), error_code = 'provider_rejected'
WHERE state = 'queued'
"""
HELD = """
UPDATE job SET on_hold = true, error_code = :code, due_at = now() + interval '1 day' WHERE state = 'queued'
"""


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def most_moved() -> list[int]:
    return []


@pytest.fixture
def client(client: Client, most_moved: list[int]) -> Iterator[Client]:
    """A client whose transactions note how many jobs they changed, and are killed at the third that changes many."""

    def note(connection: Connection, *_: Any) -> None:
        moved = connection.exec_driver_sql("SELECT count(*) FROM job WHERE xmin = pg_current_xact_id()::xid")
        most_moved.append(moved.scalar_one())

    event.listen(client._engine, "commit", note)
    yield client
    event.remove(client._engine, "commit", note)


def killed_after(client: Client, commits: int) -> Any:
    left = [commits]

    def die(connection: Connection) -> None:
        moved = connection.exec_driver_sql("SELECT 1 FROM job WHERE xmin = pg_current_xact_id()::xid LIMIT 1").first()
        left[0] -= moved is not None
        if left[0] < 0:
            raise KilledError

    event.listen(client._engine, "commit", die)
    return lambda: event.remove(client._engine, "commit", die)


def held(engine: Engine, batch: str = "b") -> int:
    with engine.connect() as connection:
        return counts.by_state(connection, batch)["bloom"].get("on_hold", 0)


def many(engine: Engine, statement: str, **parameters: Any) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(JOBS)])
    rows.rows(engine, statement, **parameters)


def test_a_retry_of_a_batch_that_was_killed_goes_on_with_what_is_left(
    client: Client, engine: Engine, most_moved: list[int]
) -> None:
    many(engine, FAILED)
    plan = client.plan_retry(batch="b")
    alive = killed_after(client, 4)
    with pytest.raises(KilledError):
        client.retry(plan)
    alive()
    assert client.totals("b") == {"queued": 4 * bulk.CHUNK, "failed": JOBS - 4 * bulk.CHUNK}
    assert client.retry(client.plan_retry(batch="b")) == JOBS - 4 * bulk.CHUNK
    assert client.totals("b") == {"queued": JOBS}
    assert max(most_moved) == bulk.CHUNK


def test_a_cap_that_was_raised_and_killed_lets_the_rest_go_once_it_is_said_again(
    client: Client, engine: Engine, most_moved: list[int]
) -> None:
    many(engine, HELD, code=caps.BATCH_CAP)
    alive = killed_after(client, 1)
    with pytest.raises(KilledError):
        client.cap("b", ["bloom=9000"])
    alive()
    assert held(engine) == JOBS - caps.CHUNK
    client.cap("b", ["bloom=9000"])
    assert held(engine) == 0
    assert max(most_moved) == caps.CHUNK


def test_a_batch_is_cancelled_five_hundred_jobs_at_a_time(
    client: Client, engine: Engine, most_moved: list[int]
) -> None:
    rows.add(engine, [rows.new_job(str(number)) for number in range(JOBS)])
    done = client.cancel(batch="b")
    assert (done.ended, done.more) == (JOBS, False)
    assert max(most_moved) == caps.CHUNK


@pytest.mark.parametrize("code", [caps.BATCH_CAP, caps.PRICE_UNKNOWN, "another"])
def test_jobs_on_hold_that_are_due_get_back_in_line_a_chunk_at_a_time(engine: Engine, code: str) -> None:
    many(engine, HELD, code=code)
    rows.rows(engine, "UPDATE job SET due_at = now()")
    released = []
    for _ in range(4):
        with transaction(engine) as connection:
            released.append(caps.requeue_affordable(connection, "bloom", "bloom"))
    assert released == [500, 500, 300, 0]


def test_money_that_came_back_releases_the_jobs_of_its_batch_alone(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"o{number}") for number in range(3)], batch="other")
    rows.add(engine, [rows.new_job(str(number)) for number in range(3)], caps={"bloom": Decimal(2)})
    rows.rows(engine, HELD, code=caps.BATCH_CAP)
    rows.rows(engine, "UPDATE job SET on_hold = false, due_at = now(), priority = 1 WHERE custom_id = '0'")
    (intent,) = rows.open_intents(engine, rows.claim(engine))
    with transaction(engine) as connection:
        assert caps.requeue_affordable(connection, "bloom", "bloom") == 0
    back = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 60)
    assert rows.settle(engine, intent, rows.Answer(Outcome.REJECTED), back)
    with transaction(engine) as connection:
        assert caps.requeue_affordable(connection, "bloom", "bloom") == 2
    assert (held(engine), held(engine, "other")) == (0, 3)


def test_a_price_that_became_known_releases_a_chunk_at_a_time(engine: Engine) -> None:
    many(engine, HELD, code=caps.PRICE_UNKNOWN)
    released = []
    for _ in range(3):
        with transaction(engine) as connection:
            released.append(caps.requeue_priced(connection, ["bloom"]))
    assert released == [500, 500, 300]
