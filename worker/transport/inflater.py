"""Undoes gzip and zlib, also where a body is several gzip files one behind another (RFC 1952, 2.2)."""

import zlib
from typing import Final, Self

_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
_GZIP: Final = b"\x1f\x8b"


class Inflater:
    """As `zlib.decompressobj`, but goes on with the gzip file behind the one that ended; anything else is skipped."""

    def __init__(self, wbits: int = _ZLIB_OR_GZIP) -> None:
        self.wbits = wbits
        self.file = zlib.decompressobj(wbits)
        self.between = b""
        self.unconsumed_tail = b""
        self.eof = False

    def copy(self) -> Self:
        """Return another that is as far as this one."""
        other = type(self)(self.wbits)
        other.file, other.between, other.eof = self.file.copy(), self.between, self.eof
        return other

    def decompress(self, piece: bytes, most: int = 0) -> bytes:
        """Return what a piece adds, at most `most` bytes unless that is 0; raises `zlib.error`."""
        fresh, self.between, self.unconsumed_tail = self.between + piece, b"", b""
        found = bytearray()
        while fresh and not self.eof and not (most and len(found) >= most):
            if self.file.eof and not self._begins(fresh):
                return bytes(found)
            found += self.file.decompress(fresh, most - len(found) if most else 0)
            fresh = self.file.unused_data or self.file.unconsumed_tail
        self.unconsumed_tail = b"" if self.eof else fresh
        return bytes(found)

    def flush(self) -> bytes:
        """Return what the last bound held back."""
        return self.file.flush()

    def _begins(self, fresh: bytes) -> bool:
        """Begin the next file, if there is one; a single byte may be its first."""
        if fresh.startswith(_GZIP):
            self.file = zlib.decompressobj(self.wbits)
            return True
        self.between, self.eof = (fresh, False) if fresh == _GZIP[:1] else (b"", True)
        return False
