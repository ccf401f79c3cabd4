"""A server that sends interim answers without end is cut off, before it holds the loop that all jobs share."""

import contextlib
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.integration.test_quick_put import ABOUT, CERTIFICATES, KEY, bucket
from tests.support.raw_server import Peer, http, serving
from worker import event_loop
from worker.transport.address_guard import AddressGuard
from worker.transport.api_get import ApiGet
from worker.transport.digested import InMemory
from worker.transport.download import Fetcher
from worker.transport.fetch_errors import ResultUnavailable
from worker.transport.paid_post import PaidReply
from worker.transport.quick_put import Put, QuickPut

LIMIT = 30.0
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
FEW = 20


async def flood(peer: Peer) -> None:
    await peer.read_request()
    if b"/submissions/proof" in peer.received:
        await peer.stream.send(http("400 Bad Request", b"<Error><Code>BadDigest</Code></Error>"))
        await peer.stream.receive()
    with contextlib.suppress(anyio.BrokenResourceError):
        while True:
            await peer.stream.send(INTERIM * 5000)


async def send_few(peer: Peer) -> None:
    await peer.answer(INTERIM * FEW + http("200 OK", b"x" * 300_000))


def fetcher_in(directory: Path) -> Fetcher:
    guard = AddressGuard(("127.0.0.1",))
    limits: Any = {"max_bytes": 1_000_000, "total_seconds": LIMIT, "connect_seconds": 5}
    return Fetcher(guard, spool_dir=directory, user_agent="test", **limits)


def within_half(work: Any, script: Any = flood) -> Any:
    async def timed() -> Any:
        async with serving(script) as server:
            with anyio.fail_after(LIMIT / 2):
                return await work(server.port)

    return event_loop.run(timed)


def test_a_host_that_floods_a_download_with_interim_answers_is_cut_off(tmp_path: Path) -> None:
    async def download(port: int) -> None:
        fetcher = fetcher_in(tmp_path)
        with pytest.raises(ResultUnavailable, match="no answer"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a")
        await fetcher.close()

    within_half(download)


def test_a_provider_that_floods_a_look_with_interim_answers_is_cut_off() -> None:
    async def look(port: int) -> Any:
        api = ApiGet(timeout_seconds=LIMIT, connect_seconds=5)
        answer = await api.get(f"http://127.0.0.1:{port}/a", headers={}, params={})
        await api.close()
        return answer

    assert "the connection failed" in within_half(look).reason


def test_a_bucket_that_floods_a_put_with_interim_answers_is_cut_off() -> None:
    async def put(port: int) -> Put:
        quick = QuickPut(connections=1, seconds=LIMIT, ssl_context=CERTIFICATES)
        with bucket(f"http://127.0.0.1:{port}") as storage:
            end = await quick.put(storage, KEY, InMemory(b"a picture"), **ABOUT)
        await quick.close()
        return end

    assert within_half(put) is Put.FAILED


def test_a_few_interim_answers_before_a_long_one_are_passed_over(tmp_path: Path) -> None:
    async def both(port: int) -> tuple[int, Any]:
        fetcher, api = fetcher_in(tmp_path), ApiGet(timeout_seconds=LIMIT, connect_seconds=5)
        with (await fetcher.fetch(f"http://127.0.0.1:{port}/a")).spool as spool:
            length = spool.length
        answer = await api.get(f"http://127.0.0.1:{port}/a", headers={}, params={})
        await fetcher.close()
        await api.close()
        return length, answer

    length, answer = within_half(both, send_few)
    assert length == 300_000
    assert isinstance(answer, PaidReply)
    assert len(answer.body) == 300_000
