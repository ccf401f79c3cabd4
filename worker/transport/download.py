"""Downloads one result over an untrusted link into a spool.

Links are signed, so messages contain only hosts and numbers, and no error has another library's error as its cause,
because those quote the URL. For the same reason requests bypass `httpx.AsyncClient`, which logs each URL.
"""

import email.utils
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, cast

import aiohttp
import anyio
import httpx
import yarl
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

from shared.backoff import LONGEST_WAIT_SECONDS
from worker.transport.address_guard import AddressGuard
from worker.transport.encoded_body import DamagedCodingError, EncodedBody, UnknownCodingError
from worker.transport.fetch_errors import (
    FetchTimeout,
    LinkExpired,
    RedirectLoop,
    ResultUnavailable,
    TooSlow,
    Truncated,
    UnexpectedReply,
)
from worker.transport.spool import Spool

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_EXPIRED: Final = frozenset({401, 403, 404, 410})
_BUSY: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_BODIES: Final = frozenset({200, 203})
_CLOSE_SECONDS: Final = 1.0
_WHOLE: Final = re.compile(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})")
_HEADER_BYTES: Final = 64 * 1024  # signed redirect targets outgrow aiohttp's default of 8 KiB
_MOST_HEADERS: Final = 1000
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole response body; the receiver closes the spool.

    `content_type` is the declared media type in lower case without parameters, None if undeclared: a claim,
    not a fact.
    """

    spool: Spool
    content_type: str | None
    status: int
    redirects: int


TakeShort = Callable[[Fetched], Awaitable[bool]]
"""Tells whether a body that is shorter than announced is whole nevertheless."""


class Fetcher:
    """Downloads results, with one pool of guarded connections.

    `max_bytes` caps each body; `total_seconds` is the wall-clock limit of one `fetch`, redirects included, and
    `connect_seconds` that of each TCP connection. A body that stalls for `stalled_seconds` counts as ended. A body that
    comes with less than `least_speed` bytes per second, on average, is given up after `grace_seconds`.
    `ssl_context` and `resolver` replace the trusted certificates and the system's name look-up; `now` is the clock
    against which an HTTP-date in Retry-After is read. Use it in one event loop.
    """

    def __init__(  # noqa: PLR0913 - each limit is a setting of its own
        self,
        guard: AddressGuard,
        *,
        max_bytes: int,
        total_seconds: float,
        connect_seconds: float,
        spool_dir: Path,
        user_agent: str,
        max_redirects: int = 5,
        max_connections: int = 100,
        stalled_seconds: float = 30.0,
        least_speed: float = 0.0,
        grace_seconds: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._guard = guard
        self._max_bytes = max_bytes
        self._total_seconds = total_seconds
        self._timeout = httpx.Timeout(None, connect=connect_seconds).as_dict()
        self._spool_dir = spool_dir
        # Every header that is sent: no cookie, no credentials, and nothing from the environment.
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        self._max_redirects = max_redirects
        self._max_connections = max_connections
        self._ssl_context = ssl_context or httpx.create_ssl_context()
        self._resolver = resolver
        self._now = now
        self._stalled_seconds = stalled_seconds
        self._least_speed = least_speed
        self.grace_seconds = grace_seconds
        self._session: _VerbatimSession | None = None
        self._transport: AiohttpTransport | None = None

    async def fetch(
        self, url: str, *, take_short: TakeShort | None = None, patient_seconds: float | None = None
    ) -> Fetched:
        """Return the whole body behind `url`; raises the errors drawn above.

        A body that is shorter than announced is returned too if `take_short` says that it is whole. With
        `patient_seconds`, that is the limit in the place of `total_seconds`, and no body is too slow.
        """
        seconds = self._total_seconds if patient_seconds is None else patient_seconds
        least = self._least_speed if patient_seconds is None else 0.0
        with anyio.move_on_after(seconds):
            return await self._follow(url, take_short, least)
        raise FetchTimeout(f"the download did not end within {seconds:g} s")

    async def close(self) -> None:
        """Close the connections; a later `fetch` opens new ones."""
        session, self._session, self._transport = self._session, None, None
        if session is not None:
            await session.close()

    async def _follow(self, url: str, take_short: TakeShort | None, least: float) -> Fetched:
        target = self._guard.check_url(url)
        for redirects in range(self._max_redirects + 1):
            response = await self._request(target)
            try:
                if response.status_code not in _REDIRECTS:
                    return await self._received(response, redirects, take_short, least)
                target = self._redirected(response, target)
            finally:
                # Shielded: a cancellation here would lose a spool that is already complete.
                with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await response.aclose()
        raise RedirectLoop(f"{_host(target)}: redirected more than {self._max_redirects} times")

    def _redirected(self, response: httpx.Response, url: str) -> str:
        try:
            location = httpx.URL(url).join(response.headers["location"])
        except (KeyError, httpx.InvalidURL, ValueError):
            raise UnexpectedReply(
                f"{_host(url)}: a redirect without a usable Location", status=response.status_code
            ) from None
        return self._guard.check_url(str(location), redirected_from=url)

    async def _request(self, url: str) -> httpx.Response:
        request = httpx.Request("GET", url, headers=self._headers, extensions={"timeout": self._timeout})
        try:
            return await self._open().handle_async_request(request)
        except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
            cause = error.__cause__ or error
        if isinstance(cause, aiohttp.ServerTimeoutError):
            raise FetchTimeout(f"{_host(url)}: no connection within {self._timeout['connect']:g} s")
        raise ResultUnavailable(f"{_host(url)}: no answer ({type(cause).__name__})")

    async def _received(
        self, response: httpx.Response, redirects: int, take_short: TakeShort | None, least: float
    ) -> Fetched:
        self._check_status(response)
        media_type = response.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        spool = Spool(directory=self._spool_dir, max_bytes=self._max_bytes)
        fetched = Fetched(spool, media_type or None, response.status_code, redirects)
        try:
            await self._check_whole(fetched, await self._receive(response, spool, least), take_short)
        except BaseException:
            spool.close()
            raise
        return fetched

    @staticmethod
    async def _check_whole(fetched: Fetched, lacking: str | None, take_short: TakeShort | None) -> None:
        if lacking is not None and not (take_short is not None and await take_short(fetched)):
            raise Truncated(lacking, sha256=bytes.fromhex(fetched.spool.sha256))

    def _check_status(self, response: httpx.Response) -> None:
        status, host = response.status_code, _host(str(response.request.url))
        if status in _EXPIRED:
            raise LinkExpired(f"{host}: the link is no longer honoured (HTTP {status})", status=status)
        if status in _BUSY or status >= _SERVER_ERROR:
            wait = retry_after_seconds(response.headers.get("retry-after"), self._now())
            raise ResultUnavailable(f"{host}: HTTP {status}", status=status, retry_after=wait)
        if status not in _BODIES and not (status == httpx.codes.PARTIAL_CONTENT and _is_all(response)):
            raise UnexpectedReply(f"{host}: HTTP {status} instead of the result", status=status)

    async def _receive(self, response: httpx.Response, spool: Spool, least: float) -> str | None:
        """Read the body into `spool`; return what it lacks, None if it is whole. The announced length may be wrong."""
        host = _host(str(response.request.url))
        announced = response.headers.get("content-length")
        expected = int(announced) if announced is not None else None  # aiohttp lets only digits through
        broken: str | None = None
        try:
            await self._read(response, spool, least)
        except UnknownCodingError:
            raise UnexpectedReply(f"{host}: the reply is compressed, which was not asked for") from None
        except TimeoutError:
            broken = f"nothing for {self._stalled_seconds:g} s"
        except DamagedCodingError:
            broken = "its compression is damaged"
        except (httpx.TransportError, aiohttp.ClientError) as error:
            broken = type(error.__cause__ or error).__name__
        received = response.num_bytes_downloaded
        if broken is None and (expected is None or received == expected):
            return None
        return f"{host}: {received} of {'unknown' if expected is None else expected} bytes came ({broken or 'short'})"

    async def _read(self, response: httpx.Response, spool: Spool, least: float) -> None:
        body = EncodedBody(response.headers.get("content-encoding", ""))
        try:
            await self._read_on(response, body, spool, least)
        except (TimeoutError, httpx.TransportError, aiohttp.ClientError):
            spool.write(body.end())  # what came may be whole, whatever length was announced
            raise
        spool.write(body.end())

    async def _read_on(self, response: httpx.Response, body: EncodedBody, spool: Spool, least: float) -> None:
        began = anyio.current_time()
        with anyio.fail_after(self._stalled_seconds) as stalled:
            async for chunk in response.aiter_raw():
                now = anyio.current_time()
                stalled.deadline = now + self._stalled_seconds
                spool.write(body.feed(chunk))
                if now - began > self.grace_seconds and response.num_bytes_downloaded < least * (now - began):
                    speed = response.num_bytes_downloaded / (now - began)
                    raise TooSlow(f"{_host(str(response.request.url))}: only {speed:,.0f} bytes per second")

    def _open(self) -> AiohttpTransport:
        """Return the transport, created at first use because an aiohttp session belongs to a running loop."""
        if self._transport is None:
            connector = self._guard.connector(
                limit=self._max_connections, ssl_context=self._ssl_context, resolver=self._resolver
            )
            self._session = _VerbatimSession(connector)
            # The transport asks a callable for its session; it is given one that passes URLs on unchanged.
            self._transport = AiohttpTransport(
                verify=self._ssl_context, client=cast("Callable[[], aiohttp.ClientSession]", self._session)
            )
        return self._transport


class _VerbatimSession:
    """An aiohttp session that sends each URL as it is written.

    aiohttp rewrites escapes in a URL given as text (`%2F` in a query becomes `/`), which breaks signatures
    made over the text.
    """

    def __init__(self, connector: aiohttp.TCPConnector) -> None:
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_MOST_HEADERS,
        )

    def __call__(self) -> Self:
        return self

    def request(self, method: str, url: str, **options: Any) -> Any:
        return self._session.request(method, yarl.URL(url, encoded=True), **options)

    async def close(self) -> None:
        await self._session.close()


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110, 10.2.3), None if absent or unreadable.

    The header is a number of seconds or an HTTP-date, which is compared with `now` (with zone); a past date
    gives 0. More than a day is cut to a day: no server may stop work for good.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST_WAIT_SECONDS)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": no zone is named; an HTTP-date is always in UTC
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), LONGEST_WAIT_SECONDS)


def _is_all(response: httpx.Response) -> bool:
    """Tell whether a part is the whole (RFC 9110, 14.4): a proxy may answer so to a request without a range."""
    found = _WHOLE.fullmatch(response.headers.get("content-range", "").strip())
    return found is not None and int(found[1]) + 1 == int(found[2])


def _host(url: str) -> str:
    return httpx.URL(url).host[:100]
