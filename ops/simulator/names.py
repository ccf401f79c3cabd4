"""Lets requests through that name the simulator by an address or a name of its own."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ops.hosts import is_known

_Message = MutableMapping[str, Any]
_App = Callable[[_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]]
_REFUSAL = b"the simulator answers under 127.0.0.1, localhost and the name in --public-url\n"


class KnownNames:
    """An ASGI application in front of another. It answers 421 to who comes under another name, such as a web page."""

    def __init__(self, app: _App, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request; one without a name comes from no browser."""
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if all(is_known(host, self._names) for host in hosts):
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})
