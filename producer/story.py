"""A job's story as a program reads it: the same document on the command line and over HTTP."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from producer.results import as_json
from shared.wait_facts import Wait

_PRIVATE: Final = frozenset({"fingerprint", "key_id", "link", "sender_lock"})


def story_document(story: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of `Client.story`, and any `Wait` beside them, as JSON has them; without links and key ids."""
    return {part: _json(value) for part, value in story.items()}


def _json(value: Any) -> Any:
    if value is None or isinstance(value, Wait):
        return _json(asdict(value)) if value else None
    if isinstance(value, Mapping):
        return {
            name: as_json(item.hex() if isinstance(item, bytes) else item)
            for name, item in value.items()
            if name not in _PRIVATE
        }
    return [_json(item) for item in value]
