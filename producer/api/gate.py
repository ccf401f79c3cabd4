"""The outermost part: gives each request an id, refuses foreign hosts and origins, and words every failure."""

import secrets
from collections.abc import Callable
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.problems import ProblemError, problem_response
from shared.db.engine import is_forbidden

_log = structlog.get_logger(__name__)
_SAFE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_NO_SOCKETS: Final = "there are no websockets here: a batch is followed at /v1/batches/NAME/events"


class Gate:
    """ASGI middleware. A web page reaches an API on this machine by rebinding its own name, or by a cross-site post.

    The first shows in `Host`, the second in `Origin`; both are refused before anything else is read.
    """

    def __init__(self, app: ASGIApp, is_own_host: Callable[[str], bool]) -> None:
        self._app = app
        self._is_own_host = is_own_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        if scope["type"] == "websocket":
            await problem_response(ProblemError("bad_request", _NO_SOCKETS), request_id)(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message, request_id)
            await send(message)

        try:
            self._require_own(Headers(scope=scope), scope["path"])
            await self._app(scope, receive, sending)
        except ProblemError as problem:
            await problem_response(problem, request_id)(scope, receive, sending)
        except ClientDisconnect:
            return  # the caller went while it sent: nothing was done, and nobody is there to be told
        except Exception as error:
            if started:
                raise
            code = "database_role" if is_forbidden(error) else "internal_error"
            _log.exception("request_failed", request_id=request_id, error=type(error).__name__)
            await problem_response(ProblemError(code), request_id)(scope, receive, sending)

    def _require_own(self, headers: Headers, path: str) -> None:
        if path == "/healthz":  # a container's health check names no host that anybody knows beforehand
            return
        host = headers.get("host", "")
        if not self._is_own_host(host):
            raise ProblemError("host_not_allowed")
        origin = headers.get("origin")
        # No parser: an origin is a scheme and a host, and one that cannot be read must be refused, not fail.
        if origin is not None and origin.partition("://")[2] != host:
            raise ProblemError("origin_not_allowed")


def _add_headers(message: Message, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = request_id
    for name, value in _SAFE_HEADERS.items():
        headers.setdefault(name, value)


def request_id(request: Any) -> str:
    """Return the id of a request, which its log lines and its problem document have."""
    found: str = request.scope["state"]["request_id"]
    return found
