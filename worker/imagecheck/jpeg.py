"""JPEG: every segment from SOI to EOI, with the entropy-coded data between scanned for its markers.

Source: ITU-T T.81, annex B. Bytes after EOI are tolerated: cameras and editors append previews and padding,
and decoders ignore them. Bytes between segments are passed over to the next marker, as libjpeg does; then a decoder
must agree. A file without EOI counts as cut: of a progressive one nothing else tells that its last scans are there.
JPEG has no checksums, so a cut is always found but a changed byte inside the coded data is not; a full decode would not
find most of those either. A frame that gives its height only after the first scan (DNL) is refused as having no pixels.
"""

import re
from typing import Final

from worker.imagecheck.reader import BLOCK_BYTES, Reader
from worker.imagecheck.verdict import IncompleteImage, NotAnImage, Size, Undecidable

SIGNATURE: Final = b"\xff\xd8\xff"
_MAX_SCANS: Final = 1000  # progressive files have about ten; each costs a block's reading
_EOI: Final = 0xD9
_SOS: Final = 0xDA
_SOI: Final = 0xD8
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # not tables
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn have no length
# Inside coded data FF 00 is a byte, FF Dn a restart, FF FF padding; anything else ends the data.
_END_OF_DATA: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_ANY_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the size of a complete JPEG; raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`."""
    reader.take(2, "the JPEG signature")
    size: Size | None = None
    scans = 0
    while (marker := _next_marker(reader)) != _EOI:
        if marker == _SOI:
            raise IncompleteImage("a damaged JPEG: a second image begins inside it")
        if marker in _BARE:
            continue
        body = _segment(reader, keep=marker in _FRAMES)
        if marker in _FRAMES:
            if size is not None:
                raise NotAnImage("a JPEG of several frames")
            size = _frame(body, max_pixels)
        elif marker == _SOS:
            if size is None:
                raise NotAnImage("a JPEG whose pixels come before their size")
            _pass_to(reader, _END_OF_DATA, "a JPEG that ends inside its coded data")
            scans += 1
            if scans > _MAX_SCANS:
                raise Undecidable(f"a JPEG of more than {_MAX_SCANS} scans")
    if size is None or not scans:
        raise NotAnImage("a JPEG without pixels")
    return size


def _next_marker(reader: Reader) -> int:
    """Return the code of the next marker and pass over what stands before it, as libjpeg does."""
    while (code := _marker(reader)) is None:
        reader.question("a JPEG with junk between its segments")
        _pass_to(reader, _ANY_MARKER, "a JPEG that ends in junk between its segments")
    return code


def _marker(reader: Reader) -> int | None:
    """Return the code of the marker that comes next, None where another byte stands in its place."""
    if reader.take(1, "a JPEG") != b"\xff":
        return None
    code = 0xFF
    while code == 0xFF:  # noqa: PLR2004 - any number of FF may precede the code
        code = reader.take(1, "a JPEG marker")[0]
    return code or None


def _segment(reader: Reader, *, keep: bool) -> bytes:
    length = int.from_bytes(reader.take(2, "a JPEG segment"), "big") - 2
    if length < 0:
        raise IncompleteImage("a damaged JPEG: a segment shorter than its length field")
    if keep:
        return reader.take(length, "a JPEG segment")
    reader.skip(length, "a JPEG segment")
    return b""


def _frame(body: bytes, max_pixels: int) -> Size:
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:  # noqa: PLR2004 - six bytes and three for each component
        raise NotAnImage("a JPEG whose frame header has a wrong length")
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Size(width, height).within(max_pixels)


def _pass_to(reader: Reader, marker: re.Pattern[bytes], else_said: str) -> None:
    """Move to the next `marker`; raises `IncompleteImage` if there is none."""
    while reader.left > 1:
        start = reader.position
        block = reader.take(min(BLOCK_BYTES, reader.left), "a JPEG")
        found = marker.search(block)
        if found:
            reader.go(start + found.start())
            return
        if reader.left:
            reader.go(reader.position - 1)  # a marker may straddle two blocks
    raise IncompleteImage(else_said)
