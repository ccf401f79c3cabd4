"""Reads JSON that may be damaged: gives what can be read near the root, in order, and passes over the rest.

It holds one block at a time. A wrong token costs its own value and nothing else: NaN, bytes that are no UTF-8, deep
nesting, huge strings, a byte order mark, text before or behind the JSON, a missing end.
"""

import json
import re
from collections.abc import Collection, Generator, Iterator
from decimal import Decimal
from itertools import accumulate, islice
from typing import Any, BinaryIO, Final

from worker.providers.answer_blocks import READ_BYTES, blocks

_SHORT_BYTES: Final = 4096  # a longer key, number or text is passed over
_DEEPEST: Final = 3  # a member of an item of a list, or of an object within an object
_WINDOW_BYTES: Final = 256  # it doubles: most objects are small
_STEPS: Final = {ord(b"{"): 1, ord(b"["): 1, ord(b"}"): -1, ord(b"]"): -1}
_NO_BRACKETS: Final = bytes(set(range(256)) - set(_STEPS))
_MOST_VALUES: Final = 200_000  # behind so many, nothing more is taken apart: each costs microseconds
_BRACKET: Final = re.compile(rb"[{}\[\]]")
_NOT_BLANK: Final = re.compile(rb"[^\s\xef\xbb\xbf]")
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_COLON: Final = re.compile(rb'\s{0,64}:\s{0,64}"')
_COLON_BYTES: Final = 130
_SCALAR: Final = re.compile(rb'[^\s"{}\[\]:,]*')
_NUMBER: Final = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS: Final = {b"true": True, b"false": False, b"null": None}
_ABSENT: Final = object()
OPENED: Final = object()
"""The value of an object or list: it begins here, and what is in it follows."""


class Text:
    """One string as it is written, escapes included; whoever reads `pieces` reads it once."""

    def __init__(self, source: "Source") -> None:
        self._source = source
        self._begun = False
        self.whole = False
        """Whether the closing quote was there; known once the pieces are read."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the string in pieces of at most one block."""
        if not self._begun:
            self._begun = True
            self.whole = yield from self._source.string()

    def short(self) -> str | None:
        """Return the string with its escapes undone; None where it is long, broken off or not text."""
        kept: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            kept = [*kept, piece] if size <= _SHORT_BYTES else []
        if not self.whole or size > _SHORT_BYTES:
            return None
        try:
            found = json.loads(b'"%s"' % b"".join(kept), strict=False)
        except ValueError:
            return None
        return found if isinstance(found, str) else None

    def pass_over(self) -> None:
        """Read what is left of the string."""
        for _ in self.pieces():
            pass


class Source:
    """The answer's bytes, their compression and UTF-16 undone, with a place in them."""

    def __init__(self, file: BinaryIO) -> None:
        self._blocks = blocks(file)
        self._block = b""
        self._at = 0

    def token(self) -> bytes:
        """Return the next of `{}[]:,"`, or a number or word in full; nothing at the end, where a word may be cut."""
        while (found := _NOT_BLANK.search(self._block, self._at)) is None:
            if not self._more():
                return b""
        self._at = found.start()
        first = self._block[self._at : self._at + 1]
        if first in b'{}[]:,"':
            self._at += 1
            return first
        return self._scalar()

    def string(self) -> Generator[bytes, None, bool]:
        """Yield what lies before the closing quote, and return whether there is one."""
        escaped = False
        while self._at < len(self._block) or self._more():
            begin = self._at
            end = self._end_of_string(begin + escaped)
            self._at = end + 1
            yield self._block[begin:end]
            if self._block[end : end + 1] == b'"':
                return True
            # Where the block ends with a backslash, the first byte of the next one is escaped.
            escaped = self._block[end : end + 1] == b"\\"
            if escaped:
                yield b"\\"
        return False

    def pass_over_container(self) -> None:
        """Go behind the end of an object or list that has just begun, however deep it is."""
        depth, window = 1, _WINDOW_BYTES
        while self._at < len(self._block) or self._more():
            self._at = _end(_NO_BRACKET, self._block, self._at)
            if self._block[self._at : self._at + 1] == b'"':  # a string that goes on behind this block
                self._at += 1
                Text(self).pass_over()
            elif self._at < len(self._block):
                depth = self._depth_behind(depth, window)
                window = min(2 * window, READ_BYTES)
                if depth == 0:
                    return

    def find_value_of(self, name: bytes) -> bool:
        """Go behind the quote that begins the next string of a key `name`; False where there is none."""
        key = b'"%s"' % name
        while True:
            found = self._block.find(key, self._at)
            behind = found + len(key)
            value = _COLON.match(self._block, behind) if found >= 0 else None
            if value and self._block[max(found - 1, 0) : found] != b"\\":
                self._at = value.end()
                return True
            if found >= 0 and len(self._block) - behind >= _COLON_BYTES:
                self._at = behind
                continue
            rest = self._block[found:] if found >= 0 else self._block[max(self._at, len(self._block) - len(key)) :]
            if not self._more():
                return False
            self._block = rest + self._block

    def _end_of_string(self, at: int) -> int:
        """Return where the string ends in this block: at its quote, at a last backslash, or where the block ends."""
        quote = self._block.find(b'"', at)
        end = quote if quote >= 0 else len(self._block)
        if self._block.find(b"\\", at, end) < 0:
            return max(end, at)
        return _end(_IN_STRING, self._block, at)

    def _depth_behind(self, depth: int, window: int) -> int:
        """Go behind the brackets within `window` bytes and return how deep that is; 0 where the container ends."""
        block, at = self._block, self._at
        end = min(at + window, len(block))
        quote = block.find(b'"', at, end)
        self._at = end = quote if quote >= 0 else end
        closing = block.count(b"]", at, end) + block.count(b"}", at, end)
        if closing < depth:
            return depth + block.count(b"[", at, end) + block.count(b"{", at, end) - closing
        steps = map(_STEPS.__getitem__, block[at:end].translate(None, _NO_BRACKETS))
        depths = list(accumulate(steps, initial=depth))
        if min(depths) > 0:
            return depths[-1]
        last = next(islice(_BRACKET.finditer(block, at, end), depths.index(0) - 1, None))
        self._at = last.end()
        return 0

    def _scalar(self) -> bytes:
        kept = b""
        while True:
            found = _SCALAR.match(self._block, self._at)
            end = found.end() if found else self._at
            kept = (kept + self._block[self._at : end])[: _SHORT_BYTES + 1]
            self._at = end
            if end < len(self._block):
                return kept
            if not self._more():
                return b""

    def _more(self) -> bool:
        self._block, self._at = next(self._blocks, b""), 0
        return bool(self._block)


class Scan:
    """One walk through an answer."""

    def __init__(self, file: BinaryIO, within: Collection[str]) -> None:
        self._source = Source(file)
        self._within = within
        self._path: list[str] = []
        self._roots = 0
        self._key: str | None = None
        self._due = False  # whether a value is due: behind a colon; in a list, one is due everywhere

    @property
    def whole(self) -> bool:
        """Whether the outermost object came to its end; known after the walk."""
        return self._roots > 0 and not self._path

    def values(self) -> Iterator[tuple[str, Any]]:
        """Yield the path and value of each object and list (`OPENED`), string (`Text`), number and word.

        Of the members of the outermost object, only what lies in `within` is taken apart.

        A path is the names from the outermost object on, with `[]` for a list, such as `data.[].b64_json`. Numbers with
        a point are `Decimal`. A `Text` is read before the next value is asked for, or passed over.
        """
        for _ in range(_MOST_VALUES):
            token = self._source.token()
            if not token:
                return
            in_list = bool(self._path) and self._path[-1] == "[]"
            if token in b"{[":
                yield from self._opened(token, due=self._due or in_list)
            elif token in b"}]":
                del self._path[-1:]
            elif token == b":":
                self._colon(in_list=in_list)
                continue
            elif token != b",":
                yield from self._value(token, due=self._due or in_list)
                continue
            self._key, self._due = None, False

    def _colon(self, *, in_list: bool) -> None:
        self._due = bool(self._path) and not in_list
        if self._due:
            self._path[-1] = self._key or ""

    def _value(self, token: bytes, *, due: bool) -> Iterator[tuple[str, Any]]:
        """Yield a string, number or word that is due; a string that is not may be a key."""
        if token == b'"':
            text = Text(self._source)
            if not due:
                self._key = text.short()
                return
            yield ".".join(self._path), text
            text.pass_over()
        elif not due or (value := _scalar(token)) is _ABSENT:
            return
        else:
            yield ".".join(self._path), value
        self._due = False

    def _opened(self, token: bytes, *, due: bool) -> Iterator[tuple[str, Any]]:
        """Enter an object or list, or pass over one that is deep."""
        if not self._path:
            self._roots += 1
        elif not due:
            self._path[-1] = ""
        if len(self._path) >= _DEEPEST or (self._path and self._path[0] not in self._within):
            self._source.pass_over_container()
            return
        yield ".".join(self._path), OPENED
        self._path.append("[]" if token == b"[" else "")


def anywhere(file: BinaryIO, name: str) -> Iterator[Text]:
    """Yield each string that is the value of a key `name`, wherever it is: for answers whose order is lost."""
    source = Source(file)
    while source.find_value_of(name.encode()):
        text = Text(source)
        yield text
        text.pass_over()


def _scalar(token: bytes) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    if len(token) > _SHORT_BYTES or not (found := _NUMBER.fullmatch(token)):
        return _ABSENT
    try:
        return Decimal(token.decode()) if found[1] or found[2] else int(token)
    except (ValueError, ArithmeticError):
        return _ABSENT


def _end(pattern: re.Pattern[bytes], block: bytes, at: int) -> int:
    """Return where the match of `pattern` at `at` ends; it may be empty, and so always matches."""
    found = pattern.match(block, at)
    return found.end() if found else at
