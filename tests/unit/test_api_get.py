"""Reads of a provider's API over real sockets: whole answers or a reason, and the key goes nowhere else."""

import contextlib
import gzip
import zlib
from typing import Any

import anyio
import httpx
import pytest

from tests.support.raw_server import Peer, Script, Server, http, serving
from worker import event_loop
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import Lost, PaidPost, PaidReply, boot_clock

Outcome = PaidReply | Lost


async def get(url: str, *, seconds: float = 5, times: int = 1) -> Outcome:
    reader = ApiGet(timeout_seconds=seconds, connect_seconds=1)
    try:
        for _ in range(times):
            outcome = await reader.get(url, headers={"x-api-key": "secret"}, params={"ids": "a,b"})
        return outcome
    finally:
        await reader.close()


def outcome_of(script: Script, **options: Any) -> tuple[Outcome, Server]:
    async def once() -> tuple[Outcome, Server]:
        async with serving(script) as server:
            return await get(server.url, **options), server

    return event_loop.run(once)


async def answer(peer: Peer) -> None:
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            peer.received = b""
            await peer.answer(http("200 OK", b'{"data": 1}'))


def test_an_answer_is_a_reply_and_was_asked_for_with_key_and_parameters() -> None:
    received: list[bytes] = []

    async def look(peer: Peer) -> None:
        await peer.answer(http("404 Not Found", b"{}", "x-ratelimit-remaining: 0"))
        received.append(peer.received)

    outcome, _ = outcome_of(look)
    assert isinstance(outcome, PaidReply)
    assert (outcome.status, outcome.body, outcome.headers["X-RateLimit-Remaining"]) == (404, b"{}", "0")
    request = received[0].lower()
    assert request.startswith((b"get /pay?ids=a,b http", b"get /pay?ids=a%2cb http"))
    assert b"x-api-key: secret" in request
    assert b"accept-encoding: identity" in request


LONGER = b"content-length: 9"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("ends", ["closed", "stalled"])
def test_what_came_of_an_answer_that_broke_off_is_kept(
    ends: str,
    packed: bool,  # noqa: FBT001 - whether it came compressed
) -> None:
    """A paid call is read in spite of such a length; so must be the looks at what it bought."""
    body = gzip.compress(b'{"data": 1}') if packed else b'{"data": 1}'

    async def cut(peer: Peer) -> None:
        await peer.answer(http("200 OK", body, "x-a: b").replace(b"content-length: ", LONGER))
        if ends == "stalled":
            await anyio.sleep_forever()

    outcome, _ = outcome_of(cut, seconds=0.5)
    assert isinstance(outcome, Lost)
    assert (outcome.status, outcome.body, outcome.headers["x-a"]) == (200, b'{"data": 1}', "b")


@pytest.mark.parametrize("said", [["content-encoding: gzip"], []])
def test_an_answer_that_was_compressed_unasked_is_read_all_the_same(said: list[str]) -> None:
    async def compressed(peer: Peer) -> None:
        await peer.answer(http("200 OK", gzip.compress(b'{"data": 1}'), *said))

    outcome, _ = outcome_of(compressed)
    assert isinstance(outcome, PaidReply)
    assert outcome.body == b'{"data": 1}'


BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": gzip.compress(b'{"data": 1}'),
    "gzip, identity": gzip.compress(b'{"data": 1}'),
    "gzip, gzip": gzip.compress(gzip.compress(b'{"data": 1}')),
    "deflate": BARE.compress(b'{"data": 1}') + BARE.flush(),
    "deflate, gzip": gzip.compress(zlib.compress(b'{"data": 1}')),
}


@pytest.mark.parametrize("coding", PACKED)
def test_any_usual_compression_is_undone(coding: str) -> None:
    reply = PaidReply.of(httpx.Response(200, headers={"content-encoding": coding}), PACKED[coding], max_bytes=100)
    assert reply.body == b'{"data": 1}'
    bare = PaidReply.of(httpx.Response(200, headers={"content-encoding": coding}), b'{"data": 1}', max_bytes=100)
    assert bare.body == b'{"data": 1}'


HEADS = {
    "a field of 20 KB": [f"content-security-policy: {'a' * 20_000}"],
    "500 fields": [f"set-cookie: a{number}=b" for number in range(500)],
    "its length twice": ["content-length: 11"],
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_a_paid_call_is_read_under_is_read_by_a_look_too(head: list[str]) -> None:
    """What was bought under such a head would never be collected."""

    async def odd(peer: Peer) -> None:
        await peer.answer(http("200 OK", b'{"data": 1}', *head))

    async def paid() -> Any:
        async with serving(odd) as server:
            post = PaidPost(timeout_seconds=5, connect_seconds=1)
            return await post.send(server.url, headers={}, json={}, send_before=boot_clock() + 5)

    outcome, _ = outcome_of(odd)
    bought = event_loop.run(paid)
    assert isinstance(outcome, PaidReply)
    assert isinstance(bought, PaidReply)
    assert outcome.body == bought.body == b'{"data": 1}'


def test_the_next_request_takes_the_same_connection() -> None:
    outcome, server = outcome_of(answer, times=3)
    assert isinstance(outcome, PaidReply)
    assert len(server.peers) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_so_that_the_key_stays(status: int) -> None:
    async def once() -> tuple[Outcome, int]:
        async with serving(answer) as elsewhere:

            async def redirect(peer: Peer) -> None:
                await peer.answer(http(f"{status} Moved", b"", f"location: {elsewhere.url}"))

            async with serving(redirect) as server:
                return await get(server.url), len(elsewhere.peers)

    outcome, elsewhere = event_loop.run(once)
    assert isinstance(outcome, PaidReply)
    assert (outcome.status, elsewhere) == (status, 0)


async def cut_short(peer: Peer) -> None:
    await peer.answer(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"data":')


async def close(peer: Peer) -> None:
    await peer.read_request()


async def reset(peer: Peer) -> None:
    await peer.read_request()
    peer.reset_on_close()


async def stall(peer: Peer) -> None:
    await peer.answer(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"data":')
    await anyio.sleep_forever()


async def drip(peer: Peer) -> None:
    await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
    while True:
        await peer.stream.send(b" ")
        await anyio.sleep(0.05)


async def never_stop(peer: Peer) -> None:
    await peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await peer.stream.send(b"x" * 65536)


async def talk_garbage(peer: Peer) -> None:
    await peer.answer(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize("script", [close, reset, cut_short, stall, drip, talk_garbage])
def test_no_whole_answer_is_a_reason_within_the_wall_clock(script: Script) -> None:
    outcome, _ = outcome_of(script, seconds=0.4)
    assert isinstance(outcome, Lost)
    assert outcome.reason


def test_an_endless_answer_is_cut_off() -> None:
    outcome, _ = outcome_of(never_stop)
    assert isinstance(outcome, Lost)
    assert (outcome.status, "longer than" in outcome.reason) == (200, True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "nonsense", "http://[", "https://\0/"]
)
def test_an_address_that_cannot_be_reached_is_a_reason(url: str) -> None:
    assert isinstance(event_loop.run(get, url), Lost)


def test_a_proxy_from_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once() -> tuple[Outcome, int]:
        async with serving(answer) as proxy, serving(answer) as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            return await get(server.url), len(proxy.peers)

    outcome, proxied = event_loop.run(once)
    assert isinstance(outcome, PaidReply)
    assert proxied == 0
