"""Images in a wrapping that nothing names: taken out where that is certain, and known as such where it is not."""

import gzip
import re
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final

from worker.imagecheck.inspection import begins_as_image
from worker.imagecheck.lookalike import is_text
from worker.imagecheck.verdict import ImageFacts

UNKNOWN: Final = ImageFacts("data", "application/octet-stream", "bin", attached=True)
"""Bytes that may hold an image in a form that nothing here knows."""
_HEAD_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b\x08"
_BOM: Final = b"\xef\xbb\xbf"
_CODED: Final = re.compile(rb"[A-Za-z0-9+/_=-]{64}")
"""Base64, in the lines of MIME or in one: messages have no words of that length."""


def unwrap(file: BinaryIO, write: Callable[[bytes], object]) -> bool:
    """Write what a wrapping holds, and return whether there was one; what was written counts only if so.

    Known are white space before an image, and gzip, which proves by its checksum that it is whole. Raises what `write`
    raises.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if begins_as_image(head):
        return False
    if head.startswith(_GZIP):
        return _unzip(file, write)
    bare = head.removeprefix(_BOM).lstrip()
    if len(bare) == len(head) or not begins_as_image(bare):
        return False
    file.seek(len(head) - len(bare))
    _copy(file, write)
    return True


def may_hold_image(head: bytes) -> bool:
    """Tell whether bytes that begin as no image may hold one: data, or text that is coded; no markup and no words."""
    if not head.strip() or head.removeprefix(_BOM).lstrip().startswith(b"<"):
        return False
    return not is_text(head) or _CODED.search(head) is not None


def _unzip(file: BinaryIO, write: Callable[[bytes], object]) -> bool:
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as inside:
            _copy(inside, write)
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _copy(file: BinaryIO | gzip.GzipFile, write: Callable[[bytes], object]) -> None:
    while chunk := file.read(_CHUNK_BYTES):
        write(chunk)
