"""TIFF: every directory, and every strip or tile that it names, lies inside the file.

Source: TIFF 6.0 (Adobe), sections 2, 3 and 15. Everything is found by offset, so a cut that takes away any part of a
picture is always found, and bytes that nothing names are tolerated. BigTIFF is left to the decoder.
"""

import struct
from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size, Undecidable

SIGNATURES: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_CLASSIC: Final = 42
_MAX_PAGES: Final = 1000
_MAX_PARTS: Final = 1_000_000
_WIDTH, _HEIGHT = 256, 257
_PARTS: Final = ((273, 279), (324, 325))  # the offsets and lengths of strips, and of tiles
_WANTED: Final = frozenset({_WIDTH, _HEIGHT, *_PARTS[0], *_PARTS[1]})
_INTEGERS: Final = {1: "B", 3: "H", 4: "I"}
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_Values = dict[int, tuple[int, ...]]


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the size of the first page of a complete TIFF.

    Raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`.
    """
    order = "<" if reader.take(2, "the TIFF header") == b"II" else ">"
    version, at = struct.unpack(order + "HI", reader.take(6, "the TIFF header"))
    if version != _CLASSIC:
        raise NotAnImage("a BigTIFF")
    sizes: list[Size] = []
    while at:
        if len(sizes) >= _MAX_PAGES:
            raise Undecidable(f"a TIFF of more than {_MAX_PAGES} pages")
        values, at = _directory(reader, order, at)
        sizes.append(_page(reader, values).within(max_pixels))
    if not sizes:
        raise NotAnImage("a TIFF without pages")
    return sizes[0]


def _directory(reader: Reader, order: str, at: int) -> tuple[_Values, int]:
    """Return what one directory says of its picture, and where the next one is; 0 = nowhere."""
    _go(reader, at)
    (count,) = struct.unpack(order + "H", reader.take(2, "a TIFF directory"))
    entries = reader.take(12 * count, "a TIFF directory")
    (following,) = struct.unpack(order + "I", reader.take(4, "a TIFF directory"))
    found = {}
    for tag, kind, number, inside in struct.iter_unpack(order + "HHI4s", entries):
        values = _values(reader, order, kind, number, inside, wanted=tag in _WANTED)
        if tag in _WANTED:
            found[tag] = values
    return found, following


def _values(reader: Reader, order: str, kind: int, number: int, inside: bytes, *, wanted: bool) -> tuple[int, ...]:
    """Return an entry's values if they are `wanted` and integers; makes sure in any case that they are there."""
    length = _BYTES.get(kind, 0) * number
    if length > len(inside):
        (at,) = struct.unpack(order + "I", inside)
        _go(reader, at + length)
        _go(reader, at)
    if not wanted or kind not in _INTEGERS:
        return ()
    if number > _MAX_PARTS:
        raise Undecidable(f"a TIFF page of more than {_MAX_PARTS} parts")
    data = reader.take(length, "a TIFF entry") if length > len(inside) else inside[:length]
    return struct.unpack(f"{order}{number}{_INTEGERS[kind]}", data)


def _page(reader: Reader, values: _Values) -> Size:
    """Return a page's size; raises `IncompleteImage` where a part of it lies beyond the end."""
    offsets, lengths = next(((values.get(a, ()), values.get(b, ())) for a, b in _PARTS if a in values), ((), ()))
    if not offsets or len(offsets) != len(lengths) or not values.get(_WIDTH) or not values.get(_HEIGHT):
        raise NotAnImage("a TIFF page that does not say where its pixels are")
    end = max(at + length for at, length in zip(offsets, lengths, strict=True))
    if end > reader.size:
        raise IncompleteImage(f"a TIFF that ends early: {end - reader.size} bytes are missing")
    return Size(values[_WIDTH][0], values[_HEIGHT][0])


def _go(reader: Reader, at: int) -> None:
    """Move to `at`; raises `IncompleteImage` where that is beyond the end."""
    reader.go(0)
    reader.skip(at, "a TIFF")
