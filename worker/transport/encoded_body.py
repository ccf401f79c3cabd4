"""The bytes of a result as they were before its server encoded them.

A header may name a coding that the body does not have (RFC 9110, 8.4), and a paid picture must not be lost to that.
"""

import zlib
from collections.abc import Callable
from typing import Final

from worker.imagecheck import begins_as_image
from worker.transport.inflater import Inflater

_START_BYTES: Final = 64
_GZIP: Final = zlib.MAX_WBITS | 16
_PLAIN: Final = frozenset({"", "identity"})
_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})


class UnknownCodingError(Exception):
    """The body is neither a picture as it stands nor in a coding that was to be expected."""


class DamagedCodingError(Exception):
    """The body is in the coding that its header names, but damaged."""


class EncodedBody:
    """Decodes a body piece by piece, at most one layer of gzip or deflate.

    One layer grows each 16 KiB read by 16 MiB at most; stacked layers have no such bound.
    """

    def __init__(self, coding: str) -> None:
        self._coding = ",".join(one for one in coding.lower().replace(" ", "").split(",") if one not in _PLAIN)
        self._start = b""
        self._decode: Callable[[bytes], bytes] | None = bytes if self._coding in _PLAIN else None

    def feed(self, piece: bytes) -> bytes:
        """Return what a piece adds. Raises `UnknownCodingError` and `DamagedCodingError`."""
        if self._decode is None:
            self._start += piece
            return b"" if len(self._start) < _START_BYTES else self._begin()
        return self._decoded(piece)

    def end(self) -> bytes:
        """Return what is left at the end of the body, or where it breaks off; raises as `feed`."""
        return self._begin() if self._decode is None and self._start else b""

    def _begin(self) -> bytes:
        self._decode = self._chosen()
        return self._decoded(self._start)

    def _chosen(self) -> Callable[[bytes], bytes]:
        if begins_as_image(self._start):
            return bytes
        if self._coding not in _DEFLATED:
            raise UnknownCodingError
        if self._coding != "deflate":
            return Inflater(_GZIP).decompress
        # Some servers send the stream without zlib's two bytes before it.
        wrapped = self._start[0] & 15 == zlib.DEFLATED and int.from_bytes(self._start[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS).decompress

    def _decoded(self, piece: bytes) -> bytes:
        if self._decode is None:
            return piece
        try:
            return self._decode(piece)
        except zlib.error:
            raise DamagedCodingError from None
