"""GIF: every block from the screen descriptor to the trailer.

Source: GIF89a Specification, sections 17 to 27. Bytes after the trailer are tolerated: decoders stop there. GIF has
no checksums: a cut is always found, a changed byte inside the coded data is not.
"""

import struct
from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import NotAnImage, Size

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_IMAGE: Final = b","
_EXTENSION: Final = b"!"
_TRAILER: Final = b";"


def measure(reader: Reader, max_pixels: int) -> Size:
    """Return the screen size of a complete GIF; raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`."""
    width, height, flags = struct.unpack("<6xHHB2x", reader.take(13, "the GIF header"))
    size = Size(width, height).within(max_pixels)
    _pass_palette(reader, flags)
    pictures = 0
    while (block := reader.take(1, "a GIF")) != _TRAILER:
        if block == _IMAGE:
            left, top, wide, high, image_flags = struct.unpack("<HHHHB", reader.take(9, "a GIF image's head"))
            if left + wide > width or top + high > height:
                raise NotAnImage("a GIF with a picture outside its screen")
            _pass_palette(reader, image_flags)
            reader.skip(1, "a GIF image")  # the code size
            pictures += 1
        elif block == _EXTENSION:
            reader.skip(1, "a GIF extension")  # its label
        else:
            raise NotAnImage("a GIF with an unknown block")
        _pass_sub_blocks(reader)
    if not pictures:
        raise NotAnImage("a GIF without pixels")
    return size


def _pass_palette(reader: Reader, flags: int) -> None:
    if flags & 0x80:
        reader.skip(3 * 2 ** (1 + (flags & 0x07)), "a GIF palette")


def _pass_sub_blocks(reader: Reader) -> None:
    while length := reader.take(1, "a GIF sub-block")[0]:
        reader.skip(length, "a GIF sub-block")
