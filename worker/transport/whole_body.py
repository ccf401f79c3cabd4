"""A file's bytes as the body of a request on the event loop."""

import asyncio
import fcntl
import termios
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from worker.transport.digested import Stored
from worker.transport.faithful_reader import FaithfulReader
from worker.transport.spool import SpoolError

_PIECE_BYTES: Final = 256 * 1024


class WholeBody(aiohttp.Payload):
    """Complete bytes, which know whether they have left.

    They are sent from their beginning again where aiohttp repeats a request, because a kept connection was closed.
    `is_answered` says that the connection is in order. Making it raises `SpoolError` if they cannot be read.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self._stored = stored
        self._size = stored.length
        self._transport: asyncio.WriteTransport | None = None
        self._is_written = False
        self._reader = FaithfulReader(stored)
        self.is_answered = False

    @property
    def fault(self) -> SpoolError | None:
        """Why they could not be read."""
        return self._reader.fault

    @property
    def sha256_base64(self) -> str:
        """Their SHA-256 as S3 takes it."""
        return self._stored.sha256_base64

    @property
    def has_left(self) -> bool:
        """Whether the other end has received the last byte.

        This end's system takes megabytes at once. The answer to them also acknowledges them, so it never comes before.
        """
        if not self._is_written or self._transport is None or self._transport.get_write_buffer_size():
            return False
        return _unacknowledged(self._transport) == 0

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Break the connection off at the end of the block, unless the answer was in order.

        It would be closed only once a peer that reads no more had read the rest.
        """
        try:
            yield
        finally:
            if self._transport is not None and not self.is_answered:
                self._transport.abort()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's
        """Return nothing useful: bytes are no text."""
        raise TypeError("an object's bytes are no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the bytes."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002 - it is what `size` says
        """Write the bytes from their beginning."""
        self._transport = getattr(writer, "transport", None)  # kept here: a writer that is closed forgets it
        self._is_written = False
        self._reader.seek(0)
        left = self._stored.length
        while left:
            piece = self._reader.read(min(left, _PIECE_BYTES))
            left -= len(piece)
            await writer.write(piece)
        self._is_written = True


def _unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes the system still keeps for the other end; 0 where it does not tell."""
    kept = array("i", [0])
    with suppress(OSError, ValueError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, kept)
    return kept[0]
