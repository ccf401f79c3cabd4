"""AVIF and HEIC: the boxes of their container; whether the picture in them is whole, only a decoder can say.

Source: ISO/IEC 14496-12, section 4.2, and the AV1 Image File Format, section 6. A box that is longer than the file is
a cut. The pixels are found by offsets that may point anywhere, so sizes that add up prove nothing yet.
"""

from typing import Final

from worker.imagecheck.reader import Reader
from worker.imagecheck.verdict import NotAnImage, Size, Undecidable

_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_BOXES: Final = frozenset({b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid"})
_TO_THE_END, _LARGE = 0, 1


def is_avif(head: bytes) -> bool:
    """Say whether a file that begins with `head` claims to be AVIF."""
    return bool(_brands(head) & _AVIF)


def is_heic(head: bytes) -> bool:
    """Say whether a file that begins with `head` claims to be HEIC, or another HEIF that is not AVIF."""
    return not is_avif(head) and bool(_brands(head) & _HEIC)


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}


def measure_avif(reader: Reader, _max_pixels: int) -> Size | None:
    """Leave a file whose boxes are whole to the decoder; raises `NotAnImage` or `IncompleteImage`."""
    _pass_boxes(reader)
    reader.question("an AVIF that does not decode")
    return None


def measure_heic(reader: Reader, _max_pixels: int) -> Size | None:
    """Raise `Undecidable` for a file whose boxes are whole: there is no decoder for it here; or `IncompleteImage`."""
    _pass_boxes(reader)
    raise Undecidable("a HEIC image, which cannot be decoded here")


def _pass_boxes(reader: Reader) -> None:
    while reader.left >= 8:  # noqa: PLR2004 - the head of a box
        length, kind = int.from_bytes(reader.take(4, "a box"), "big"), reader.take(4, "a box")
        if kind not in _BOXES or length == _TO_THE_END:
            return  # something behind the image, or the last box
        head = 8
        if length == _LARGE:
            length, head = int.from_bytes(reader.take(8, "a box"), "big"), 16
        if length < head:
            raise NotAnImage("an image whose boxes do not add up")
        reader.skip(length - head, f"the box {kind.decode('ascii')}")
