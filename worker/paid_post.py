"""The one place that sends a paid request: once, on a fresh connection, and with proof of what left.

No layer below repeats it: no transport retries, no redirects, no proxy, no HTTP/2 stream retry. `NotSent` is decided
by proof, never by an exception's class: the transport reports when it starts to write, and unless it did, no byte left.
"""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

_REPLY_BYTES: Final = 4 * 1024 * 1024  # JSON with ids and links; an answer beyond it is not one we can read
_STARTS_WRITING: Final = ("http11.send_request_headers.started", "http2.send_request_headers.started")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proved: not one byte of the request left."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The request left, at least in part, and no whole answer came back."""

    reason: str
    status: int | None = None


class _TooLateError(Exception):
    """The moment to send has passed: somebody may have judged this sender gone."""


@dataclass(slots=True)
class _Wire:
    """What the transport told of one request."""

    send_before: float
    writing: bool = False

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event in _STARTS_WRITING:
            if time.monotonic() > self.send_before:
                raise _TooLateError
            self.writing = True


class PaidPost:
    """Sends paid POSTs for one account; `timeout_seconds` is the wall clock of one call, from connect to last byte."""

    def __init__(
        self, *, timeout_seconds: float, connect_seconds: float, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self._timeout = httpx.Timeout(timeout_seconds, connect=connect_seconds).as_dict()
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl_context or httpx.create_ssl_context(),
            trust_env=False,
            http2=False,
            retries=0,
            # A kept connection may be closed by the peer just as we write: an `unknown` for nothing.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def send(
        self, url: str, *, headers: Mapping[str, str], json: object, send_before: float
    ) -> Reply | NotSent | Lost:
        """POST `json` to `url` unless `time.monotonic()` has passed `send_before`, compared right before the first byte."""
        wire = _Wire(send_before)
        request = httpx.Request(
            "POST",
            url,
            headers={
                **headers,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            json=json,
            extensions={"timeout": self._timeout, "trace": wire.trace},
        )
        try:
            with anyio.fail_after(self.timeout_seconds):
                return await self._exchange(request)
        except _TooLateError:
            return NotSent("the sender was held up for longer than it may take from intent to first byte")
        except TimeoutError:
            reason = f"no whole answer within {self.timeout_seconds:g} s"
        except (httpx.TransportError, OSError) as error:
            reason = f"the connection failed ({type(error).__name__})"
        return Lost(reason) if wire.writing else NotSent(reason)

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def _exchange(self, request: httpx.Request) -> Reply | Lost:
        response = await self._transport.handle_async_request(request)
        body = bytearray()
        try:
            async for chunk in response.stream:  # type: ignore[union-attr]
                body += chunk
                if len(body) > _REPLY_BYTES:
                    return Lost(f"the answer is longer than {_REPLY_BYTES} bytes", response.status_code)
        except (httpx.TransportError, OSError) as error:
            return Lost(f"the answer broke off ({type(error).__name__})", response.status_code)
        finally:
            await response.aclose()
        return Reply(response.status_code, response.headers, bytes(body))
