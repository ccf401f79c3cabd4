"""PNG: the signature, every chunk with its CRC, in order, up to IEND.

Source: W3C PNG Specification (Third Edition), sections 5, 11.2 and 13.2. Each byte lies under the signature, a length
that must add up, or a CRC-32, so any cut and any flipped bit is found. As browsers do, the check tolerates bytes after
IEND, and a wrong CRC of an ancillary chunk: no pixel depends on it.
"""

import struct
import zlib
from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_LENGTH: Final = 2**31 - 1
_INDEXED: Final = 3
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), _INDEXED: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ANCILLARY_BIT: Final = 0x20


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the size of a complete PNG; raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`."""
    reader.take(len(SIGNATURE), "the PNG signature")
    kind, header = _chunk(reader)
    if kind != b"IHDR":
        raise NotAnImage("a PNG that does not begin with its header")
    size, color_type = _header(header, max_pixels)
    seen: set[bytes] = set()
    while kind != b"IEND":
        last, (kind, _) = kind, _chunk(reader)
        _check_order(kind, last, seen, color_type)
        seen.add(kind)
    return size


def _chunk(reader: Reader) -> tuple[bytes, bytes]:
    """Read one chunk and return its type and the first block of its data."""
    length, kind = struct.unpack(">I4s", reader.take(8, "a PNG chunk's head"))
    if length > _MAX_LENGTH or not kind.isalpha():
        raise IncompleteImage("a damaged PNG: a chunk's head is not one")
    first = b""
    crc = zlib.crc32(kind)
    for block in reader.blocks(length, "a PNG chunk"):
        crc = zlib.crc32(block, crc)
        first = first or block
    right = reader.take(4, "a PNG chunk's checksum") == crc.to_bytes(4, "big")
    if not right and not _is_dispensable(kind):
        raise IncompleteImage("a damaged PNG: a chunk's checksum is wrong")
    return kind, first


def _is_dispensable(kind: bytes) -> bool:
    """Tell whether decoders ignore a damaged chunk of this type; not one bit away from a type that they need."""
    return bool(kind[0] & _ANCILLARY_BIT) and kind.upper() not in _CRITICAL


def _header(data: bytes, max_pixels: int) -> tuple[Size, int]:
    try:
        width, height, depth, color_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", data)
    except struct.error:
        raise NotAnImage("a PNG whose header has a wrong length") from None
    if depth not in _DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise NotAnImage("a PNG whose header names an unknown encoding")
    if max(width, height) > _MAX_LENGTH:
        raise NotAnImage("a PNG whose header names an impossible size")
    return Size(width, height).within(max_pixels), color_type


def _check_order(kind: bytes, last: bytes, seen: set[bytes], color_type: int) -> None:
    """Raise `NotAnImage` if a chunk may not follow `last` and those `seen` since the header."""
    if kind not in _CRITICAL:
        if not kind[0] & _ANCILLARY_BIT:
            raise NotAnImage("a PNG with an unknown critical chunk")
        return
    again = kind in seen and (kind != b"IDAT" or last != kind)
    no_palette = kind == b"IDAT" and color_type == _INDEXED and b"PLTE" not in seen
    no_pixels = kind == b"IEND" and b"IDAT" not in seen
    late_palette = kind == b"PLTE" and b"IDAT" in seen
    if kind == b"IHDR" or again or no_palette or no_pixels or late_palette:
        raise NotAnImage("a PNG whose chunks are out of order or missing")
