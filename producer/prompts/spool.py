"""Prepared rows on their way to the database: in memory up to a few MB, then in a temporary file."""

import struct
import tempfile
from collections.abc import Iterator
from typing import Final

from shared.prompt_rows.preparer import PreparedRow

SPOOL_MEMORY_BYTES: Final = 4 * 2**20
_HEAD: Final = struct.Struct("<Qh32sHHII")  # line, priority, fingerprint, sizes of id, provider, request and metadata


class PromptSpool:
    """An append-only store of prepared rows; read back any number of times, in order, until closed."""

    def __init__(self, memory_bytes: int = SPOOL_MEMORY_BYTES) -> None:
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115 - closed by close()

    def append(self, row: PreparedRow) -> None:
        """Add a row; raises `OSError` when the temporary directory is full."""
        name, provider = row.custom_id.encode(), row.provider.encode()
        sizes = (len(name), len(provider), len(row.request), len(row.metadata))
        head = _HEAD.pack(row.line, row.priority, row.fingerprint, *sizes)
        self._file.write(b"".join((head, name, provider, row.request, row.metadata)))
        self.count += 1

    def __iter__(self) -> Iterator[PreparedRow]:
        offset = 0
        for _ in range(self.count):
            # Sought each time: another iteration may have moved the file since.
            self._file.seek(offset)
            line, priority, digest, *sizes = _HEAD.unpack(self._file.read(_HEAD.size))
            data = self._file.read(sum(sizes))
            offset += _HEAD.size + len(data)
            start = sizes[0] + sizes[1]
            end = start + sizes[2]
            name, provider = data[: sizes[0]].decode(), data[sizes[0] : start].decode()
            yield PreparedRow(line, name, provider, data[start:end], digest, priority, data[end:])

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()
