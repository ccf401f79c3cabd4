"""HTTP/1.1 whose request heads are bounded: uvicorn's fast parser keeps a header of any size in memory."""

import json
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 32 * 1024
"""Bytes of a request's line and headers; what arrives in one read, up to 256 KiB, is not counted apart."""
_BODY: Final = json.dumps(
    {
        "type": "/v1/problems/head_too_large",
        "title": "The request's headers are too large.",
        "status": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "code": "head_too_large",
        "detail": f"at most {HEAD_BYTES:,} bytes",
        "request_id": "",
    }
).encode()
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection whose request head grows beyond the bound."""

    _in_head: bool = True
    _head_bytes: int = 0
    _body_ended: bool = False
    """Whether the body of a request ended in this read: most of what was read may be body."""

    def on_headers_complete(self) -> None:
        """Count no more: what follows is the body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin to count for the next request of this connection."""
        self._in_head, self._head_bytes, self._body_ended = True, 0, True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take what arrived, unless it is more of a head that is too large already."""
        self._body_ended = False
        super().data_received(data)
        if not self._in_head or self._body_ended or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.transport.write(_REFUSAL)
            self.transport.close()
