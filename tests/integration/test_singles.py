"""Single rows of many callers: one transaction for those that come together, and none waits for a file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from producer import Client, InvalidRowsError, NoSuchBatchError
from producer.client import BatchBusyError, EnqueuedJob, Order, checked
from shared.db.engine import Engine, transaction
from shared.db.jobs.enqueue import EnqueueConflictError, enqueued_rows
from shared.db.tokens import Token, TokenCapError, TokenTerms
from shared.settings import load
from shared.tokens import BACKEND
from tests.support import rows
from tests.support.api import HARBOUR, bearer, serving

TURN = "SELECT pg_advisory_xact_lock(hashtextextended('enqueue shop', 0))"

FILE = """
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, priority, fair_position,
  state, due_at, deadline_at, collect_until)
SELECT gen_random_uuid(), batch_id, 'b', account, provider, request, fingerprint, images, priority, fair_position,
  state, due_at, deadline_at, collect_until FROM job
"""


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url), connections=4) as opened:
        yield opened


def order(custom_id: str, *, batch: str = "shop", token: Token | None = None, **changes: Any) -> Order:
    given = {"provider": "bloom", "prompt": "a quiet harbour", "custom_id": custom_id, **changes}
    return Order(checked(given), batch, token)


def capped(client: Client, most: str) -> Token:
    terms = TokenTerms("shop", frozenset(BACKEND), {"bloom": Decimal(most)})
    found = client.find_token(client.create_token(terms)[1].get_secret_value())
    assert found is not None
    return found


def ids(done: list[EnqueuedJob | Exception]) -> list[Any]:
    return [one.id if isinstance(one, EnqueuedJob) else type(one) for one in done]


def test_rows_of_several_batches_share_a_transaction(client: Client, engine: Engine) -> None:
    done = client.add_together([order("a"), order("b", batch="other"), order("c")])
    assert all(isinstance(one, EnqueuedJob) and one.is_new for one in done)
    (written,) = rows.rows(engine, "SELECT count(DISTINCT CAST(xmin AS text)) AS transactions FROM job")
    assert written.transactions == 1


def test_the_same_row_twice_in_one_transaction_is_one_job(client: Client) -> None:
    done = client.add_together([order("a"), order("a")])
    assert len(set(ids(done))) == 1
    assert [one.is_new for one in done if isinstance(one, EnqueuedJob)] == [True, False]


def test_each_row_has_its_own_answer(client: Client) -> None:
    client.add_alone(order("a"))
    done = client.add_together([order("a"), order("a", prompt="another"), order("b")])
    assert [one if isinstance(one, type) else True for one in ids(done)] == [True, EnqueueConflictError, True]


def test_a_row_beyond_its_tokens_cap_does_not_take_the_others_with_it(client: Client) -> None:
    one, poor = capped(client, "100"), capped(client, "0.01")
    done = client.add_together([order("a", token=one), order("b", token=poor), order("c", token=one)])
    assert [one if isinstance(one, type) else True for one in ids(done)] == [True, TokenCapError, True]
    assert client.totals("shop") == {"queued": 2}
    spent = {token.name + str(token.caps): amounts for token, amounts in client.tokens()}
    assert len(spent) == 2
    assert sum(amounts.get("bloom", Decimal(0)) > 0 for amounts in spent.values()) == 1


def test_a_wrong_row_is_refused_before_the_database_is_asked() -> None:
    with pytest.raises(InvalidRowsError):
        checked({"provider": "bloom", "custom_id": "a"})


def test_a_row_is_added_beside_a_file_that_is_on_its_way_into_the_batch(client: Client, engine: Engine) -> None:
    client.add_alone(order("a"))
    with transaction(engine) as upload:
        upload.execute(text(TURN))
        (busy,) = client.add_together([order("b")])
        assert isinstance(busy, BatchBusyError)
        assert client.add_alone(order("b")).is_new
    assert client.totals("shop") == {"queued": 2}


def test_posts_go_on_while_a_file_makes_their_batch(client: Client, engine: Engine) -> None:
    client._open_for_others("shop")
    with serving(client) as http, transaction(engine) as upload:
        upload.execute(text(TURN))
        header = bearer(client)
        with pytest.raises(NoSuchBatchError):  # it has nothing to look at yet
            client.totals("shop")
        answer = http.post("/v1/jobs", json=HARBOUR, headers=header)
        assert answer.status_code == 202
        assert http.get(answer.headers["location"], headers=header).json()["state"] == "queued"
        assert client.totals("shop") == {"queued": 1}


def test_a_row_that_the_file_holds_too_is_to_be_sent_again(client: Client, engine: Engine) -> None:
    client.add_alone(order("a"))
    with transaction(engine) as upload:
        upload.execute(text(TURN))
        upload.execute(text(FILE))
        with pytest.raises(BatchBusyError):
            client.add_alone(order("b"))
    assert not client.add_alone(order("b")).is_new


def test_many_who_send_the_same_rows_at_once_get_the_same_jobs(client: Client) -> None:
    orders = [order(str(number)) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        every = list(pool.map(client.add_together, [orders, orders[::-1], orders, orders[::-1]]))
    answers = [sorted(map(str, ids(done))) for done in every]
    assert all(one == answers[0] for one in answers)
    assert client.totals("shop") == {"queued": 12}


def leaves(engine: Engine, custom_id: str) -> None:
    which = "(SELECT id FROM job WHERE custom_id = :name)"
    for table, column in (("job_event", "job_id"), ("job", "id")):
        rows.rows(engine, f"DELETE FROM {table} WHERE {column} = {which}", name=custom_id)  # noqa: S608 - our names


def test_a_file_whose_row_leaves_the_database_while_its_cost_is_counted_is_added(
    client: Client, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.add_alone(order("a"))

    def after_it_left(*given: Any) -> Any:
        leaves(engine, "a")
        return enqueued_rows(*given)

    monkeypatch.setattr("producer.ordering.enqueued_rows", after_it_left)
    file = tmp_path / "rows.csv"
    file.write_text("custom_id,provider,prompt\na,bloom,a quiet harbour\nb,bloom,a quiet harbour\n")
    assert client.enqueue_file(file, batch="shop", token=capped(client, "1")).added == 1
