"""Reads a provider's API: polls and look-ups, free of charge and safe to repeat."""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from worker.transport.paid_post import Lost, PaidReply
from worker.transport.quiet_connector import QuietConnector

_REPLY_BYTES: Final = 16 * 1024 * 1024
_HEADER_BYTES: Final = 100 * 1024  # as for paid calls: what was bought must be collected
_MOST_HEADERS: Final = 1000


@dataclass(slots=True)
class _Came:
    """What has come of an answer so far."""

    response: httpx.Response | None = None
    body: bytearray = field(default_factory=bytearray)

    def lost(self, reason: str) -> Lost:
        """Return what came, decompressed, as an answer that broke off."""
        if self.response is None:
            return Lost(reason)
        reply = PaidReply.of(self.response, bytes(self.body), max_bytes=_REPLY_BYTES)
        return Lost(reason, reply.status, reply.body, reply.headers)


class ApiGet:
    """GETs for one account over a pool of kept connections; `timeout_seconds` is the wall clock of one call.

    The aiohttp transport costs a quarter of httpx's own. It may repeat a GET, so paid calls never use it. It follows no
    redirect, so the API key stays with its host.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        connect_seconds: float,
        connections: int = 20,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._timeout = httpx.Timeout(timeout_seconds, connect=connect_seconds).as_dict()
        self._connections = connections
        self._ssl_context = ssl_context or httpx.create_ssl_context()
        self._transport: AiohttpTransport | None = None

    async def get(self, url: str, *, headers: Mapping[str, str], params: Mapping[str, Any]) -> PaidReply | Lost:
        """GET `url` and return the whole answer, or why there is none and what came of it.

        Raises only a cancellation.
        """
        came = _Came()
        try:
            request = httpx.Request(
                "GET",
                url,
                # The transport passes compressed bodies on unchanged, and aiohttp would ask for them.
                headers={**headers, "Accept": "application/json", "Accept-Encoding": "identity"},
                params=params,
                extensions={"timeout": self._timeout},
            )
            with anyio.fail_after(self._timeout_seconds):
                try:
                    return await self._ask(self._open(), request, came)
                except aiohttp.ClientResponseError:
                    return await self._ask_leniently(request, came)
        except TimeoutError:
            return came.lost(f"no whole answer within {self._timeout_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - a read that failed is asked again, whatever its class
            return came.lost(f"the connection failed ({type(error).__name__})")

    async def _ask(self, transport: httpx.AsyncBaseTransport, request: httpx.Request, came: _Came) -> PaidReply | Lost:
        response = await transport.handle_async_request(request)
        try:
            return await self._read(response, came)
        finally:
            # What came must not be lost to a bad close.
            with suppress(Exception):
                await response.aclose()

    async def _ask_leniently(self, request: httpx.Request, came: _Came) -> PaidReply | Lost:
        """Ask once more with the parser of paid calls: it takes heads that aiohttp's refuses, such as a length twice.

        What was bought through it would never be collected.
        """
        async with httpx.AsyncHTTPTransport(verify=self._ssl_context, trust_env=False, http2=False) as transport:
            return await self._ask(transport, request, came)

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    @staticmethod
    async def _read(response: httpx.Response, came: _Came) -> PaidReply | Lost:
        came.response, came.body = response, bytearray()
        async for chunk in response.stream:  # type: ignore[union-attr]
            came.body += chunk
            if len(came.body) > _REPLY_BYTES:
                return Lost(f"the answer is longer than {_REPLY_BYTES} bytes", response.status_code)
        return PaidReply.of(response, bytes(came.body), max_bytes=_REPLY_BYTES)

    def _open(self) -> AiohttpTransport:
        if self._transport is None:
            self._transport = AiohttpTransport(verify=self._ssl_context, client=self._session)
        return self._transport

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=QuietConnector(limit=self._connections, ssl=self._ssl_context),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_MOST_HEADERS,
        )
