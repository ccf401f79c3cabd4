"""The process that decodes images: `python -m worker.thumbnails.process`. It holds no secret, and may die at any image.

It reads an image's length (8 bytes, big-endian) and its bytes, and writes the length and bytes of a small WebP image;
length 0 means that it makes none. It ends when its input ends.
"""

import io
import resource
import sys
from typing import BinaryIO, Final

from PIL import Image, ImageOps

EDGE: Final = 320
"""The longest edge of a thumbnail in pixels."""
_MEMORY_BYTES: Final = 2 * 2**30
_MOST_PIXELS: Final = 60_000_000
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_LENGTH: Final = 8


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    source, answer = sys.stdin.buffer, sys.stdout.buffer
    while image := _read(source):
        small = _thumbnail(image)
        answer.write(len(small).to_bytes(_LENGTH, "big") + small)
        answer.flush()


def _read(source: BinaryIO) -> bytes:
    length = source.read(_LENGTH)
    return source.read(int.from_bytes(length, "big")) if len(length) == _LENGTH else b""


def _thumbnail(image: bytes) -> bytes:
    """Return a small image, or nothing for what cannot be decoded."""
    try:
        with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                return b""
            opened.draft("RGB", (EDGE * 2, EDGE * 2))
            small = ImageOps.exif_transpose(opened)
            small.thumbnail((EDGE, EDGE))
            file = io.BytesIO()
            small.convert("RGBA" if _has_alpha(small) else "RGB").save(file, "WEBP", quality=78, method=3)
    except Exception:  # noqa: BLE001 - decoders fail with many classes, and none of them says more to a viewer
        return b""
    return file.getvalue()


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


if __name__ == "__main__":
    main()
