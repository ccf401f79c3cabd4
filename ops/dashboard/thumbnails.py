"""Thumbnails: made once by a decoder in a process of its own, and kept in files, up to a bound."""

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.transport.storage import Storage, StorageError

MOST_BYTES: Final = 48 * 2**20
"""A larger image gets no thumbnail."""
_MOST_FILES: Final = 20_000
"""Some 200 MB. The oldest are deleted first, a tenth at a time."""
_SECONDS: Final = 20.0
_LENGTH: Final = 8
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
DECODED: Final = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
"""The extensions of images that are decoded. SVG is a program and not among them."""


class _TooLargeError(Exception):
    """The image has more bytes than a thumbnail is made of."""


class _Bounded(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MOST_BYTES:
            raise _TooLargeError
        return super().write(data)


@dataclass(slots=True)
class Decoder:
    """The decoding process. It is started when needed, and again after it has died or was too slow."""

    command: tuple[str, ...] = (sys.executable, "-m", "ops.dashboard.decoder")
    seconds: float = _SECONDS
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
                return b""
            finally:
                late.cancel()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
                self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._process is not None:
            self._process.communicate()
        root = str(Path(__file__).parents[2])
        # It knows no key and no password: what it decodes was made by others.
        environment = {"PYTHONPATH": root, "PATH": os.defpath}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        return self._process


def _exchange(process: "subprocess.Popen[bytes]", image: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(image).to_bytes(_LENGTH, "big") + image)
    process.stdin.flush()
    length = process.stdout.read(_LENGTH)
    if len(length) < _LENGTH:
        process.kill()
        return b""
    return process.stdout.read(int.from_bytes(length, "big"))


@dataclass(slots=True)
class Thumbnails:
    """Thumbnails of stored images, by the SHA-256 of the image. An empty file means that there is none to be made."""

    directory: Path
    storage: Storage | None
    decoder: Decoder = field(default_factory=Decoder)
    most_files: int = _MOST_FILES
    _made: int = 0

    def get(self, key: str, sha256: str) -> bytes:
        """Return the WebP thumbnail of an object, b"" if there is none. Raises `StorageError`."""
        if not _SHA256.fullmatch(sha256):
            return b""
        file = self.directory / sha256[:2] / f"{sha256}.webp"
        with contextlib.suppress(FileNotFoundError):
            return file.read_bytes()
        if self.storage is None:
            return b""
        small = self._make(self.storage, key, sha256)
        self._keep(file, small)
        return small

    def _make(self, storage: Storage, key: str, sha256: str) -> bytes:
        image = _Bounded()
        try:
            found = storage.get_to(key, image)
        except _TooLargeError:
            return b""
        if found != sha256:
            raise StorageError("the object is not the one that the row names")
        return self.decoder.thumbnail(image.getvalue())

    def _keep(self, file: Path, small: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{threading.get_ident()}.part")
        part.write_bytes(small)
        part.replace(file)
        self._made += 1
        if self._made % 500 == 1:
            self._prune()

    def _prune(self) -> None:
        """Delete the oldest files if there are too many, and what a crash left behind."""
        files = sorted(self.directory.glob("*/*"), key=lambda file: file.stat().st_mtime)
        left = [file for file in files if file.suffix == ".part" and file.stat().st_mtime < time.time() - _SECONDS * 3]
        over = files[: len(files) - self.most_files * 9 // 10] if len(files) > self.most_files else []
        for file in {*left, *over}:
            file.unlink(missing_ok=True)
