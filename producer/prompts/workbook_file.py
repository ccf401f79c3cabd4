"""Workbooks (XLSX) as files: how one is known, and copied so that it can be sought."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

MAGIC: Final = b"PK\x03\x04"
"""How every ZIP file begins."""
MOST_FILE_BYTES: Final = 64 * 2**20
TOO_LARGE: Final = "the workbook is too large to be read here; save the sheet as CSV UTF-8"
_MEMORY_BYTES: Final = 8 * 2**20
_BLOCK: Final = 2**16


class WorkbookError(ValueError):
    """The file is no workbook that can be read; the message says why."""


def is_workbook(stream: BinaryIO) -> bool:
    """Tell whether a stream begins as a workbook does, and leave it at its beginning."""
    peek = getattr(stream, "peek", None)
    if peek is not None:
        return bool(peek(len(MAGIC))[: len(MAGIC)] == MAGIC)
    begin = stream.tell()
    found = stream.read(len(MAGIC)) == MAGIC
    stream.seek(begin)
    return found


@contextmanager
def copied(stream: BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a stream as a file that can be sought, and its SHA-256; raises `WorkbookError` for one that is too large.

    A ZIP is read from its end, and a pipe has none.
    """
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > MOST_FILE_BYTES:
                raise WorkbookError(TOO_LARGE)
            digest.update(block)
            file.write(block)
        file.seek(0)
        yield cast("BinaryIO", file), digest.hexdigest()
