"""The physical lines of a byte stream, read once: numbered, bounded in length, hashed on the way."""

import codecs
import hashlib
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple

from shared.prompt_rows.faults import Faults
from shared.prompt_rows.ways import Ways

MAX_RECORD_BYTES: Final = 2**20
_SKIP_BYTES: Final = 2**16


class Line(NamedTuple):
    """A physical line with its end; only its first part where `oversize`."""

    number: int
    offset: int  # of the first byte of `data` in the file
    data: bytes
    oversize: bool


class Lines:
    """An iterator over the lines of a buffered binary stream; holds one line of at most `max_bytes`."""

    def __init__(self, stream: BinaryIO, max_bytes: int = MAX_RECORD_BYTES, digest: Any = None) -> None:
        """`digest`: that of the bytes as they were, if the stream is a recoded one and keeps it itself."""
        self.max_bytes = max_bytes
        self._stream = stream
        self._digest = digest or hashlib.sha256()
        self._update = (lambda _data: None) if digest else self._digest.update
        self._lines = self._read()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return next(self._lines)

    def first_with_text(self) -> Line | None:
        """Return the first line that is not blank without consuming it; the blank ones before it are gone."""
        first = next((line for line in self._lines if line.data.strip()), None)
        if first:
            self._lines = chain((first,), self._lines)
        return first

    def digest_of_all(self) -> str:
        """Read whatever is left and return the SHA-256 of the whole stream, as 64 hexadecimal digits."""
        while rest := self._stream.read(_SKIP_BYTES):
            self._update(rest)
        return self._digest.hexdigest()

    def _read(self) -> Iterator[Line]:
        number = offset = 0
        readline, update, limit = self._stream.readline, self._update, self.max_bytes
        while data := readline(limit + 1):
            update(data)
            number += 1
            size = len(data)
            oversize = size > limit
            if oversize and not data.endswith(b"\n"):
                size += self._skip_to_line_end()
            text = data.removeprefix(codecs.BOM_UTF8) if number == 1 else data
            yield Line(number, offset + len(data) - len(text), text, oversize)
            offset += size

    def _skip_to_line_end(self) -> int:
        skipped = 0
        while part := self._stream.readline(_SKIP_BYTES):
            self._update(part)
            skipped += len(part)
            if part.endswith(b"\n"):
                break
        return skipped


def decode(line: Line, faults: Faults, ways: Ways) -> str | None:
    """Return a line as text; None, with a fault, if it is not clean UTF-8; all such lines of a file are one fault."""
    if b"\0" in line.data:
        faults.add(line.number, "row", "contains a NUL byte; save the file as UTF-8 text")
        return None
    try:
        return line.data.decode()
    except UnicodeDecodeError as error:
        faults.add_once(
            line.number,
            "file",
            f"is not UTF-8: first at byte 0x{line.data[error.start]:02X} at offset {error.start} of the line "
            f"({line.offset + error.start} of the file); {ways.encoding}",
        )
        return None


def too_long(limit: int) -> str:
    """Word the fault of a line or record beyond its limit in bytes."""
    return f"is longer than {limit} bytes"
