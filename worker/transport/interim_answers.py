"""A bound on interim answers (1xx), of which one server may send millions: each costs more to read than to send.

uvloop reads 8 MB from one connection before it turns to another. As interim answers they would hold it for 20 seconds.
"""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

_PIECE_BYTES: Final = 16 * 1024  # some 600 interim answers
_MOST_WAITING: Final = 50


class BoundedHandler(ResponseHandler):
    """Breaks off a connection on which more answers wait than anybody sends in earnest."""

    def data_received(self, data: bytes) -> None:
        """Read what came: heads piece by piece, a body at once."""
        if len(data) <= _PIECE_BYTES or self._has_open_body:
            super().data_received(data)
            return
        for start in range(0, len(data), _PIECE_BYTES):
            super().data_received(data[start : start + _PIECE_BYTES])
            if self._has_open_body:
                super().data_received(data[start + _PIECE_BYTES :])
                return
            if len(self._buffer) > _MOST_WAITING and self.transport is not None:
                self.transport.abort()
                return

    @property
    def _has_open_body(self) -> bool:
        return self._payload is not None and not self._payload.is_eof()


class BoundedConnector(aiohttp.TCPConnector):
    """Reads each answer with `BoundedHandler`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(BoundedHandler, loop=self._loop)  # type: ignore[assignment]  # one of its kind
