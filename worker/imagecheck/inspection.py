"""The check itself: knows the kind by its first bytes, then has the format's own file walk it to the end."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.imagecheck import bmp, decoding, gif, heif, jpeg, lookalike, png, svg, tiff, webp
from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import ImageError, ImageFacts, NotAnImage, Size, TooManyPixels, Undecidable

_HEAD_BYTES: Final = 64 * 1024  # an SVG drawing may begin with long comments
_LOOKED_AT: Final = 512
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")
_JPEG_XL: Final = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
_JPEG_2000: Final = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\x00")


@dataclass(frozen=True, slots=True)
class _Format:
    """One kind of image. Where nothing decodes it, its structure alone decides."""

    kind: str
    content_type: str
    extension: str
    recognises: Callable[[bytes], bool]
    measure: Callable[[Reader, int], Size | None]
    attached: bool = False


def _unknown_inside(what: str) -> Callable[[Reader, int], Size | None]:
    """Return the check of a kind that nothing here can decode, and whose structure does not show its end."""

    def measure(_reader: Reader, _max_pixels: int) -> Size | None:
        raise Undecidable(f"{what}, which cannot be decoded here")

    return measure


_FORMATS: Final = (
    _Format("png", "image/png", "png", lambda h: h.startswith(png.SIGNATURE), png.measure),
    _Format("jpeg", "image/jpeg", "jpg", lambda h: h.startswith(jpeg.SIGNATURE), jpeg.measure),
    _Format("webp", "image/webp", "webp", webp.is_webp, webp.measure),
    _Format("gif", "image/gif", "gif", lambda h: h.startswith(gif.SIGNATURES), gif.measure),
    _Format("avif", "image/avif", "avif", heif.is_avif, heif.measure_avif),
    _Format("bmp", "image/bmp", "bmp", bmp.is_bmp, bmp.measure),
    _Format("tiff", "image/tiff", "tiff", lambda h: h.startswith(tiff.SIGNATURES), tiff.measure),
    _Format("heic", "image/heic", "heic", heif.is_heic, heif.measure_heic),
    _Format("jxl", "image/jxl", "jxl", lambda h: h.startswith(_JPEG_XL), _unknown_inside("a JPEG XL image")),
    _Format("jp2", "image/jp2", "jp2", lambda h: h.startswith(_JPEG_2000), _unknown_inside("a JPEG 2000 image")),
    _Format("svg", "image/svg+xml", "svg", svg.is_svg, svg.measure, attached=True),
)


def begins_as_image(head: bytes) -> bool:
    """Tell by its first bytes, 64 or more, whether something may be an image of a known kind."""
    return any(form.recognises(head) for form in _FORMATS)


def check(file: BinaryIO, *, declared_type: str | None, max_pixels: int, decode: bool = False) -> ImageFacts:
    """Return what `file` (seekable, read from its start) is, if it is one complete image of a known kind.

    The bytes decide; `declared_type`, the media type that came with them, only makes an error clearer. `max_pixels`
    caps width times height. What breaks the rules of its format, yet is not provably cut or damaged, is accepted if a
    decoder takes every pixel of it. With `decode` every pixel is decoded in any case, which costs many times the check.
    Raises `NotAnImage`, `Undecidable`, `IncompleteImage` or `TooManyPixels`, and says in the error what the bytes begin
    as; leaves the file's position undefined.
    """
    reader = Reader(file)
    head = reader.take(min(_HEAD_BYTES, reader.size), "the file")
    reader.go(0)
    form = next((form for form in _FORMATS if form.recognises(head)), None)
    if form is None:
        raise NotAnImage(_described(head[:_LOOKED_AT], reader.size, declared_type))
    facts = ImageFacts(form.kind, form.content_type, form.extension, attached=form.attached)
    try:
        size = _judge(form, reader, file, max_pixels, decode=decode)
    except ImageError as error:
        error.begins_as = facts
        raise
    if size is None:
        return facts
    return ImageFacts(form.kind, form.content_type, form.extension, size.width, size.height, attached=form.attached)


def _judge(form: _Format, reader: Reader, file: BinaryIO, max_pixels: int, *, decode: bool) -> Size | None:
    size, said = None, None
    try:
        size = form.measure(reader, max_pixels)
    except Undecidable:
        raise
    except NotAnImage as refusal:
        said = str(refusal)
    said = said or reader.doubt
    if said is None:
        if decode and size and decoding.can_decode(form.kind):
            decoding.decode(form.kind, file, size)
        return size
    if not decoding.can_decode(form.kind):
        raise NotAnImage(said)
    return _second_opinion(form.kind, file, max_pixels, said)


def _second_opinion(kind: str, file: BinaryIO, max_pixels: int, said: str) -> Size:
    """Return the size of an image that decodes in full; raises `NotAnImage` with what the structure check `said`."""
    try:
        size = decoding.decode_all(kind, file, max_pixels)
    except TooManyPixels:
        raise
    except Undecidable as error:
        raise Undecidable(f"{said}; {error}") from None
    except ImageError:
        raise NotAnImage(said) from None
    return size


def _described(head: bytes, length: int, declared_type: str | None) -> str:
    declared = (declared_type or "").strip().lower()
    suffix = f", declared as {declared}" if _MEDIA_TYPE.fullmatch(declared) else ""
    of_bytes = f" of {length:,} bytes" if length else ""
    return f"{lookalike.describe(head)}{of_bytes}{suffix}"
