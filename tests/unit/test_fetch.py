import asyncio
import gzip
import hashlib
import logging
import resource
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from worker import event_loop
from worker.transport.address_guard import AddressGuard, AddressRefused, Misdirected
from worker.transport.download import Fetched, Fetcher, retry_after_seconds
from worker.transport.fetch_errors import (
    FetchError,
    FetchTimeout,
    LinkExpired,
    RedirectLoop,
    ResultUnavailable,
    Truncated,
    UnexpectedReply,
)
from worker.transport.spool import SpoolError, TooLarge, TransferError

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
Respond = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A raw HTTP server: `respond` gets the request's target and writes whatever bytes it likes."""

    def __init__(self, respond: Respond, greeting: bytes) -> None:
        self.respond = respond
        self.greeting = greeting
        self.requests: list[str] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self.closing = False
        self.port = 0

    def url(self, target: str = "/result?sig=secret") -> str:
        return f"http://127.0.0.1:{self.port}{target}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        if self.closing:
            writer.transport.abort()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(self.greeting)
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(head)
                await self.respond(head.split(" ", 2)[1], writer)

    async def close(self) -> None:
        """Cut every connection and wait for it, also for those just being accepted, so that none outlives the test."""
        self.closing = True
        for writer in self.writers:
            writer.transport.abort()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        for writer in self.writers:
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(respond: Respond, greeting: bytes = b"") -> AsyncIterator[Server]:
    server = Server(respond, greeting)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.close()


def reply(body: bytes = b"", *, status: str = "200 OK", headers: str = "", announced: int | None = None) -> Respond:
    """Return a responder that gives this and closes the connection."""
    length = len(body) if announced is None else announced

    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.close()

    return respond


def raw(answer: bytes) -> Respond:
    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    return respond


def make_fetcher(spool_dir: Path, *, allow: tuple[str, ...] = ("127.0.0.1",), **options: Any) -> Fetcher:
    limits = {
        "max_bytes": 1_000_000,
        "total_seconds": 10.0,
        "connect_seconds": 5.0,
        "user_agent": "genqueue-test",
    }
    return Fetcher(AddressGuard(allow), spool_dir=spool_dir, now=lambda: NOW, **{**limits, **options})


@asynccontextmanager
async def fetching(spool_dir: Path, **options: Any) -> AsyncIterator[Fetcher]:
    fetcher = make_fetcher(spool_dir, **options)
    try:
        yield fetcher
    finally:
        await fetcher.close()


def fetched(
    respond: Respond, spool_dir: Path, target: str = "/result?sig=secret", **options: Any
) -> tuple[Fetched, Server]:
    """Serve, fetch once, and return what came; the caller closes the spool."""

    async def once() -> tuple[Fetched, Server]:
        async with serving(respond) as server, fetching(spool_dir, **options) as fetcher:
            return await fetcher.fetch(server.url(target)), server

    return event_loop.run(once)


def failure(respond: Respond, spool_dir: Path, **options: Any) -> TransferError:
    """Serve, fetch once, and return the error, having seen that its traceback does not show the link."""
    with pytest.raises(TransferError) as caught:
        fetched(respond, spool_dir, **options)
    shown = "".join(traceback.format_exception(caught.value))
    assert "sig=secret" not in shown
    assert "/result" not in shown
    return caught.value


def test_a_result_arrives_whole_with_its_hash_and_declared_type(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    got, _ = fetched(reply(content, headers="Content-Type: Image/PNG; charset=x\r\n"), tmp_path)
    with got.spool as spool:
        assert spool.rewound().read() == content
        assert spool.sha256 == hashlib.sha256(content).hexdigest()
        assert (got.content_type, got.status, got.redirects) == ("image/png", 200, 0)


def test_the_signed_target_is_sent_exactly_as_it_is_written(tmp_path: Path) -> None:
    target = "/v2/a%2Fb/%7Ex?sig=a%2Fb%2B%3D%7E&x=%C3%A9&y=a+b&z=%20"
    got, server = fetched(reply(b"x"), tmp_path, target)
    got.spool.close()
    assert server.requests[0].split(" ", 2)[1] == target


def test_only_the_five_known_headers_are_sent_and_never_a_cookie_or_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def respond(target: str, writer: asyncio.StreamWriter) -> None:
        cookie = "Set-Cookie: session=secret; Path=/\r\n"
        if target == "/final":
            writer.write(f"HTTP/1.1 200 OK\r\n{cookie}Content-Length: 1\r\n\r\nx".encode())
        else:
            writer.write(f"HTTP/1.1 302 Found\r\n{cookie}Location: /final\r\nContent-Length: 0\r\n\r\n".encode())

    async def twice() -> list[str]:
        async with serving(respond) as server, fetching(tmp_path) as fetcher:
            for _ in range(2):
                (await fetcher.fetch(server.url("/"))).spool.close()
            return server.requests

    requests = event_loop.run(twice)
    assert len(requests) == 4
    for request in requests:
        names = [line.split(":")[0].lower() for line in request.splitlines()[1:] if line]
        assert set(names) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "genqueue-test" in request
        assert "accept-encoding: identity" in request.lower()


def test_a_relative_redirect_is_followed_and_counted(tmp_path: Path) -> None:
    async def respond(target: str, writer: asyncio.StreamWriter) -> None:
        where = {"/a/start": "../b/next", "/b/next": "/end?x=%2F"}.get(target)
        if where:
            await reply(status="307 Temporary Redirect", headers=f"Location: {where}\r\n")(target, writer)
        else:
            await reply(b"done")(target, writer)

    got, server = fetched(respond, tmp_path, "/a/start")
    with got.spool as spool:
        assert (spool.rewound().read(), got.redirects) == (b"done", 2)
    assert [request.split(" ", 2)[1] for request in server.requests] == ["/a/start", "/b/next", "/end?x=%2F"]


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/x",
        "//169.254.169.254/latest",
        "file:///etc/passwd",
        "http://example.com/",
        "http://[::1]/x",
    ],
)
def test_a_redirect_to_a_refused_address_is_not_followed(tmp_path: Path, location: str) -> None:
    error = failure(reply(status="302 Found", headers=f"Location: {location}\r\n"), tmp_path)
    assert isinstance(error, Misdirected)
    assert error.retryable


def test_endless_redirects_end(tmp_path: Path) -> None:
    error = failure(reply(status="302 Found", headers="Location: /result?sig=secret\r\n"), tmp_path, max_redirects=3)
    assert isinstance(error, RedirectLoop)
    assert "more than 3 times" in str(error)


@pytest.mark.parametrize("headers", ["", "Location: https://[::1/\r\n"])
def test_a_redirect_without_a_usable_location_is_an_unexpected_reply(tmp_path: Path, headers: str) -> None:
    assert isinstance(failure(reply(status="302 Found", headers=headers), tmp_path), UnexpectedReply)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_is_no_longer_honoured_says_so_with_its_status(tmp_path: Path, status: int) -> None:
    error = failure(reply(b"<secret>", status=f"{status} No"), tmp_path)
    assert isinstance(error, LinkExpired)
    assert (error.code, error.status) == ("result_expired", status)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "Retry-After: 7\r\n", 7.0),
        (503, "Retry-After: Thu, 01 Jan 2026 12:01:30 GMT\r\n", 90.0),
        (500, "", None),
        (408, "Retry-After: soon\r\n", None),
    ],
)
def test_a_busy_server_is_retryable_after_the_time_it_gave(
    tmp_path: Path, status: int, header: str, seconds: float | None
) -> None:
    error = failure(reply(status=f"{status} Busy", headers=header), tmp_path)
    assert isinstance(error, ResultUnavailable)
    assert (error.code, error.retryable, error.retry_after) == ("result_unavailable", True, seconds)


@pytest.mark.parametrize("status", ["206 Partial Content", "204 No Content", "304 Not Modified", "400 Bad Request"])
def test_any_other_status_is_no_result(tmp_path: Path, status: str) -> None:
    assert isinstance(failure(reply(status=status), tmp_path), UnexpectedReply)


def test_a_body_shorter_than_announced_is_truncated(tmp_path: Path) -> None:
    error = failure(reply(b"half", announced=8), tmp_path)
    assert isinstance(error, Truncated)
    assert (error.code, error.retryable) == ("result_truncated", True)
    assert "4 of 8 bytes" in str(error)


def test_a_chunked_body_without_its_last_chunk_is_truncated(tmp_path: Path) -> None:
    respond = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    assert isinstance(failure(respond, tmp_path), Truncated)


def test_a_whole_chunked_body_arrives(tmp_path: Path) -> None:
    got, _ = fetched(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n"), tmp_path)
    with got.spool as spool:
        assert spool.rewound().read() == b"half"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_an_answer_that_is_not_http_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    assert isinstance(failure(raw(answer), tmp_path), ResultUnavailable)


def test_a_port_where_nobody_listens_is_unavailable(tmp_path: Path) -> None:
    async def once() -> None:
        async with serving(reply()) as server:
            dead = server.url()
        async with fetching(tmp_path) as fetcher:
            with pytest.raises(ResultUnavailable, match="ClientConnectorError"):
                await fetcher.fetch(dead)

    event_loop.run(once)


def test_an_announcement_alone_is_no_reason_to_call_a_body_too_large(tmp_path: Path) -> None:
    error = failure(reply(b"half", announced=300_000_000), tmp_path)
    assert isinstance(error, Truncated)
    assert "4 of 300000000 bytes" in str(error)


@pytest.mark.parametrize("announced", [8, 300_000_000])
def test_a_short_body_is_returned_where_the_caller_knows_it_to_be_whole(tmp_path: Path, announced: int) -> None:
    seen: list[str] = []

    async def take(fetched: Fetched) -> bool:
        seen.append(fetched.spool.sha256)
        return fetched.spool.rewound().read() == b"half"

    async def once(body: bytes) -> Fetched:
        async with serving(reply(body, announced=announced)) as server, fetching(tmp_path) as fetcher:
            return await fetcher.fetch(server.url("/"), take_short=take)

    got = event_loop.run(once, b"half")
    with got.spool as spool:
        assert spool.rewound().read() == b"half"
    with pytest.raises(Truncated) as caught:
        event_loop.run(once, b"hal")
    assert seen == [hashlib.sha256(body).hexdigest() for body in (b"half", b"hal")]
    assert caught.value.sha256 == hashlib.sha256(b"hal").digest()


def test_a_body_that_stalls_has_ended(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await stop.wait()

    async def once() -> Truncated:
        async with serving(respond) as server, fetching(tmp_path, stalled_seconds=0.1) as fetcher:
            with pytest.raises(Truncated, match="1 of 100 bytes came") as caught:
                await fetcher.fetch(server.url())
            stop.set()
            return caught.value

    assert event_loop.run(once).sha256 == hashlib.sha256(b"x").digest()


def test_a_huge_body_without_announcement_is_refused_at_the_cap_with_flat_memory(tmp_path: Path) -> None:
    sent = 0

    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        block = bytes(1_000_000)
        for _block in range(300):
            writer.write(block)
            await writer.drain()
            sent += len(block)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = failure(respond, tmp_path, max_bytes=30_000_000)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert isinstance(error, TooLarge)
    assert sent < 60_000_000
    assert grown_kib < 20_000


def test_the_cap_counts_unpacked_bytes_too(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    assert isinstance(failure(reply(bomb, headers="Content-Encoding: gzip\r\n"), tmp_path), TooLarge)


def test_a_reply_that_is_compressed_unasked_is_unpacked(tmp_path: Path) -> None:
    got, _ = fetched(reply(gzip.compress(b"image"), headers="Content-Encoding: gzip\r\n"), tmp_path)
    with got.spool as spool:
        assert spool.rewound().read() == b"image"


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd"])
def test_stacked_or_unknown_compression_is_refused(tmp_path: Path, encoding: str) -> None:
    assert isinstance(failure(reply(b"x", headers=f"Content-Encoding: {encoding}\r\n"), tmp_path), UnexpectedReply)


def test_damaged_compression_is_truncated(tmp_path: Path) -> None:
    assert isinstance(failure(reply(b"not gzip", headers="Content-Encoding: gzip\r\n"), tmp_path), Truncated)


def test_one_wall_clock_limit_covers_a_body_that_trickles(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def respond(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await stop.wait()

    async def once() -> FetchError:
        async with serving(respond) as server, fetching(tmp_path, total_seconds=0.2) as fetcher:
            with pytest.raises(FetchTimeout) as caught:
                await fetcher.fetch(server.url())
            stop.set()
            return caught.value

    error = event_loop.run(once)
    assert (error.code, error.retryable) == ("result_timeout", True)


def test_the_limit_covers_all_redirects_together(tmp_path: Path) -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    assert isinstance(failure(endless, tmp_path, total_seconds=0.25, max_redirects=10**9), FetchTimeout)


def test_a_spool_that_cannot_be_written_is_its_own_error(tmp_path: Path) -> None:
    error = failure(reply(bytes(2_000_000)), tmp_path / "gone", max_bytes=3_000_000)
    assert isinstance(error, SpoolError)
    assert error.retryable


def test_a_literal_address_that_is_not_allowed_is_never_contacted(tmp_path: Path) -> None:
    async def once() -> list[str]:
        async with serving(reply(b"x")) as server, fetching(tmp_path, allow=()) as fetcher:
            with pytest.raises(AddressRefused):
                await fetcher.fetch(server.url())
            return server.requests

    assert event_loop.run(once) == []


def test_a_name_that_resolves_to_a_private_address_is_never_contacted(tmp_path: Path) -> None:
    class ToLoopback(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:  # noqa: ARG002 - every name is one
            return await super().resolve("127.0.0.1", port, family)

    async def once() -> list[str]:
        options = {"allow": ("10.0.0.0/8",), "resolver": ToLoopback()}
        async with serving(reply(b"x")) as server, fetching(tmp_path, **options) as fetcher:
            with pytest.raises(Misdirected, match=r"rebinding\.example: a loopback address"):
                await fetcher.fetch(f"https://rebinding.example:{server.port}/result")
            return server.requests

    assert event_loop.run(once) == []


def test_a_server_without_a_trusted_certificate_is_unavailable_over_https(tmp_path: Path) -> None:
    async def once() -> None:
        async with serving(reply(), greeting=b"this is not TLS") as server, fetching(tmp_path) as fetcher:
            with pytest.raises(ResultUnavailable, match="SSL"):
                await fetcher.fetch(f"https://127.0.0.1:{server.port}/result")

    event_loop.run(once)
    trusted = make_fetcher(tmp_path)._ssl_context
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_no_log_line_at_any_level_holds_the_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        fetched(reply(b"x"), tmp_path)[0].spool.close()
        failure(reply(status="500 No"), tmp_path)
    assert "sig=secret" not in caplog.text


def test_a_closed_fetcher_opens_again(tmp_path: Path) -> None:
    async def twice() -> int:
        async with serving(reply(b"x")) as server:
            fetcher = make_fetcher(tmp_path)
            for _ in range(2):
                (await fetcher.fetch(server.url())).spool.close()
                await fetcher.close()
            return len(server.requests)

    assert event_loop.run(twice) == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("-5", None),
        ("1.5", None),
        ("9" * 400, None),
        ("999999999", 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86_400.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("", None),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 12:00:10 GMT", 10.0),
        ("Thursday, 01-Jan-26 12:00:10 GMT", 10.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds
