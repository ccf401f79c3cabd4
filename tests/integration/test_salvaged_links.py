"""Links in a success that nobody can read, at a provider that cannot be asked again: fetched before they are over."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

import pytest

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.integration.test_costs import MODEL, POSTS, command, picture, working
from tests.support import rows
from tests.support.drain import drain, on_loop
from tests.support.http_stub import Stub, provider
from tests.support.outcome import ended, ends, only
from worker.evidence.inline_answers import recover_leftovers
from worker.runtime import Runtime
from worker.transport.storage_errors import StorageUnavailable
from worker.upkeep.kept_answers import read_kept

PRICE = Decimal("0.04")
POST = POSTS["getimg"]
Start = Callable[..., Any]


@pytest.fixture
def start(database_url: str, endpoints: Endpoints) -> Start:
    @contextmanager
    def begin(answer: Callable[[Stub], Any]) -> Iterator[tuple[Stub, Client, Runtime]]:
        with (
            provider({"GET /pic": picture()}) as stub,
            working(stub, "getimg", database_url, endpoints, prices={MODEL: str(PRICE)}) as (client, runtime),
        ):
            stub.routes[POST] = lambda _: answer(stub)
            row = {"provider": "getimg", "model": MODEL, "prompt": "a harbour", "custom_id": "a"}
            client.enqueue([row], batch="b")
            yield stub, client, runtime

    return begin


class Refusing:
    """A bucket that takes nothing."""

    def put(self, *_: Any, **__: Any) -> None:
        raise StorageUnavailable("the bucket is away")


class Held:
    """A short answer as the bucket takes it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)
        self.sha256_base64 = base64.b64encode(hashlib.sha256(body).digest()).decode()

    def rewound(self) -> io.BytesIO:
        return io.BytesIO(self._body)


def receipt(stub: Stub, **shape: Any) -> dict[str, Any]:
    return {"id": "r", "status": "completed", **shape, "usage": {"total_cost": float(PRICE)}}


def elsewhere(stub: Stub) -> dict[str, Any]:
    return receipt(stub, output=[{"href": f"{stub.url}/pic"}])


def money(client: Client) -> tuple[Decimal, Decimal]:
    (line,) = client.bill("b")
    return line["settled"], line["held"]


@pytest.mark.parametrize("shape", ["an object", "strings"])
def test_a_picture_in_the_documented_place_is_stored_in_whatever_shape(shape: str, start: Start) -> None:
    def answer(stub: Stub) -> Any:
        link = f"{stub.url}/pic"
        return receipt(stub, data={"url": link} if shape == "an object" else [link])

    with start(answer) as (_, client, runtime):
        drain(runtime, ended(client))
        assert (ends(client), money(client)) == ({"a": ("succeeded", None)}, (PRICE, 0))


def test_a_picture_before_the_place_where_an_answer_broke_off_is_stored_and_its_cost_stays_open(start: Start) -> None:
    def answer(stub: Stub) -> Any:
        body = json.dumps(receipt(stub, data=[{"url": f"{stub.url}/pic"}])).encode()
        return body[: body.index(b'"usage"')]

    with start(answer) as (stub, client, runtime):
        drain(runtime, ended(client))
        assert (ends(client), money(client)) == ({"a": ("succeeded", None)}, (0, PRICE))
        (attempt,) = only(client)["submissions"]
        assert attempt["kept_as"]
        assert stub.asked.count(POST) == 1


def test_a_picture_to_which_an_unreadable_answer_links_is_kept_until_a_person_accepts_it(
    start: Start, database_url: str
) -> None:
    with start(elsewhere) as (stub, client, runtime):
        drain(runtime, ended(client))
        assert (ends(client), money(client)) == ({"a": ("failed", "result_unverified")}, (0, PRICE))
        (attempt,) = only(client)["submissions"]
        assert attempt["kept_as"]
        told = command(database_url, "explain", "b/a").out
        assert "unverified/" in told
        assert attempt["kept_as"] in told
        client.accept(client.unverified(batch="b"))
        assert ends(client) == {"a": ("succeeded", None)}
        assert stub.asked.count(POST) == 1


def test_a_link_that_fails_for_a_moment_is_still_not_trusted_at_the_next_try(start: Start) -> None:
    with start(elsewhere) as (stub, client, runtime):
        stub.routes["GET /pic"] = lambda _: (503, b"") if stub.asked.count("GET /pic") < 2 else picture()
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("failed", "result_unverified")}
        assert stub.asked.count("GET /pic") == 2


def test_what_an_earlier_version_only_held_is_fetched_as_a_worker_starts(start: Start, engine: Engine) -> None:
    with start(lambda _: {"status": "completed"}) as (stub, client, runtime):
        drain(runtime, lambda: ends(client) == {"a": ("in_doubt", "answer_unreadable")})
        key = only(client)["submissions"][0]["kept_as"].partition("://")[2].partition("/")[2]
        runtime.storage.put(key, Held(json.dumps(elsewhere(stub)).encode()), content_type="text/plain", metadata={})
        on_loop(runtime, lambda: read_kept(runtime))
        drain(runtime, ended(client))
        assert (ends(client), money(client)) == ({"a": ("failed", "result_unverified")}, (0, PRICE))
        assert rows.rows(engine, "SELECT outcome FROM submission") == [("unknown",)]


def test_ten_answers_in_a_row_that_could_only_be_seen_pause_the_account(
    database_url: str, endpoints: Endpoints
) -> None:
    """A provider that has changed its answers for good would be paid for pictures that nobody trusts."""
    with (
        provider({"GET /pic": picture()}) as stub,
        working(stub, "getimg", database_url, endpoints, prices={MODEL: str(PRICE)}) as (client, runtime),
    ):
        runtime.settings = runtime.settings.model_copy(update={"doubts_before_pause": 3})
        stub.routes[POST] = lambda _: elsewhere(stub)
        client.enqueue([{"provider": "getimg", "model": MODEL, "prompt": "a harbour"}] * 3, batch="b")
        drain(runtime, ended(client))
        (account,) = client.accounts()
        assert account["paused_code"] == "provider_failing"


LONG = 5 * 2**20


def in_place_of_a_link(_: Stub) -> bytes:
    """A picture of some megabytes as a data URL."""
    return b'{"id": "r", "data": [{"url": "data:image/png;base64,%s"}]}' % (b"A" * LONG)


def test_an_answer_that_is_too_long_to_be_read_is_kept_whole(start: Start) -> None:
    with start(in_place_of_a_link) as (stub, client, runtime):
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("in_doubt", "answer_unreadable")}
        (attempt,) = only(client)["submissions"]
        kept = io.BytesIO()
        runtime.storage.get_to(attempt["kept_as"].partition("://")[2].partition("/")[2], kept)
        assert kept.getvalue() == in_place_of_a_link(stub)
        assert list((runtime.spool_dir / "replies").glob(f"{attempt['id']}*")) == []
        client.look_again(client.find_job("a"))
        drain(runtime, ended(client))
        assert ends(client) == {"a": ("in_doubt", "answer_unreadable")}


def test_a_bucket_that_refuses_a_long_answer_gets_it_when_a_worker_starts(start: Start) -> None:
    with start(in_place_of_a_link) as (stub, client, runtime):
        storage = runtime.replies._storage
        runtime.replies._storage = cast("Any", Refusing())
        drain(runtime, ended(client))
        (attempt,) = only(client)["submissions"]
        assert attempt["kept_as"].startswith(str(runtime.spool_dir))
        runtime.replies._storage = storage
        on_loop(runtime, lambda: recover_leftovers(runtime))
        (attempt,) = only(client)["submissions"]
        kept = io.BytesIO()
        runtime.storage.get_to(attempt["kept_as"].partition("://")[2].partition("/")[2], kept)
        assert kept.getvalue() == in_place_of_a_link(stub)
        assert attempt["reply_sha256"] == hashlib.sha256(kept.getvalue()).digest()


@pytest.mark.parametrize("said", [{"error": {"code": "X", "message": "no"}}, {"success": False}])
def test_an_error_with_a_link_is_held_and_fetched_from_nowhere(said: Any, start: Start) -> None:
    with start(lambda stub: {**said, "help": f"{stub.url}/pic"}) as (stub, client, runtime):
        drain(runtime, ended(client))
        assert ends(client)["a"][0] == "in_doubt"
        assert "GET /pic" not in stub.asked
