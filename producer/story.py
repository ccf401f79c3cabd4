"""A job's story as a program reads it: the same document on the command line and over HTTP."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from producer.results import as_json
from shared.wait_facts import Wait

_PRIVATE: Final = frozenset({"fingerprint", "key_id", "link", "sender_lock"})


_OF_JOB: Final = frozenset(
    {
        *("id", "batch", "batch_id", "custom_id", "account", "provider", "request", "images", "metadata", "state"),
        *("due_at", "epoch", "claimed_by", "begun_together", "crashes", "on_hold", "cancel_requested_at", "priority"),
        *("fair_position", "tries", "link_expires_at", "deadline_at", "collect_until", "error_code", "error"),
        *("created_at", "finished_at", "on_unknown", "caps", "now", "unit"),
        *("paused_code", "paused_reason", "action_url", "probe_at", "not_before"),
    }
)
"""What a job's row says of the job, its batch, and whether its account goes on; not what the account spends."""


def story_document(story: Mapping[str, Any], *, sums: bool = True) -> dict[str, Any]:
    """Return the parts of `Client.story`, and any `Wait` beside them, as JSON has them; without links and key ids.

    Without `sums`, nothing of it says what the account spends for all batches together.
    """
    return {part: _json(value if sums else _own(part, value)) for part, value in story.items()}


def _own(part: str, value: Any) -> Any:
    if isinstance(value, Wait):
        return value.without_sums()
    return {name: item for name, item in value.items() if name in _OF_JOB} if part == "job" else value


def _wait(wait: Wait) -> dict[str, Any]:
    return {name: value for name, value in asdict(wait).items() if name != "sums"}


def _json(value: Any) -> Any:
    if value is None or isinstance(value, Wait):
        return _json(_wait(value)) if value else None
    if isinstance(value, Mapping):
        return {
            name: as_json(item.hex() if isinstance(item, bytes) else item)
            for name, item in value.items()
            if name not in _PRIVATE
        }
    return [_json(item) for item in value]
