"""The caller's own facts about a job: kept with it, returned with its results, never sent to a provider."""

import json
from collections.abc import Mapping
from typing import Any, Final

from shared.requests import json_complaint

MAX_KEYS: Final = 256
KEY_MAX_CHARS: Final = 200
MAX_BYTES: Final = 65_536
"""Bytes of one job's metadata as JSON in UTF-8: a product list's longest description fits."""
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def complaint(metadata: Any) -> str | None:
    """Say why something cannot be a job's metadata; None if it can. The answer quotes no value."""
    if not isinstance(metadata, Mapping):
        return "must be an object"
    if len(metadata) > MAX_KEYS:
        return f"has {len(metadata)} keys; the limit is {MAX_KEYS}"
    for key in metadata:
        if not isinstance(key, str) or not key.strip() or len(key) > KEY_MAX_CHARS or not key.isprintable():
            return f"has a key that is not printable text of 1 to {KEY_MAX_CHARS} characters"
    for key, value in metadata.items():
        if found := json_complaint(value):
            return f"{key}: {found}"
    size = len(encoded(metadata))
    return f"has {size} bytes as JSON; the limit is {MAX_BYTES}" if size > MAX_BYTES else None


def encoded(metadata: Mapping[str, Any]) -> bytes:
    """Return metadata that nothing is wrong with as JSON in UTF-8; nothing at all if it is empty."""
    return _ENCODER.encode(metadata).encode() if metadata else b""
