"""Whether the bucket's server verifies what it is given: asked with a tiny object, before anything is bought."""

import base64
import hashlib
import io
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.transport.storage import Storage
from worker.transport.storage_errors import StorageDamaged, StorageError, StorageRefused

_BODY: Final = b"genqueue looks whether this is verified"


class UnverifyingStoreError(StorageRefused):
    """This store would keep damaged pictures as if they were whole; the message says what it did."""


@dataclass(frozen=True, slots=True)
class ProofObject:
    """A few bytes, with the checksum of others where `claimed` are others."""

    claimed: bytes = _BODY

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(_BODY)

    @property
    def sha256_base64(self) -> str:
        """The SHA-256 of `claimed`."""
        return base64.b64encode(hashlib.sha256(self.claimed).digest()).decode("ascii")

    def rewound(self) -> BinaryIO:
        """Return the bytes as a file."""
        return io.BytesIO(_BODY)


DAMAGED: Final = ProofObject(claimed=b"other bytes")
"""What a bucket that verifies has to refuse."""


def proof_key() -> str:
    """Return the key of an object that is put to see what the bucket does, and deleted."""
    return f"submissions/proof-{secrets.token_hex(8)}"


def prove(storage: Storage) -> None:
    """Return where the store refuses a wrong checksum, states the right one, and gives back what it was given.

    Nothing of it stays. Raises `UnverifyingStoreError`, and what `Storage` raises where the bucket cannot be used.
    """
    key = proof_key()
    try:
        _require_refusal(storage, key)
        stated = storage.put_stating(key, ProofObject(), content_type="text/plain", metadata={})
        _require_stated(storage, key, stated)
        _require_same(storage, key)
    finally:
        with suppress(StorageError):
            storage.delete(key)


_WHO: Final = "the store takes an object, and"
_DO: Final = "genqueue needs one that verifies x-amz-checksum-sha256 (docs/servers.md)"


def _require_refusal(storage: Storage, key: str) -> None:
    try:
        storage.put_stating(key, DAMAGED, content_type="text/plain", metadata={})
    except StorageDamaged:
        return
    raise UnverifyingStoreError(f"{_WHO} does not look whether its SHA-256 is right: {_DO}")


def _require_stated(storage: Storage, key: str, at_once: str | None) -> None:
    """Require that the right checksum is stated: in the answer to the put, or where a store is asked for it later."""
    found = storage.head(key)
    later = base64.b64encode(bytes.fromhex(found.sha256)).decode("ascii") if found and found.sha256 else None
    stated = {each for each in (at_once, later) if each}
    if stated != {ProofObject().sha256_base64}:
        raise UnverifyingStoreError(f"{_WHO} states {'another' if stated else 'no'} SHA-256 for it: {_DO}")


def _require_same(storage: Storage, key: str) -> None:
    came = io.BytesIO()
    storage.get_to(key, came)
    if came.getvalue() != _BODY:
        raise UnverifyingStoreError(f"{_WHO} gives back other bytes: {_DO}")
