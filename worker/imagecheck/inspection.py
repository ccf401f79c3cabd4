"""The check itself: knows the kind by its first bytes, then has the format's own file walk it to the end."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from worker.imagecheck import gif, jpeg, lookalike, png, webp
from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import ImageFacts, IncompleteImage, NotAnImage, Size, TooManyPixels

_HEAD_BYTES: Final = 512
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class _Format:
    kind: str
    content_type: str
    extension: str
    recognises: Callable[[bytes], bool]
    measure: Callable[[Reader, int], Size]
    decoder: type[ImageFile]


_FORMATS: Final = (
    _Format("png", "image/png", "png", lambda h: h.startswith(png.SIGNATURE), png.measure, PngImageFile),
    _Format("jpeg", "image/jpeg", "jpg", lambda h: h.startswith(jpeg.SIGNATURE), jpeg.measure, JpegImageFile),
    _Format("webp", "image/webp", "webp", webp.is_webp, webp.measure, WebPImageFile),
    _Format("gif", "image/gif", "gif", lambda h: h.startswith(gif.SIGNATURES), gif.measure, GifImageFile),
)


def check(file: BinaryIO, *, declared_type: str | None, max_pixels: int, decode: bool = False) -> ImageFacts:
    """Return what `file` (seekable, read from its start) is, if it is one complete PNG, JPEG, WebP or GIF.

    The bytes decide; `declared_type`, the media type that came with them, only makes an error clearer.
    `max_pixels` caps width times height. With `decode` every pixel of the first frame is also decoded, which
    costs many times the check. Raises `NotAnImage`, `IncompleteImage` or `TooManyPixels`; leaves the file's
    position undefined.
    """
    reader = Reader(file)
    head = reader.take(min(_HEAD_BYTES, reader.size), "the file")
    reader.go(0)
    for form in _FORMATS:
        if form.recognises(head):
            size = form.measure(reader, max_pixels)
            if decode:
                _decode(form, file, size)
            return ImageFacts(form.kind, form.content_type, form.extension, size.width, size.height)
    declared = (declared_type or "").strip().lower()
    suffix = f", declared as {declared}" if _MEDIA_TYPE.fullmatch(declared) else ""
    raise NotAnImage(f"{lookalike.describe(head)}{suffix}")


def _decode(form: _Format, file: BinaryIO, size: Size) -> None:
    """Decode every pixel; raises `IncompleteImage` if that fails.

    The decoder's class is used directly: `Image.open` would apply Pillow's process-wide pixel limit instead
    of ours. WebP's decoder applies twice that limit (179 million pixels) by itself: `TooManyPixels`.
    """
    file.seek(0)
    try:
        with form.decoder(file) as image:
            decoded = Size(*image.size)
            if decoded == size:
                image.load()
    except DecompressionBombError:
        raise TooManyPixels(f"{size.width} x {size.height} pixels, more than the decoder takes") from None
    except Exception:  # noqa: BLE001 - decoders fail with many classes; from None: texts may quote the file
        raise IncompleteImage(f"a damaged {form.kind.upper()}: it does not decode") from None
    if decoded != size:
        raise IncompleteImage(f"a damaged {form.kind.upper()}: it decodes to another size")
