"""A batch followed as server-sent events: what changes is told, and what is open is bounded."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from producer import Client, NoSuchBatchError
from producer.api import access, events
from producer.api.events import MOST_STREAMS
from shared.settings import load
from shared.tokens import Scope
from tests.integration.test_api import refused
from tests.support.api import HARBOUR, bearer, serving
from tests.support.waiting import until

PATH = "/v1/batches/shop/events"


@pytest.fixture
def alice(database_url: str) -> Iterator[Client]:
    with Client(settings=load(database_url=database_url), connections=8) as opened:
        yield opened


@pytest.fixture
def http(alice: Client) -> Iterator[httpx.Client]:
    with serving(alice) as opened:
        opened.headers.update(bearer(alice, Scope.JOBS_READ, Scope.JOBS_WRITE))
        opened.post("/v1/jobs", json=HARBOUR).raise_for_status()
        yield opened


def told(lines: Iterator[str]) -> tuple[str, dict[str, Any]]:
    """Return the next event's name and document."""
    name = next(line for line in lines if line.startswith("event: "))
    return name.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_a_batch_is_told_as_it_is_then_as_it_changes_and_the_stream_ends_with_its_end(
    http: httpx.Client, alice: Client
) -> None:
    with http.stream("GET", PATH) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        name, document = told(lines)
        assert (name, document["states"], document["settled"]) == ("progress", {"queued": 1}, False)
        alice.cancel(batch="shop")
        name, document = told(lines)
        assert (name, document["states"]) == ("settled", {"cancelled": 1})
        assert [line for line in lines if line] == []


def test_a_token_follows_a_few_batches_at_once_and_one_that_is_left_makes_room(http: httpx.Client) -> None:
    # A reader that nobody holds is closed, and its stream with it.
    readers: list[Iterator[str]] = []
    with ExitStack() as streams:
        for _ in range(MOST_STREAMS):
            readers.append(streams.enter_context(http.stream("GET", PATH)).iter_lines())
            told(readers[-1])
        with http.stream("GET", PATH) as one_more:
            one_more.read()
            refused(one_more, 429, "rate_limited")

    def is_room() -> bool:
        with http.stream("GET", PATH) as stream:
            return stream.status_code == httpx.codes.OK

    until(is_room)


def test_a_batch_that_is_not_there_or_not_the_tokens_is_no_stream(http: httpx.Client, alice: Client) -> None:
    refused(http.get("/v1/batches/other/events"), 404, "no_such_batch")
    refused(http.get(PATH, headers=bearer(alice, prefix="team-", name="team")), 403, "batch_not_allowed")


@pytest.mark.parametrize("news", [True, False])
def test_a_stream_ends_with_its_token_whether_or_not_there_is_news(
    alice: Client, monkeypatch: pytest.MonkeyPatch, *, news: bool
) -> None:
    monkeypatch.setattr(access, "_TRUSTED_SECONDS", 0.0)
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(events, "_BEAT_SECONDS", 0.0)
    with serving(alice) as http:
        header = bearer(alice, Scope.JOBS_READ, Scope.JOBS_WRITE, name="reader")
        http.post("/v1/jobs", json=HARBOUR, headers=header).raise_for_status()
        with http.stream("GET", PATH, headers=header) as stream:
            lines = stream.iter_lines()
            told(lines)
            assert next(line for line in lines if line).startswith(": still here")
            alice.revoke_token("reader")
            if news:
                alice.enqueue([{"provider": "bloom", "prompt": "late", "custom_id": "late"}], batch="shop")
            rest = list(lines)
        assert not any("settled" in line for line in rest), "the batch goes on, and the stream has ended"


@pytest.mark.parametrize("path", ["/v1/jobs/{job}", "/v1/batches/shop"])
def test_a_wait_ends_with_its_token(alice: Client, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(access, "_TRUSTED_SECONDS", 0.0)
    with serving(alice) as http, ThreadPoolExecutor(1) as pool:
        job = http.post("/v1/jobs", json=HARBOUR, headers=bearer(alice)).json()["id"]
        header = bearer(alice, Scope.JOBS_READ, name="reader") | {"Prefer": "wait=60"}
        waiting = pool.submit(http.get, path.format(job=job), headers=header, timeout=60)
        until(lambda: any(token.name == "reader" and token.last_used_at for token, _ in alice.tokens()))
        alice.revoke_token("reader")
        refused(waiting.result(), 401, "token_invalid")


def test_a_stream_of_a_batch_that_leaves_the_database_ends_whole(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_given: object) -> None:
        raise NoSuchBatchError("there is no batch 'shop'")

    with http.stream("GET", PATH) as stream:
        lines = stream.iter_lines()
        told(lines)
        monkeypatch.setattr(events, "looked_at", gone)
        monkeypatch.setattr(Client, "batch", gone)
        assert [line for line in lines if line] == []
