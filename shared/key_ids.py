"""Identifies an account's key and server in the database; the key cannot be derived from it."""

import hashlib
from typing import Final

_SIMULATOR_KEY: Final = "sim-genqueue"
_SIMULATOR_PATHS: Final = ("/banatie", "/bloom/api/v1", "/getimg", "/openrouter/api/v1", "/posteverywhere/api/v1")
_PORTS: Final = range(1, 2**16)


def key_id(base_url: str, key: str) -> str:
    """Return 64 bits of a hash over base URL and key."""
    return hashlib.blake2b(f"{base_url}\n{key}".encode(), digest_size=8).hexdigest()


def simulators() -> frozenset[str]:
    """Return every key_id that `up --simulator` has ever written: its key, at each port; takes about a second."""
    return frozenset(
        key_id(f"http://127.0.0.1:{port}{path}", _SIMULATOR_KEY) for port in _PORTS for path in _SIMULATOR_PATHS
    )
