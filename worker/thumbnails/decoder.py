"""The decoding process as its users see it: bytes of an image in, bytes of a small one out, or nothing."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

MOST_BYTES: Final = 48 * 2**20
"""A larger image gets no thumbnail."""
DECODER_SECONDS: Final = 20.0
"""How long one image may take; then the process is killed."""
_LENGTH: Final = 8


@dataclass(slots=True)
class Decoder:
    """The decoding process. It is started when needed, and again after it has died or was too slow."""

    command: tuple[str, ...] = (sys.executable, "-m", "worker.thumbnails.process")
    seconds: float = DECODER_SECONDS
    _process: "subprocess.Popen[bytes] | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def thumbnail(self, image: bytes) -> bytes:
        """Return a small WebP image; nothing if this image cannot be decoded, or if the process died of it."""
        with self._lock:
            process = self._running()
            late = threading.Timer(self.seconds, process.kill)
            late.start()
            try:
                return _exchange(process, image)
            except OSError:
                self._end()  # it is dead or dying, whether or not the kernel says so yet
                return b""
            finally:
                late.cancel()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        root = str(Path(__file__).parents[2])
        # It knows no key and no password: what it decodes was made by others.
        environment = {"PYTHONPATH": root, "PATH": os.defpath}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(OSError):  # what it did not read cannot be flushed
                self._process.communicate()
            self._process = None


def _exchange(process: "subprocess.Popen[bytes]", image: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(image).to_bytes(_LENGTH, "big") + image)
    process.stdin.flush()
    return _read(process.stdout, int.from_bytes(_read(process.stdout, _LENGTH), "big"))


def _read(source: IO[bytes], length: int) -> bytes:
    """Return so many bytes; raises `OSError` if the process ended before."""
    found = source.read(length)
    if len(found) < length:
        raise BrokenPipeError
    return found
