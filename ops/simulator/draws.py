"""Seeded draws that depend on what is asked, never on the order in which requests happen to arrive."""

import hashlib
import uuid


def digest(*parts: object) -> bytes:
    """Return 32 bytes that follow from ``parts`` alone."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=32).digest()


def fraction(*parts: object) -> float:
    """Return a number in [0, 1) that follows from ``parts`` alone."""
    return int.from_bytes(digest(*parts)[:7], "big") / (1 << 56)


def between(low: float, high: float, *parts: object) -> float:
    """Return a number in [low, high) that follows from ``parts`` alone."""
    return low + (high - low) * fraction(*parts)


def uuid4_like(*parts: object) -> str:
    """Return a well-formed version 4 UUID that follows from ``parts`` alone."""
    return str(uuid.UUID(bytes=digest(*parts)[:16], version=4))
