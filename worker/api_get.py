"""Reads a provider's API: polls and look-ups, free of charge and safe to repeat."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from worker.paid_post import Lost, Reply

_REPLY_BYTES: Final = 16 * 1024 * 1024


class ApiGet:
    """GETs for one account over a pool of kept connections; `timeout_seconds` is the wall clock of one call.

    The aiohttp transport costs a quarter of httpx's own; it may repeat a GET by itself, which is why paid calls never
    use it.
    """

    def __init__(self, *, timeout_seconds: float, connect_seconds: float, connections: int = 20) -> None:
        self._timeout_seconds = timeout_seconds
        self._timeout = httpx.Timeout(timeout_seconds, connect=connect_seconds).as_dict()
        self._connections = connections
        self._transport: AiohttpTransport | None = None

    async def get(self, url: str, *, headers: Mapping[str, str], params: Mapping[str, Any]) -> Reply | Lost:
        """GET `url` and return the whole answer, or why there is none."""
        request = httpx.Request(
            "GET",
            url,
            headers={**headers, "Accept": "application/json"},
            params=params,
            extensions={"timeout": self._timeout},
        )
        try:
            with anyio.fail_after(self._timeout_seconds):
                response = await self._open().handle_async_request(request)
                try:
                    return await self._read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return Lost(f"no whole answer within {self._timeout_seconds:g} s")
        except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
            return Lost(f"the connection failed ({type(error).__name__})")

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    @staticmethod
    async def _read(response: httpx.Response) -> Reply | Lost:
        body = bytearray()
        async for chunk in response.stream:  # type: ignore[union-attr]
            body += chunk
            if len(body) > _REPLY_BYTES:
                return Lost(f"the answer is longer than {_REPLY_BYTES} bytes", response.status_code)
        return Reply(response.status_code, response.headers, bytes(body))

    def _open(self) -> AiohttpTransport:
        if self._transport is None:
            self._transport = AiohttpTransport(
                client=lambda: aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=self._connections),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )
        return self._transport
