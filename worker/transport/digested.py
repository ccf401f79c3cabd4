"""Bytes that are counted and hashed as they are written."""

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class Digested:
    """The length and hash of the bytes written so far, in a spool or a kept answer."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._length = 0

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._length

    @property
    def sha256(self) -> str:
        """Their SHA-256, 64 lower-case hexadecimal digits."""
        return self._hash.hexdigest()

    @property
    def sha256_base64(self) -> str:
        """The same digest in the base64 form that S3 takes as `x-amz-checksum-sha256`."""
        return base64.b64encode(self._hash.digest()).decode("ascii")

    def _count(self, written: bytes | memoryview) -> None:
        self._hash.update(written)
        self._length += len(written)


class Stored(Protocol):
    """Bytes that are complete, with their length and hash: a spool, or an answer kept in a file."""

    @property
    def length(self) -> int:
        """How many bytes there are."""
        ...

    @property
    def sha256_base64(self) -> str:
        """Their SHA-256 in base64."""
        ...

    def rewound(self) -> BinaryIO:
        """Return them as a seekable file at its beginning."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """A small object as a bucket takes it."""

    body: bytes

    @property
    def length(self) -> int:
        """Its bytes."""
        return len(self.body)

    @property
    def sha256_base64(self) -> str:
        """Its SHA-256 as S3 takes it."""
        return base64.b64encode(hashlib.sha256(self.body).digest()).decode("ascii")

    def rewound(self) -> BinaryIO:
        """Return it as a file at its beginning."""
        return io.BytesIO(self.body)
