"""Paid POSTs over real sockets: what left decides, one request each, and nobody else hears of it."""

import contextlib
import gzip
import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from pydantic import SecretStr

from tests.support.raw_server import Peer, Script, Server, http, serving
from worker import event_loop
from worker.providers import WireSettings, wire_for
from worker.providers.contract import PaidCall
from worker.transport.paid_post import SHORT_BYTES, Lost, NotSent, PaidPost, PaidReply, boot_clock

BODY = {"prompt": "p" * 2000}
Outcome = PaidReply | NotSent | Lost


async def send(url: str, *, seconds: float = 5, before: float = 60, headers: Any = None, connect: float = 5) -> Outcome:
    post = PaidPost(timeout_seconds=seconds, connect_seconds=connect)
    try:
        return await post.send(url, headers=headers or {}, json=BODY, send_before=boot_clock() + before)
    finally:
        await post.close()


def outcome_of(script: Script, **options: Any) -> tuple[Outcome, Server]:
    """Send once to a server that does `script`; nothing can be sent again once the transport is closed."""

    async def once() -> tuple[Outcome, Server]:
        async with serving(script) as server:
            return await send(server.url, **options), server

    return event_loop.run(once)


async def close_after_the_request(peer: Peer) -> None:
    await peer.read_request()


async def reset_after_the_request(peer: Peer) -> None:
    await peer.read_request()
    peer.reset_on_close()


async def close_after_half(peer: Peer) -> None:
    await peer.read_request(0.5)


async def never_answer(peer: Peer) -> None:
    await peer.read_request()
    await anyio.sleep_forever()


async def cut_short(peer: Peer) -> None:
    await peer.answer(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"data":')


async def cut_a_chunk_short(peer: Peer) -> None:
    await peer.answer(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{"data":\r\n')


async def stall_in_the_body(peer: Peer) -> None:
    await peer.answer(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"data":')
    await anyio.sleep_forever()


async def never_stop(peer: Peer) -> None:
    await peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await peer.stream.send(b"x" * 65536)


async def talk_garbage(peer: Peer) -> None:
    await peer.answer(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (close_after_the_request, None),
        (reset_after_the_request, None),
        (close_after_half, None),
        (never_answer, None),
        (cut_short, 200),
        (cut_a_chunk_short, 200),
        (stall_in_the_body, 200),
        (never_stop, 200),
        (talk_garbage, None),
    ],
)
def test_a_request_that_left_without_a_whole_answer_is_lost_and_sent_once(script: Script, status: int | None) -> None:
    outcome, server = outcome_of(script, seconds=0.4)
    assert isinstance(outcome, Lost)
    assert outcome.status == status
    assert (len(server.peers), server.requests) == (1, 1)
    assert "prompt" not in repr(outcome)


def test_a_connection_that_is_reset_before_anything_was_read_may_have_delivered_all_the_same() -> None:
    async def reset_unread(peer: Peer) -> None:
        peer.reset_on_close()

    outcome, server = outcome_of(reset_unread)
    assert isinstance(outcome, Lost)
    assert len(server.peers) == 1


@pytest.mark.parametrize("script", [cut_short, cut_a_chunk_short, stall_in_the_body])
def test_what_came_of_a_broken_answer_is_kept(script: Script) -> None:
    outcome, _ = outcome_of(script, seconds=0.4)
    assert isinstance(outcome, Lost)
    assert outcome.body == b'{"data":'


def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = event_loop.run(send, f"http://127.0.0.1:{unused.getsockname()[1]}/pay")
    assert isinstance(outcome, NotSent)


def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    assert isinstance(event_loop.run(send, "http://nowhere.invalid/pay"), NotSent)


def test_a_connection_that_never_opens_was_not_sent() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fills the backlog: the next connect is answered by nobody
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        outcome = event_loop.run(lambda: send(f"http://127.0.0.1:{full.getsockname()[1]}/pay", connect=0.2))
    assert isinstance(outcome, NotSent)


def test_a_certificate_nobody_signed_is_refused_before_a_byte_of_the_request(tmp_path: Path) -> None:
    context = self_signed(tmp_path)

    async def once() -> tuple[Outcome, Server]:
        async with serving(never_answer, context) as server:
            return await send(f"https://127.0.0.1:{server.port}/pay"), server

    outcome, server = event_loop.run(once)
    assert isinstance(outcome, NotSent)
    assert "certificate" in outcome.reason
    assert server.requests == 0


def self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_body_or_header_that_cannot_be_written_was_not_sent() -> None:
    outcome, server = outcome_of(never_answer, headers={"x-api-key": "k€y"})
    assert isinstance(outcome, NotSent)
    assert server.peers == []


def test_a_sender_that_was_held_up_sends_no_byte() -> None:
    seen: list[bytes] = []

    async def read_all(peer: Peer) -> None:
        with contextlib.suppress(anyio.EndOfStream):
            seen.append(await peer.stream.receive())

    outcome, server = outcome_of(read_all, before=-0.001)
    assert isinstance(outcome, NotSent)
    assert (len(server.peers), seen) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_never_followed(status: int) -> None:
    async def once() -> tuple[Outcome, int, int]:
        async with serving(never_answer) as elsewhere:

            async def redirect(peer: Peer) -> None:
                await peer.answer(http(f"{status} Moved", b"", f"location: {elsewhere.url}"))

            async with serving(redirect) as server:
                outcome = await send(server.url, headers={"x-api-key": "secret"})
                return outcome, server.requests, len(elsewhere.peers)

    outcome, asked, elsewhere = event_loop.run(once)
    assert isinstance(outcome, PaidReply)
    assert (outcome.status, asked, elsewhere) == (status, 1, 0)


def test_a_proxy_from_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once() -> tuple[Outcome, int]:
        async with serving(never_answer) as proxy, serving(accept) as server:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
                monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
            return await send(server.url), len(proxy.peers)

    outcome, proxied = event_loop.run(once)
    assert isinstance(outcome, PaidReply)
    assert proxied == 0


async def accept(peer: Peer) -> None:
    await peer.answer(http("202 Accepted", b'{"data": 1}'))
    await peer.stream.receive()  # until the client closes


def test_a_whole_answer_is_a_reply_with_status_headers_and_body() -> None:
    outcome, server = outcome_of(accept, headers={"x-api-key": "secret"})
    assert isinstance(outcome, PaidReply)
    assert (outcome.status, outcome.body, outcome.headers["Content-Length"]) == (202, b'{"data": 1}', "11")
    head, _, body = server.peers[0].received.partition(b"\r\n\r\n")
    assert json.loads(body) == BODY
    assert b"x-api-key: secret" in head
    assert b"Connection: close" in head


def test_an_answer_that_is_whole_before_the_connection_breaks_is_a_reply() -> None:
    async def answer_and_reset(peer: Peer) -> None:
        await peer.answer(http("200 OK", b"{}") + b"and more than was announced")
        peer.reset_on_close()

    outcome, _ = outcome_of(answer_and_reset)
    assert isinstance(outcome, PaidReply)
    assert outcome.body == b"{}"


@pytest.mark.parametrize("encoding", [["gzip"], ["x-gzip"], ["GZIP"], ["gzip, identity"], []])
def test_an_answer_that_was_compressed_unasked_is_read_all_the_same(encoding: list[str]) -> None:
    async def answer(peer: Peer) -> None:
        said = [f"content-encoding: {coding}" for coding in encoding]
        await peer.answer(http("200 OK", gzip.compress(b'{"data": 1}'), *said))

    outcome, _ = outcome_of(answer)
    assert isinstance(outcome, PaidReply)
    assert outcome.body == b'{"data": 1}'


def test_a_compressed_answer_unpacks_to_a_bounded_size() -> None:
    async def answer(peer: Peer) -> None:
        await peer.answer(http("200 OK", gzip.compress(b"x" * 50_000_000), "content-encoding: gzip"))

    outcome, _ = outcome_of(answer)
    assert isinstance(outcome, PaidReply)
    assert len(outcome.body) == 4 * 1024 * 1024


class Spilled(list[bytes]):
    """A spill in memory."""

    write = list.append


def spilled(body: bytes, *, status: str = "200 OK", more: int = 0) -> tuple[Outcome, bytes]:
    """Return what an answer came to, and what went into the spill; `more` bytes are announced than are sent."""
    spill = Spilled()

    async def answer(peer: Peer) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body) + more}\r\n\r\n".encode()
        await peer.answer(head + body)

    async def once() -> Outcome:
        async with serving(answer) as server:
            post = PaidPost(timeout_seconds=20, connect_seconds=10)
            try:
                before = boot_clock() + 20
                return await post.send(server.url, headers={}, json=BODY, send_before=before, spill=spill)
            finally:
                await post.close()

    return event_loop.run(once), b"".join(spill)


@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
@pytest.mark.parametrize("more", [0, 7])
def test_an_answer_too_long_for_memory_goes_on_into_the_spill_whole(more: int, status: str) -> None:
    body = b'{"data": "' + b"x" * (2 * SHORT_BYTES) + b'"}'
    outcome, kept = spilled(body, status=status, more=more)
    assert kept == body
    assert isinstance(outcome, Lost)
    assert outcome.status == int(status[:3])
    assert len(outcome.body) <= 2 * SHORT_BYTES
    assert body.startswith(outcome.body)


def test_a_short_answer_leaves_the_spill_alone() -> None:
    body = b"x" * SHORT_BYTES
    outcome, kept = spilled(body)
    assert isinstance(outcome, PaidReply)
    assert (outcome.body, kept) == (body, b"")


def test_a_spill_that_takes_nothing_leaves_the_beginning() -> None:
    class Full(Spilled):
        def write(self, _chunk: bytes) -> None:
            raise OSError("full")

    async def answer(peer: Peer) -> None:
        await peer.answer(http("200 OK", b"x" * (SHORT_BYTES + 1)))

    async def once() -> Outcome:
        async with serving(answer) as server:
            post = PaidPost(timeout_seconds=20, connect_seconds=10)
            try:
                before = boot_clock() + 20
                return await post.send(server.url, headers={}, json=BODY, send_before=before, spill=Full())
            finally:
                await post.close()

    outcome = event_loop.run(once)
    assert isinstance(outcome, Lost)
    assert len(outcome.body) > SHORT_BYTES


@pytest.mark.parametrize("provider", ["bloom", "getimg", "posteverywhere", "banatie"])
def test_each_provider_whose_answers_have_no_images_inside_hands_its_spill_on(provider: str) -> None:
    handed: list[Any] = []

    class Post:
        async def send(self, *_: Any, **given: Any) -> Lost:
            handed.append(given["spill"])
            return Lost("gone")

    spill = Spilled()
    settings = WireSettings("https://provider.example", SecretStr("k"), cast("Any", Post()), cast("Any", None))
    event_loop.run(wire_for(provider, settings).submit, PaidCall({}, 0, "", spill))
    assert handed == [spill]


def test_every_request_takes_a_fresh_connection() -> None:
    async def keep_open(peer: Peer) -> None:
        await accept(peer)

    async def twice() -> tuple[list[Outcome], Server]:
        async with serving(keep_open) as server:
            post = PaidPost(timeout_seconds=20, connect_seconds=10)
            outcomes = [
                await post.send(server.url, headers={}, json=BODY, send_before=boot_clock() + 20) for _ in range(2)
            ]
            await post.close()
            return outcomes, server

    outcomes, server = event_loop.run(twice)
    assert [outcome.status for outcome in outcomes if isinstance(outcome, PaidReply)] == [202, 202]
    assert (len(server.peers), server.requests) == (2, 2)


def test_a_cancelled_caller_stops_waiting_and_nothing_is_sent_again() -> None:
    arrived, closed = anyio.Event(), anyio.Event()

    async def hold(peer: Peer) -> None:
        await peer.read_request()
        arrived.set()
        with contextlib.suppress(anyio.EndOfStream):
            await peer.stream.receive()
        closed.set()

    async def once() -> Server:
        async with serving(hold) as server:
            async with anyio.create_task_group() as group:
                group.start_soon(send, server.url)
                await arrived.wait()
                group.cancel_scope.cancel()
            with anyio.fail_after(5):
                await closed.wait()
            return server

    server = event_loop.run(once)
    assert (len(server.peers), server.requests) == (1, 1)
