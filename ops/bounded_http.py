"""HTTP/1.1 whose request heads are bounded, and whose own refusals are problem documents as all others.

uvicorn's fast parser keeps a header of any size in memory, and words what it cannot read as plain text.
"""

import json
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 32 * 1024
"""Bytes of a request's line and headers."""
_SEPARATORS: Final = len(": \r\n")


def _refusal(status: HTTPStatus, code: str, title: str, detail: str) -> bytes:
    document = {"type": f"/v1/problems/{code}", "title": title, "status": status, "code": code, "detail": detail,
                "request_id": ""}  # fmt: skip
    body = json.dumps(document).encode()
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
        % (status, status.phrase.encode(), len(body), body)
    )


_TOO_LARGE: Final = _refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    "The request's headers are too large.",
    f"at most {HEAD_BYTES:,} bytes",
)
_UNREADABLE: Final = _refusal(
    HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be read.", "this is no request of HTTP/1.1"
)


class _HeadTooLargeError(Exception):
    """A head that arrived whole is larger than the bound."""


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection whose request head grows beyond the bound, or cannot be read."""

    _in_head: bool = True
    _head_bytes: int = 0
    _body_ended: bool = False
    """Whether the body of a request ended in this read: most of what was read may be body."""
    _is_too_large: bool = False

    def on_headers_complete(self) -> None:
        """Begin with a request whose head fits, and count no more: what follows is the body."""
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) + _SEPARATORS for name, value in self.headers)
        if size > HEAD_BYTES:
            self._is_too_large = True
            raise _HeadTooLargeError  # the parser stops, and its caller says so to the client
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
            self._refuse(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the library's words, which are plain text
        """Say that a request cannot be read, or that its head is too large."""
        self._refuse(_TOO_LARGE if self._is_too_large else _UNREADABLE)

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()
