"""An answer that outgrows the disk: the part on the disk and the rest are streamed to the bucket."""

import contextlib
import os
import time
from typing import Final

import structlog

from worker.transport.spool import SpoolFull
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError

_log = structlog.get_logger(__name__)
_PART_BYTES: Final = 8 * 2**20  # S3 accepts no part below 5 MiB, except the last
_HELD_BYTES: Final = 64 * 2**20
_PAUSE_SECONDS: Final = 5.0


class Overflow:
    """One object in parts: the first `head_length` bytes of an open file, then the bytes that are written here.

    While the bucket refuses, up to 64 MiB stay in memory. The methods wait for the network: call them in a thread.
    """

    def __init__(self, storage: Storage, key: str, *, head: int, head_length: int) -> None:
        self._storage = storage
        self._key = key
        self._head = head
        self._head_length = head_length
        self._sent = 0
        self._pending = bytearray()
        self._upload: str | None = None
        self._parts: list[str] = []
        self._pause_until = 0.0
        self.stored = False
        """Whether the bucket holds the whole answer."""

    def hold(self, chunk: bytes | memoryview) -> None:
        """Append `chunk` in memory only."""
        self._pending += chunk

    def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `SpoolFull` if the bucket refuses and memory holds too much."""
        self.hold(chunk)
        if time.monotonic() >= self._pause_until:
            try:
                while self._left >= _PART_BYTES:
                    self._send_part()
            except StorageError as error:
                self._pause_until = time.monotonic() + _PAUSE_SECONDS
                _log.warning("reply_part_not_in_bucket", key=self._key, code=error.code)
        if len(self._pending) > _HELD_BYTES:
            raise SpoolFull("neither the disk nor the bucket takes the answer")

    def finish(self) -> None:
        """Bring the whole answer to the bucket as one object. Raises `StorageError`; may be called again."""
        while self._left:
            self._send_part()
        if self._upload is not None and not self.stored:
            self._storage.end_parts(self._key, self._upload, self._parts)
            self.stored = True

    def drop(self) -> None:
        """Remove the parts of an unfinished answer. A leftover does no harm."""
        if self._upload is not None and not self.stored:
            with contextlib.suppress(StorageError):
                self._storage.drop_parts(self._key, self._upload)

    @property
    def _left(self) -> int:
        return self._head_length - min(self._sent, self._head_length) + len(self._pending)

    def _send_part(self) -> None:
        if self._upload is None:
            metadata = {"genqueue-submission": self._key.split("/")[1]}
            self._upload = self._storage.begin_parts(self._key, content_type="application/json", metadata=metadata)
        from_disk = b""
        if self._sent < self._head_length:
            from_disk = _read(self._head, min(_PART_BYTES, self._head_length - self._sent), self._sent)
        held = bytes(self._pending[: _PART_BYTES - len(from_disk)])
        self._parts.append(self._storage.put_part(self._key, self._upload, len(self._parts) + 1, from_disk + held))
        self._sent += len(from_disk) + len(held)
        del self._pending[: len(held)]


def _read(descriptor: int, size: int, at: int) -> bytes:
    """Read `size` bytes of a file that has them; raises `OSError`."""
    found = b""
    while len(found) < size:
        block = os.pread(descriptor, size - len(found), at + len(found))
        if not block:
            raise OSError("a kept answer is shorter on the disk than what was written")
        found += block
    return found
