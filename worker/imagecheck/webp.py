"""WebP: a RIFF container whose chunks add up to its size and hold an image.

Source: RFC 9649, sections 2.3 to 2.7, and RFC 6386 section 9.1 for the frame header of VP8. Bytes after the container
are tolerated: RFC 9649 lets readers ignore them. So is a last chunk of odd size without its padding byte. WebP has no
checksums: a cut is always found, a changed byte inside the coded data is not.
"""

import struct
from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size

_HEAD_BYTES: Final = 10
_VP8_START_CODE: Final = b"\x9d\x01\x2a"
_VP8L_SIGNATURE: Final = 0x2F
_STILL: Final = frozenset({b"VP8 ", b"VP8L"})
_PIXELS: Final = _STILL | {b"ANMF"}


def is_webp(head: bytes) -> bool:
    """Say whether a file that begins with `head` (12 bytes or more) claims to be WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the size of a complete WebP; raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`."""
    (riff_bytes,) = struct.unpack("<4xI4x", reader.take(12, "the RIFF header"))
    end = 8 + riff_bytes
    if end > reader.size:
        raise IncompleteImage(f"a WebP that ends early: {end - reader.size} bytes are missing")
    size: Size | None = None
    has_pixels = False
    while reader.position < end:
        kind, head = _chunk(reader, end)
        if size is None:
            size = _size(kind, head).within(max_pixels)
        elif kind in _STILL and _size(kind, head) != size:
            raise NotAnImage("a WebP whose image is not as large as its canvas")
        has_pixels = has_pixels or kind in _PIXELS
    if size is None or not has_pixels:
        raise NotAnImage("a WebP without pixels")
    return size


def _chunk(reader: Reader, end: int) -> tuple[bytes, bytes]:
    """Pass over one chunk of a container that ends at `end` and return its type and its first bytes."""
    kind, length = struct.unpack("<4sI", reader.take(8, "a WebP chunk's head"))
    if reader.position + length > end:
        raise NotAnImage("a WebP whose chunks do not add up to its size")
    head = reader.take(min(length, _HEAD_BYTES), "a WebP chunk")
    reader.skip(length - len(head), "a WebP chunk")
    if length & 1 and reader.position < end:
        reader.skip(1, "a WebP chunk's padding")
    return kind, head


def _size(kind: bytes, head: bytes) -> Size:
    if kind == b"VP8X" and len(head) >= _HEAD_BYTES:
        return Size(1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little"))
    if kind == b"VP8L" and len(head) >= 5 and head[0] == _VP8L_SIGNATURE:  # noqa: PLR2004 - signature and four bytes
        bits = int.from_bytes(head[1:5], "little")
        return Size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and len(head) >= _HEAD_BYTES and head[3:6] == _VP8_START_CODE:
        width, height = struct.unpack("<HH", head[6:10])
        return Size(width & 0x3FFF, height & 0x3FFF)  # the two high bits ask for scaling
    raise NotAnImage("a WebP that does not begin with an image header")
