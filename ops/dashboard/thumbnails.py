"""Thumbnails: made once by a decoder in a process of its own, and kept in files, up to a bound."""

import contextlib
import io
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from worker.thumbnails.decoder import DECODER_SECONDS, MOST_BYTES, Decoder
from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageError

_MOST_FILES: Final = 20_000
"""Some 200 MB. The oldest are deleted first, a tenth at a time."""
_ENDING: Final = ".webp"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
DECODED: Final = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
"""The extensions of images that are decoded. SVG is a program and not among them."""


class TooManyBytesError(StorageError):
    """The object has more bytes than its reader takes."""


class Bounded(io.BytesIO):
    """A file in memory that takes so many bytes at most; `write` raises `TooManyBytesError`."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def write(self, data: Any) -> int:
        """Write a block."""
        if self.tell() + len(data) > self._most_bytes:
            raise TooManyBytesError
        return super().write(data)


@dataclass(slots=True)
class Thumbnails:
    """Thumbnails of stored images, in files with the names of their keys. An empty file: there is none to be made."""

    directory: Path
    storage: Storage | None
    decoder: Decoder = field(default_factory=Decoder)
    most_files: int = _MOST_FILES
    _made: int = 0

    def get(self, key: str, sha256: str) -> bytes:
        """Return the WebP thumbnail of an object, b"" if there is none. Raises `StorageError`."""
        if not _SHA256.fullmatch(sha256):
            return b""
        file = self.directory / sha256[:2] / f"{quote(key, safe='')}{_ENDING}"
        with contextlib.suppress(FileNotFoundError):
            return file.read_bytes()
        if self.storage is None:
            return b""
        small = self._make(self.storage, key, sha256)
        self._keep(file, small)
        return small

    def sweep(self, there: Callable[[Collection[str]], set[str]]) -> None:
        """Delete the thumbnails of pictures that are not `there` any more, by their keys."""
        files = {unquote(file.name.removesuffix(_ENDING)): file for file in self.directory.glob(f"*/*{_ENDING}")}
        for key in files.keys() - there(files.keys()) if files else ():
            files[key].unlink(missing_ok=True)

    def _make(self, storage: Storage, key: str, sha256: str) -> bytes:
        image = Bounded(MOST_BYTES)
        try:
            found = storage.get_to(key, image)
        except TooManyBytesError:
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
        left = [
            file
            for file in files
            if file.suffix == ".part" and file.stat().st_mtime < time.time() - DECODER_SECONDS * 3
        ]
        over = files[: len(files) - self.most_files * 9 // 10] if len(files) > self.most_files else []
        for file in {*left, *over}:
            file.unlink(missing_ok=True)
