"""What stands before every page: the prefix, the host, where a form comes from, and headers that bound a browser."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE: Final = frozenset({"GET", "HEAD"})
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """An ASGI application around another.

    `prefix` is the path under which a proxy shows the pages, such as `/ops/genqueue`, or "". The proxy may pass it on,
    or remove it. `hosts` are the names under which a browser may ask; another name is a page that was rebound to us.
    """

    def __init__(self, app: ASGIApp, *, prefix: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._prefix = prefix
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 421 for a foreign host, 403 for a form of another site."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        bounded = _bounded(send)
        if refusal is not None:
            await refusal(scope, receive, bounded)
            return
        path: str = scope["path"]
        if not (path == self._prefix or path.startswith(f"{self._prefix}/")):
            path = self._prefix + path  # the proxy has removed it
        await self._app({**scope, "path": path, "root_path": self._prefix}, receive, bounded)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if host_name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("this host is not known here: add it with --host\n", 421)
        if method not in _SAFE and not _is_own_form(headers):
            return PlainTextResponse("this form comes from another site\n", 403)
        return None


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port and in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_own_form(headers: Headers) -> bool:
    """Tell whether a page of ours sent this; a browser states `Sec-Fetch-Site`, an older one at least `Origin`."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # No parser: an origin is a scheme and a host, and one that cannot be read must be refused, not fail.
    return headers.get("origin", "").partition("://")[2].lower() == headers.get("host", "").lower()


def _bounded(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
