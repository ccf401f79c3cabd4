"""The connection under a request: uvicorn's HTTP protocol, its transport within reach of the application."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_ABORT_WITH_RST = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds


class OpenProtocol(H11Protocol):
    """Puts the connection's transport into ``scope["state"]``, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport for the scopes of this connection."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def transport_of(scope: Mapping[str, Any]) -> asyncio.Transport | None:
    """Return the transport of a request, or ``None`` if another server runs the application."""
    transport = scope.get("state", {}).get("transport")
    return transport if isinstance(transport, asyncio.Transport) else None


def finish(transport: asyncio.Transport) -> None:
    """Flush what was written, then close with FIN."""
    transport.close()


def reset(transport: asyncio.Transport) -> None:
    """Drop what was written and close with RST: a linger of zero turns the close into an abort."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_WITH_RST)
    transport.abort()
