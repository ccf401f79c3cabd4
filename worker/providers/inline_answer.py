"""An answer that carries images as base64 inside its JSON, read from a file with one image in memory at a time."""

import base64
import binascii
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import ijson

from worker.paid_post import Sink
from worker.providers.contract import UnreadableError

_READ_BYTES: Final = 1024 * 1024  # the parser goes over an unfinished string anew for each block: fewer are faster
_DECODE_CHARS: Final = 256 * 1024
_DEEPEST: Final = 64
_INFLATED_BYTES: Final = 512 * 1024 * 1024
_COMPRESSED: Final = (b"\x1f", b"\x78")  # gzip and zlib begin so; JSON never does
_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS


class _Plain:
    """The answer with its compression undone: some send it unasked, and what is kept is what came."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        compressed = file.read(1) in _COMPRESSED
        file.seek(0)
        self._file = file
        self._inflate = zlib.decompressobj(_ZLIB_OR_GZIP) if compressed else None
        self._left = _INFLATED_BYTES

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; an end that is missing is for the JSON to tell."""
        if self._inflate is None:
            return self._file.read(size)
        while not self._inflate.eof:
            fresh = self._inflate.unconsumed_tail or self._file.read(size)
            block = self._inflate.decompress(fresh, max(size, 1))
            self._left -= len(block)
            if self._left < 0:
                raise UnreadableError(f"an answer that inflates to more than {_INFLATED_BYTES} bytes")
            if block or not fresh:
                return block
        return b""


def values(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the path and value of everything in the answer that is neither object nor list, in order.

    A path is the names from the outermost object on, with `[]` for a list, such as `data.[].b64_json`. Numbers with a
    point are `Decimal`. Raises `UnreadableError` where the answer is not whole JSON.
    """
    path: list[str] = []
    try:
        for event, value in ijson.basic_parse(_Plain(file), buf_size=_READ_BYTES):
            match event:
                case "start_map" | "start_array":
                    path.append("" if event == "start_map" else "[]")
                    # The parser itself has no bound.
                    if len(path) > _DEEPEST:
                        raise UnreadableError("an answer that is nested too deeply")
                case "end_map" | "end_array":
                    path.pop()
                case "map_key":
                    path[-1] = value
                case _:
                    yield ".".join(path), value
    except (ijson.JSONError, zlib.error, ValueError, SystemError):  # the last: a number of thousands of digits
        raise UnreadableError("an answer that is not whole JSON") from None


def write_base64(text: str, sink: Sink) -> None:
    """Decode an image into `sink`, a data URL's head and line breaks left out.

    Raises `UnreadableError` where it is not base64, and what `sink` raises.
    """
    start = text.find(",") + 1 if text[:5].lower() == "data:" else 0
    left = ""
    for at in range(start, len(text), _DECODE_CHARS):
        block = left + "".join(text[at : at + _DECODE_CHARS].split())
        whole = len(block) - len(block) % 4
        sink.write(_decoded(block[:whole]))
        left = block[whole:]
    if left:
        sink.write(_decoded(left + "=" * (-len(left) % 4)))


def _decoded(text: str) -> bytes:
    try:
        # Both alphabets of RFC 4648 are in use.
        return base64.b64decode(text.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError("an image that is not base64") from None
