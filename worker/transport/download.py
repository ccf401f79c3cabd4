"""Downloads one result over an untrusted link into a spool.

Links are signed, so messages contain only hosts and numbers, and no error has another library's error as its cause,
because those quote the URL. For the same reason nothing here logs a URL.
"""

import email.utils
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import anyio
import httpx
import yarl
from aiohttp.abc import AbstractResolver

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
_READ_BYTES: Final = 128 * 1024
_CODED_BYTES: Final = 16 * 1024  # each byte of a coding may become a thousand
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
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
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
        self._session: aiohttp.ClientSession | None = None

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
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _follow(self, url: str, take_short: TakeShort | None, least: float) -> Fetched:
        target = self._guard.check_url(url)
        for redirects in range(self._max_redirects + 1):
            response = await self._request(target)
            try:
                if response.status not in _REDIRECTS:
                    return await self._received(response, redirects, take_short, least)
                target = self._redirected(response, target)
            finally:
                response.close()
        raise RedirectLoop(f"{_host(target)}: redirected more than {self._max_redirects} times")

    def _redirected(self, response: aiohttp.ClientResponse, url: httpx.URL) -> httpx.URL:
        try:
            location = url.join(response.headers["location"])
        except (KeyError, httpx.InvalidURL, ValueError):
            raise UnexpectedReply(
                f"{_host(url)}: a redirect without a usable Location", status=response.status
            ) from None
        return self._guard.check_url(location, redirected_from=url)

    async def _request(self, url: httpx.URL) -> aiohttp.ClientResponse:
        # aiohttp rewrites escapes of a URL that is given as text (`%2F` becomes `/`), which breaks its signature.
        written = yarl.URL(str(url), encoded=True)
        try:
            return await self._open().get(written, headers=self._headers, allow_redirects=False, timeout=self._timeout)
        except aiohttp.ServerTimeoutError:
            pass
        except (aiohttp.ClientError, OSError) as error:
            raise ResultUnavailable(f"{_host(url)}: no answer ({type(error).__name__})") from None
        raise FetchTimeout(f"{_host(url)}: no connection within {self._timeout.sock_connect:g} s")

    async def _received(
        self, response: aiohttp.ClientResponse, redirects: int, take_short: TakeShort | None, least: float
    ) -> Fetched:
        self._check_status(response)
        media_type = _header(response, "content-type").split(";", 1)[0].strip().lower()
        spool = Spool(directory=self._spool_dir, max_bytes=self._max_bytes)
        fetched = Fetched(spool, media_type or None, response.status, redirects)
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

    def _check_status(self, response: aiohttp.ClientResponse) -> None:
        status, host = response.status, _server(response)
        if status in _EXPIRED:
            raise LinkExpired(f"{host}: the link is no longer honoured (HTTP {status})", status=status)
        if status in _BUSY or status >= _SERVER_ERROR:
            wait = retry_after_seconds(_header(response, "retry-after"), self._now())
            raise ResultUnavailable(f"{host}: HTTP {status}", status=status, retry_after=wait)
        if status not in _BODIES and not (status == HTTPStatus.PARTIAL_CONTENT and _is_all(response)):
            raise UnexpectedReply(f"{host}: HTTP {status} instead of the result", status=status)

    async def _receive(self, response: aiohttp.ClientResponse, spool: Spool, least: float) -> str | None:
        """Read the body into `spool`; return what it lacks, None if it is whole. The announced length may be wrong."""
        announced = response.headers.get("content-length")
        expected = int(announced) if announced is not None else None  # aiohttp lets only digits through
        came, broken = _Came(_server(response), anyio.current_time(), least), None
        try:
            await self._read(response, spool, came)
        except UnknownCodingError:
            raise UnexpectedReply(f"{came.host}: the reply is compressed, which was not asked for") from None
        except TimeoutError:
            broken = f"nothing for {self._stalled_seconds:g} s"
        except DamagedCodingError:
            broken = "its compression is damaged"
        except aiohttp.ClientError as error:
            broken = type(error).__name__
        if broken is None and (expected is None or came.bytes == expected):
            return None
        whole = "unknown" if expected is None else expected
        return f"{came.host}: {came.bytes} of {whole} bytes came ({broken or 'short'})"

    async def _read(self, response: aiohttp.ClientResponse, spool: Spool, came: "_Came") -> None:
        body = EncodedBody(_header(response, "content-encoding"))
        try:
            await self._read_on(response, body, spool, came)
        except (TimeoutError, aiohttp.ClientError):
            spool.write(body.end())  # what came may be whole, whatever length was announced
            raise
        spool.write(body.end())

    async def _read_on(self, response: aiohttp.ClientResponse, body: EncodedBody, spool: Spool, came: "_Came") -> None:
        most = _CODED_BYTES if "content-encoding" in response.headers else _READ_BYTES
        with anyio.fail_after(self._stalled_seconds) as stalled:
            while piece := await response.content.read(most):
                now = anyio.current_time()
                stalled.deadline = now + self._stalled_seconds
                came.bytes += len(piece)
                spool.write(body.feed(piece))
                came.require_pace(now, self.grace_seconds)

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, created at first use because it belongs to a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._guard.connector(
                    limit=self._max_connections, ssl_context=self._ssl_context, resolver=self._resolver
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=_HEADER_BYTES,
                max_field_size=_HEADER_BYTES,
                max_headers=_MOST_HEADERS,
            )
        return self._session


@dataclass(slots=True)
class _Came:
    """What has come of one body so far, as it is on the wire."""

    host: str
    began: float
    least_speed: float
    bytes: int = 0

    def require_pace(self, now: float, grace_seconds: float) -> None:
        """Raise `TooSlow` for a body that is slower than it may be, on average."""
        took = now - self.began
        if took > grace_seconds and self.bytes < self.least_speed * took:
            raise TooSlow(f"{self.host}: only {self.bytes / took:,.0f} bytes per second")


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


def _is_all(response: aiohttp.ClientResponse) -> bool:
    """Tell whether a part is the whole (RFC 9110, 14.4): a proxy may answer so to a request without a range."""
    found = _WHOLE.fullmatch(_header(response, "content-range").strip())
    return found is not None and int(found[1]) + 1 == int(found[2])


def _header(response: aiohttp.ClientResponse, name: str) -> str:
    """Return the value of a header, as one list where it came more than once (RFC 9110, 5.2); empty without it."""
    return ", ".join(response.headers.getall(name, ()))


def _server(response: aiohttp.ClientResponse) -> str:
    return (response.url.raw_host or "")[:100]


def _host(url: httpx.URL) -> str:
    return url.host[:100]
