"""An answer that carries images as base64 inside its JSON: every whole image in it is found, whatever else is odd.

Nothing of an image is held in memory but one block.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, BinaryIO, Final

from worker.providers.answer_blocks import blocks
from worker.providers.json_scan import OPENED, Scan, Text, anywhere
from worker.providers.reading import UnreadableError
from worker.transport.paid_post import Sink

MOST_IMAGES: Final = 1000
"""More are not counted: each costs memory, and no provider makes so many in one call."""
END: Final = ""
"""The path of the last value: whether the answer came to the end of its JSON."""
_HEAD_BYTES: Final = 512  # more than a data URL's head has
_DECODE_BYTES: Final = 256 * 1024
_PARTIAL_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ESCAPE: Final = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|([\"\\/bfnrt]))")
# The name of a string, the word for a partial image, or the end of an event.
_MARK: Final = rb'(?<!\\)"%b"\s{0,64}:\s{0,64}"|partial_image|\n|\}\s?,\s?\{'
_MARK_BYTES: Final = 256
_BLANKS: Final = b" \t\r\n\f\v\b"
_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")  # both alphabets of RFC 4648 are in use


@dataclass
class _Counted:
    """Which strings of an answer are its images: each is whole, and no repetition of an image that came before.

    Within one list the same image counts each time, because several images were asked for. Where a key or the whole
    list is repeated, the image counts once.
    """

    path: str
    places: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _seen: int = 0
    _before: set[bytes] = field(default_factory=set)
    _here: set[bytes] = field(default_factory=set)
    _item: set[bytes] = field(default_factory=set)

    def open(self, path: str) -> None:
        if path == _list_of(self.path):
            self._before |= self._here
        if path == self.path.rpartition(".")[0]:
            self._item = set()

    def skip(self) -> None:
        """Pass over a string that is no image of ours."""
        self._seen += 1

    def add(self, text: Text) -> str | None:
        """Return the SHA-256 of an image's text; None where it does not count."""
        place = self._seen
        self._seen += 1
        if len(self.places) >= MOST_IMAGES:
            return None
        digest, empty = hashlib.sha256(), True
        for piece in text.pieces():
            digest.update(piece)
            empty = empty and not piece
        name = digest.digest()
        if empty or not text.whole or name in self._before or name in self._item:
            return None
        self._item.add(name)
        self._here.add(name)
        self.places.append(place)
        self.names.append(digest.hexdigest())
        return self.names[-1]


def values(file: BinaryIO, images: str, *, beside: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and value of what can be read near the root of an answer, in order; at last `END`.

    `images` is the path of the images, such as `data.[].b64_json`: of each whole one its text's SHA-256 is given.
    Besides their list, only the object `beside` is taken apart. A number with a point is `Decimal`; what has more than
    4,096 bytes is left out. Raises what reading `file` raises.
    """
    counted, scan = _Counted(images), Scan(file, (_list_of(images), beside))
    for path, value in scan.values():
        if value is OPENED:
            counted.open(path)
        elif not isinstance(value, Text):
            yield path, value
        elif path == images:
            if name := counted.add(value):
                yield path, name
        elif (short := value.short()) is not None:
            yield path, short
    if not (scan.whole and counted.places):
        # Its order is lost, and images may stand where they were not seen.
        for name in _by_name(file, images).names[len(counted.names) :]:
            yield images, name
    yield END, scan.whole


def extract(file: BinaryIO, images: str, index: int, sink: Sink) -> None:
    """Decode the image at `index`, counted as `values` does, into `sink`.

    Raises `UnreadableError` where there is none or it is not base64, and what `file` and `sink` raise.
    """
    within = (_list_of(images),)
    counted, scan = _Counted(images), Scan(file, within)
    for path, value in scan.values():
        if value is OPENED:
            counted.open(path)
        elif isinstance(value, Text) and path == images:
            counted.add(value)
    texts: Iterator[Text]
    texts = (value for path, value in Scan(file, within).values() if path == images and isinstance(value, Text))
    if not (scan.whole and counted.places):
        by_name = _by_name(file, images)
        if len(by_name.places) > len(counted.places):
            counted, texts = by_name, anywhere(file, _key(images))
    if index >= len(counted.places):
        raise UnreadableError(f"no image {index + 1} in the answer")
    write_base64(next(islice(texts, counted.places[index], None)).pieces(), sink)


def beginning(file: BinaryIO, most: int) -> bytes:
    """Return an answer of up to `most` bytes whole, its compression undone; nothing of one that is longer."""
    found = b""
    for block in blocks(file):
        found += block
        if len(found) > most:
            return b""
    return found


def write_base64(pieces: Iterator[bytes], sink: Sink) -> None:
    """Decode an image's text into `sink`, JSON's escapes, a data URL's head and line breaks left out.

    Raises `UnreadableError` where it is not base64, and what `sink` raises.
    """
    left, ends = b"", b""
    for piece in _plain(pieces):
        block = left + ends + piece.translate(_ALPHABET, _BLANKS)
        text = block.rstrip(b"=")  # how many of these end an image says nothing
        ends = block[len(text) :]
        whole = len(text) - len(text) % 4
        for at in range(0, whole, _DECODE_BYTES):
            sink.write(_decoded(text[at : min(at + _DECODE_BYTES, whole)]))
        left = text[whole:]
    if left:
        sink.write(_decoded(left + b"=" * (-len(left) % 4)))


def _plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Undo JSON's escapes, and leave out a data URL's head."""
    unescaped = _unescaped(pieces)
    head = b""
    for piece in unescaped:
        head += piece
        if len(head) >= _HEAD_BYTES:
            break
    start = head.find(b",") + 1 if head[:5].lower() == b"data:" else 0
    yield head[start:]
    yield from unescaped


def _unescaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        text = held + piece
        partial = _PARTIAL_ESCAPE.search(text)
        held = text[partial.start() :] if partial else b""
        ready = text[: partial.start()] if partial else text
        yield _ESCAPE.sub(_unescape, ready.replace(b"\\/", b"/")) if b"\\" in ready else ready
    yield held


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    return b" " if found[2] in b"bfnrt" else found[2]


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError("an image that is not base64") from None


def _by_name(file: BinaryIO, images: str) -> _Counted:
    """Count the strings of the images' name wherever they stand; the same one counts once, and no half-drawn one."""
    counted, halves = _Counted(images), _half_drawn(file, _key(images))
    for number, text in enumerate(anywhere(file, _key(images))):
        if number in halves:
            counted.skip()
        else:
            counted.add(text)
    return counted


def _half_drawn(file: BinaryIO, name: str) -> set[int]:
    """Return which strings of that name stand in an event of a stream that says that its image is a partial one.

    A stream that nobody asked for shows the image while it is drawn, and last the one that was bought.
    """
    found, event, half = set[int](), set[int](), False
    number = 0
    for mark in _marks(file, name):
        if mark == b"partial_image":
            half = True
        elif mark.startswith(b'"'):
            event.add(number)
            number += 1
        else:
            found |= event if half else set()
            event, half = set(), False
    return found | (event if half else set())


def _marks(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield each key of that name, each word for a partial image and each end of an event, in order."""
    pattern = re.compile(_MARK % re.escape(name.encode()))
    rest = b""
    for block in chain(blocks(file), (None,)):
        rest += block or b""
        sure = len(rest) if block is None else max(len(rest) - _MARK_BYTES, 0)
        end = sure
        for mark in pattern.finditer(rest):
            if mark.start() >= sure:
                break
            end = max(end, mark.end())
            yield mark[0]
        rest = rest[end:]


def _list_of(images: str) -> str:
    return images.partition(".")[0]


def _key(images: str) -> str:
    return images.rpartition(".")[2]
