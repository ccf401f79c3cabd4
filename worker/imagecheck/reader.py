"""A reader over a seekable file that knows how much is left, so that a false length is seen at once."""

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from worker.imagecheck.verdict import IncompleteImage, Undecidable

BLOCK_BYTES: Final = 256 * 1024
_FREE_STEPS: Final = 10_000
_BYTES_A_STEP: Final = 32
_MAX_QUESTIONS: Final = 1000  # each may cost the reading of a block


class Reader:
    """Reads `file` from its beginning; asking for more than is left raises `IncompleteImage`.

    The number of steps is bounded by the file's size, so that a file of millions of tiny pieces cannot hold a
    worker for minutes; it is refused as `Undecidable`. `doubt` says what about the file only a decoder can judge.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self.position = file.seek(0)
        self._steps = _FREE_STEPS + self.size // _BYTES_A_STEP
        self._questions = 0
        self.doubt: str | None = None

    @property
    def left(self) -> int:
        """Bytes between the position and the end."""
        return self.size - self.position

    def take(self, count: int, what: str) -> bytes:
        """Return the next `count` bytes, which should hold `what`."""
        self._require(count, what)
        data = self._file.read(count)
        if len(data) < count:
            raise IncompleteImage(f"ends inside {what}")
        self.position += count
        return data

    def blocks(self, count: int, what: str) -> Iterator[bytes]:
        """Yield the next `count` bytes in blocks, so that memory stays flat."""
        self._require(count, what)
        while count:
            block = self.take(min(count, BLOCK_BYTES), what)
            count -= len(block)
            yield block

    def skip(self, count: int, what: str) -> None:
        """Pass over `count` bytes without reading them."""
        self._require(count, what)
        self.go(self.position + count)

    def go(self, position: int) -> None:
        """Move to `position`, in bytes from the beginning."""
        self.position = self._file.seek(position)

    def question(self, what: str) -> None:
        """Leave `what` to a decoder; raises `Undecidable` after a thousand times in one file."""
        self.doubt = what
        self._questions += 1
        if self._questions > _MAX_QUESTIONS:
            raise Undecidable(f"{what}, in more than {_MAX_QUESTIONS} places")

    def _require(self, count: int, what: str) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise Undecidable("a file of implausibly many tiny pieces")
        if count > self.left:
            raise IncompleteImage(f"ends inside {what}: {count - self.left} bytes are missing")
