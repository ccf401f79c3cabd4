"""BMP: the headers, and a pixel array that lies inside the file.

Source: Microsoft's documentation of BITMAPFILEHEADER, BITMAPCOREHEADER and BITMAPINFOHEADER. The pixel array of an
uncompressed bitmap has a known size, so a cut is always found. What lies after it is tolerated. A compressed one (RLE,
or an embedded JPEG or PNG) does not say where its pixels end.
"""

import struct
from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size, Undecidable

_CORE: Final = 12
_HEADERS: Final = frozenset({_CORE, 16, 40, 52, 56, 64, 108, 124})
_DEPTHS: Final = frozenset({1, 2, 4, 8, 16, 24, 32})
_UNCOMPRESSED: Final = frozenset({0, 3, 6})  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS


def is_bmp(head: bytes) -> bool:
    """Say whether a file that begins with `head` claims to be a bitmap; two letters alone could be a text's."""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADERS


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the size of a complete bitmap; raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`."""
    said, start, header = struct.unpack("<2xI4xII", reader.take(18, "the BMP header"))
    width, height, depth, compression = _header(reader, header)
    size = Size(width, abs(height)).within(max_pixels)  # a negative height: the rows begin at the top
    if depth not in _DEPTHS:
        raise NotAnImage(f"a BMP of {depth} bits a pixel")
    if compression not in _UNCOMPRESSED:
        raise Undecidable("a compressed BMP")
    row = (width * depth + 31) // 32 * 4
    end = max(start + row * size.height, said)
    if end > reader.size:
        raise IncompleteImage(f"a BMP that ends early: {end - reader.size} bytes are missing")
    return size


def _header(reader: Reader, length: int) -> tuple[int, int, int, int]:
    """Return width, height, bits a pixel and compression."""
    body = reader.take(length - 4, "the BMP header")
    if length == _CORE:
        width, height, depth = struct.unpack("<HH2xH", body)
        return width, height, depth, 0
    width, height, depth = struct.unpack("<ii2xH", body[:12])
    (compression,) = struct.unpack("<I", body[12:16]) if len(body) >= 16 else (0,)  # noqa: PLR2004 - the field's end
    return width, height, depth, compression
