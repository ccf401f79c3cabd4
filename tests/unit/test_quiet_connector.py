"""Answers that a gateway repeats on a kept connection: nobody takes one for the answer to the next request."""

import contextlib
from pathlib import Path

import anyio

from tests.support.raw_server import Peer, http, serving
from worker import event_loop
from worker.transport.address_guard import AddressGuard
from worker.transport.api_get import ApiGet
from worker.transport.download import Fetcher
from worker.transport.paid_post import PaidReply

LATE_SECONDS = 0.05


async def repeat(peer: Peer) -> None:
    """Answer each request with its own target, and a moment later once more."""
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            peer.received = b""
            await peer.read_request()
            said = http("200 OK", peer.received.split(b" ", 2)[1])
            await peer.stream.send(said)
            await anyio.sleep(LATE_SECONDS)
            await peer.stream.send(said)


async def speak_first(peer: Peer) -> None:
    await peer.stream.send(http("200 OK", b"not asked for") * 2)
    await anyio.sleep_forever()


async def downloaded(url: str, fetcher: Fetcher) -> bytes:
    with (await fetcher.fetch(url)).spool as spool:
        return spool.rewound().read()


def fetcher_in(directory: Path) -> Fetcher:
    return Fetcher(
        AddressGuard(("127.0.0.1",)),
        spool_dir=directory,
        max_bytes=1000,
        total_seconds=5,
        connect_seconds=1,
        user_agent="test",
    )


def test_a_download_is_never_the_repeated_answer_to_the_one_before(tmp_path: Path) -> None:
    async def thrice() -> list[bytes]:
        fetcher = fetcher_in(tmp_path)
        async with serving(repeat) as server:
            got = [await downloaded(f"http://127.0.0.1:{server.port}/{name}", fetcher) for name in "abc"]
            await fetcher.close()
        return got

    assert event_loop.run(thrice) == [b"/a", b"/b", b"/c"]


def test_a_look_is_never_answered_by_the_repeated_answer_to_the_one_before() -> None:
    async def thrice() -> list[bytes]:
        reader, got = ApiGet(timeout_seconds=5, connect_seconds=1), []
        async with serving(repeat) as server:
            for name in "abc":
                reply = await reader.get(f"http://127.0.0.1:{server.port}/{name}", headers={}, params={})
                assert isinstance(reply, PaidReply)
                got.append(reply.body)
                await anyio.sleep(2 * LATE_SECONDS)
            await reader.close()
        return got

    assert event_loop.run(thrice) == [b"/a", b"/b", b"/c"]


def test_a_server_that_speaks_before_it_is_asked_ends_a_look_in_time() -> None:
    async def once() -> None:
        reader = ApiGet(timeout_seconds=0.5, connect_seconds=1)
        async with serving(speak_first) as server:
            with anyio.fail_after(5):
                await reader.get(f"http://127.0.0.1:{server.port}/a", headers={}, params={})
            await reader.close()

    event_loop.run(once)
