"""What a job costs in things that can be counted: statements, upstream requests, messages. A rise is a decision."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine
from tests.support.drain import drain
from tests.support.outcome import ended
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.runtime import Runtime

JOBS = 40
MOST_STATEMENTS = 14
"""In a burst, a job, without what each tick asks at rest: a busy machine ticks more often until the jobs have ended."""
MOST_REQUESTS = 1.6
MOST_MESSAGES = 0.6
MOST_TO_ENQUEUE = 1
"""Statements for one row into a batch and for an account that the client knows."""
MOST_AT_REST = 2
"""Statements a tick of a worker with two accounts and nothing to do."""


def counted(engine: Engine) -> Counter[str]:
    found: Counter[str] = Counter()

    def count(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        found[" ".join(statement.split())[:60]] += 1

    event.listen(engine, "before_cursor_execute", count)
    return found


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each tick of a dispatcher returned."""
    found: list[bool] = []
    tick = Dispatcher.tick
    monkeypatch.setattr(Dispatcher, "tick", lambda dispatcher: found.append(tick(dispatcher)))
    return found


def test_a_job_of_a_burst_costs_no_more_than_it_did(
    client: Client, runtime: Runtime, simulated: Simulator, ticks: list[bool]
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": f"harbour {number}"} for number in range(JOBS)], batch="b")
    messages: list[Parcel] = []
    statements = counted(runtime.engine)
    drain(runtime, ended(client), seen=messages.append)
    assert client.totals("b") == {"succeeded": JOBS}
    own = statements.total() - MOST_AT_REST * len(ticks)
    assert own / JOBS <= MOST_STATEMENTS, statements.most_common(15)
    api = [
        entry
        for entry in simulated.requests(10_000)
        if entry["provider"] == "bloom" and entry["route"] in {"submit", "poll"}
    ]
    assert len(api) / JOBS <= MOST_REQUESTS, Counter(entry["route"] for entry in api)
    assert len(messages) / JOBS <= MOST_MESSAGES, Counter(parcel.stage for parcel in messages)


def test_a_job_is_enqueued_with_few_statements_and_no_table_of_its_own(client: Client) -> None:
    row = {"provider": "bloom", "prompt": "a harbour"}
    for name in ("first", "second"):
        client.enqueue([{**row, "custom_id": name}], batch="b")
    statements = counted(client._engine)
    client.enqueue([{**row, "custom_id": "third"}], batch="b")
    assert statements.total() <= MOST_TO_ENQUEUE, statements.most_common()
    assert not [one for one in statements if "TABLE" in one or one.startswith("COPY")]


def test_a_worker_at_rest_asks_few_questions_a_tick(client: Client, runtime: Runtime) -> None:
    dispatcher = Dispatcher(runtime, lambda _: None, lambda _: None)
    dispatcher._register()
    dispatcher.tick()
    dispatcher._folded_at = float("inf")
    statements = counted(runtime.engine)
    for _ in range(10):
        dispatcher.tick()
    assert client.batches() == []
    assert statements.total() / 10 <= MOST_AT_REST, statements.most_common()
