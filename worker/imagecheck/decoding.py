"""Decoding an image in full: the second opinion on what the structure check refuses, and `GENQUEUE_VERIFY_DECODE`.

A decoder's class is used directly: `Image.open` would apply Pillow's process-wide pixel limit instead of ours.
Pillow takes 4 MB of a worker, and most workers never see an odd file: each decoder is imported when it is first needed.
"""

import functools
import importlib
import threading
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from worker.imagecheck.verdict import ImageError, IncompleteImage, Size, TooManyPixels, Undecidable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_MAX_DECODED: Final = 64 * 2**20  # pixels of all frames together: at most 256 MB at a time for one picture
_DECODERS: Final = {
    "png": "Png",
    "jpeg": "Jpeg",
    "webp": "WebP",
    "gif": "Gif",
    "avif": "Avif",
    "bmp": "Bmp",
    "tiff": "Tiff",
}
"""The kinds that Pillow decodes here, and how it begins the names of their modules and classes."""
# Odd files are rare, and each may take that much memory: one at a time.
_ONE: Final = threading.Lock()


def can_decode(kind: str) -> bool:
    """Tell whether there is a decoder of this kind of image."""
    return kind in _DECODERS


@functools.cache
def _decoder(kind: str) -> "type[ImageFile]":
    name = _DECODERS[kind]
    return cast("type[ImageFile]", getattr(importlib.import_module(f"PIL.{name}ImagePlugin"), f"{name}ImageFile"))


def decode(kind: str, file: BinaryIO, size: Size) -> None:
    """Decode every pixel of the first frame; raises `IncompleteImage` if that fails or gives another size.

    WebP's decoder applies twice Pillow's limit (179 million pixels) by itself: `TooManyPixels`.
    """
    file.seek(0)
    try:
        with _decoder(kind)(file) as image:
            decoded = Size(*image.size)
            if decoded == size:
                image.load()
    except Exception as error:  # noqa: BLE001 - decoders fail with many classes; from None: texts may quote the file
        if _is_too_large(error):
            raise TooManyPixels(f"{size.width} x {size.height} pixels, more than the decoder takes") from None
        raise IncompleteImage(f"a damaged {kind.upper()}: it does not decode") from None
    if decoded != size:
        raise IncompleteImage(f"a damaged {kind.upper()}: it decodes to another size")


def decode_all(kind: str, file: BinaryIO, max_pixels: int) -> Size:
    """Decode every pixel of every frame and return the size that the decoder found.

    Raises `IncompleteImage` where that fails, `TooManyPixels`, and `Undecidable` where it would take too much memory.
    """
    with _ONE:
        file.seek(0)
        try:
            with _decoder(kind)(file) as image:
                size = Size(*image.size).within(max_pixels)
                for frame in range(_frames(image, size)):
                    image.seek(frame)
                    image.load()
        except ImageError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders fail with many classes; from None: texts may quote the file
            if _is_too_large(error):
                raise Undecidable("more pixels than the decoder takes") from None
            raise IncompleteImage("it does not decode") from None
    return size


def _is_too_large(error: Exception) -> bool:
    """Tell Pillow's own limit of pixels from other failures."""
    from PIL.Image import DecompressionBombError  # noqa: PLC0415 - see the module's docstring

    return isinstance(error, DecompressionBombError)


def _frames(image: "ImageFile", size: Size) -> int:
    """Return the number of frames; raises `Undecidable` where they are too many pixels to decode."""
    frames = int(getattr(image, "n_frames", 1))
    if frames * size.width * size.height > _MAX_DECODED:
        raise Undecidable(f"{frames} frame(s) of {size.width} x {size.height} pixels are not decoded")
    return frames
