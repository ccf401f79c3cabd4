"""The only place that sends a paid request: once, on a new connection, and with proof of what left.

No lower layer repeats it: no transport retries, no redirects, no proxy, no kept connection. `NotSent` needs proof, not
just an exception's class: the transport reports when it starts to write, and without that report no byte left.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

import anyio
import anyio.to_thread
import httpx

from worker.transport.undone import undone

SHORT_BYTES: Final = 4 * 1024 * 1024
"""JSON with ids and links is no longer than this; a longer answer is kept and not read."""
_SUCCESS: Final = 2
_STARTS_WRITING: Final = "http11.send_request_headers.started"
_STARTS_BODY: Final = "http11.send_request_body.started"
_STALLED_SECONDS: Final = 0.05  # a timer that is later than this shows that the process was frozen
_THAW_SECONDS: Final = 5.0  # the longest time for reading what arrived meanwhile
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10}


@dataclass(frozen=True, slots=True)
class PaidReply:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, response: httpx.Response, body: bytes, *, max_bytes: int) -> Self:
        """Return the answer decompressed, up to `max_bytes`."""
        return cls(response.status_code, response.headers, _plain(response.headers, body, max_bytes))


def _plain(headers: Mapping[str, str], body: bytes, max_bytes: int) -> bytes:
    return undone(body, headers.get("content-encoding", ""), max_bytes=max_bytes)


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proved: no byte of the request left."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The request left, at least in part, and no whole answer came back; `body` is the part that came, decompressed."""

    reason: str
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Sink(Protocol):
    """The destination of an answer that carries images, as it arrives; it has its own cap."""

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; any exception ends the call as `Lost`.

        A sink whose `slow` is true is written to in a thread: it may wait for a network.
        """
        ...


def boot_clock() -> float:
    """Return seconds on a clock that runs while the machine sleeps: a suspended sender must know that it is late."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _TooLateError(Exception):
    """The latest moment to send has passed: a worker may have judged this sender gone."""


class _TooLongError(Exception):
    """The answer is longer than any that we can read."""


@dataclass(slots=True)
class _Wire:
    """What the transport reported about one request."""

    send_before: float
    writing: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    sink: Sink | None = None
    spill: Sink | None = None
    is_long: bool = False

    async def receive(self, chunk: bytes) -> None:
        if self.sink is not None and self.status is not None and self.status // 100 == _SUCCESS:
            await _written(self.sink, chunk)
        elif self.is_long and self.spill is not None:
            await _written(self.spill, chunk)
        else:
            self.body += chunk
            await self._bound()

    async def _bound(self) -> None:
        """Let what is too long for memory go on into the spill, from its beginning."""
        if len(self.body) <= SHORT_BYTES:
            return
        if self.spill is None:
            raise _TooLongError
        self.is_long = True
        await _written(self.spill, bytes(self.body))

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event in {_STARTS_WRITING, _STARTS_BODY} and boot_clock() > self.send_before:
            raise _TooLateError
        if event == _STARTS_WRITING:
            self.writing = True

    def ended(self, reason: str) -> NotSent | Lost:
        if not self.writing:
            return NotSent(reason)
        body = _plain(self.headers, bytes(self.body), SHORT_BYTES)
        return Lost(reason, self.status, body, self.headers)


async def _written(sink: Sink, chunk: bytes) -> None:
    if not getattr(sink, "slow", False):
        sink.write(chunk)
        return
    # Arrived bytes are kept, even if the deadline passes now.
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(sink.write, chunk)


class PaidPost:
    """Sends paid POSTs for one account; `timeout_seconds` is the wall clock of one call, from connect to last byte."""

    def __init__(
        self, *, timeout_seconds: float, connect_seconds: float, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.timeout_seconds = timeout_seconds
        # `timeout_seconds` bounds the whole call; the transport's own limits must not end it earlier.
        self._timeout = httpx.Timeout(timeout_seconds + 2 * _THAW_SECONDS, connect=connect_seconds).as_dict()
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl_context or httpx.create_ssl_context(),
            trust_env=False,
            http2=False,
            retries=0,
            # The peer may close a kept connection just as we write, which would cause a needless `unknown`.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            socket_options=_socket_options(connect_seconds),
        )

    async def send(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        json: object,
        send_before: float,
        sink: Sink | None = None,
        spill: Sink | None = None,
    ) -> PaidReply | NotSent | Lost:
        """POST `json` to `url`, unless `boot_clock()` has passed `send_before` right before the first byte.

        The body of a success goes into `sink` if there is one, and `body` stays empty. Any other body that is too long
        for memory goes into `spill`, whole; `body` is then its beginning, as of an answer that broke off. Raises only
        its caller's cancellation; any other result is one of the three.
        """
        wire = _Wire(send_before, sink=sink, spill=spill)
        try:
            request = self._request(url, headers, json, wire)
            with _deadline(self.timeout_seconds):
                return await self._exchange(request, wire)
        except _TooLateError:
            return wire.ended("the sender was held up for longer than it may take from intent to first byte")
        except TimeoutError:
            return wire.ended(f"no whole answer within {self.timeout_seconds:g} s")
        except _TooLongError:
            return wire.ended(f"the answer is longer than {SHORT_BYTES} bytes")
        except Exception as error:  # noqa: BLE001 - what left decides, not the class: any of them may come after a byte
            return wire.ended(f"{'the answer broke off' if wire.status else 'the connection failed'} ({_cause(error)})")

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    def _request(self, url: str, headers: Mapping[str, str], json: object, wire: _Wire) -> httpx.Request:
        ours = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
        extensions = {"timeout": self._timeout, "trace": wire.trace}
        return httpx.Request("POST", url, headers={**headers, **ours}, json=json, extensions=extensions)

    async def _exchange(self, request: httpx.Request, wire: _Wire) -> PaidReply | NotSent | Lost:
        response = await self._transport.handle_async_request(request)
        wire.status, wire.headers = response.status_code, response.headers
        try:
            async for chunk in response.stream:  # type: ignore[union-attr]
                await wire.receive(chunk)
            if wire.is_long:
                raise _TooLongError
            return PaidReply.of(response, bytes(wire.body), max_bytes=SHORT_BYTES)
        finally:
            # A received receipt must not be lost to a bad close or to a deadline that passes now.
            with anyio.CancelScope(shield=True), suppress(Exception):
                await response.aclose()


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` if the block takes longer, but still read what arrived while this process was frozen.

    After the freeze the deadline has passed, although the answer lies in the socket's buffer.
    """
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    last = boot_clock() + seconds + _THAW_SECONDS
    with anyio.CancelScope() as scope:

        def strike_in(wait: float) -> None:
            timers.append(loop.call_later(wait, strike, boot_clock() + wait))

        def strike(due: float) -> None:
            late = boot_clock() - due
            if late > _STALLED_SECONDS and (late > _THAW_SECONDS or due < last):
                strike_in(min(late, _THAW_SECONDS))
            else:
                scope.cancel()

        strike_in(seconds)
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
    if scope.cancelled_caught:
        raise TimeoutError


def _socket_options(unacknowledged_seconds: float) -> list[tuple[int, int, int]]:
    """Return the socket options that keep a live connection open and end a dead one early.

    Probes keep the connection open through gateways that forget a silent one within minutes, so that a slow paid answer
    still arrives. The user timeout (RFC 5482) makes the kernel drop unacknowledged bytes: they must not reach the
    provider long after this call was given up.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    wanted = {**_KEEPALIVE, "TCP_USER_TIMEOUT": round(unacknowledged_seconds * 1000)}
    for name, value in wanted.items():
        if (number := getattr(socket, name, None)) is not None:  # not every system has each
            options.append((socket.IPPROTO_TCP, number, value))
    return options


def _cause(error: BaseException) -> str:
    """Return the system's own words for the root failure, which quote neither URL nor body; or its class."""
    found = type(error).__name__
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {seen.verify_message}"
        if isinstance(seen, OSError) and seen.strerror:
            found = seen.strerror
        seen = seen.__cause__ or seen.__context__
    return found
