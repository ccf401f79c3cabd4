"""Verifies genqueue's webhooks (Standard Webhooks 1.0.0), without another library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TOLERANCE_SECONDS = 300


class WebhookError(ValueError):
    """A request that is not a webhook of your genqueue, or is too old."""


@dataclass(frozen=True)
class Event:
    """One event. `id` is the same each time that it comes: keep those that you have handled."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str | Sequence[str]) -> Event:
    """Return the event if one of the secrets signed these bytes within five minutes; raises `WebhookError`.

    `body` is the request's as it came, before anything parsed it.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = given["webhook-id"], given["webhook-timestamp"]
        versions = [one.partition(",") for one in given["webhook-signature"].split()]
        age = time.time() - int(timestamp)
    except (KeyError, ValueError, OverflowError):  # of a time too large for a clock
        raise WebhookError("the webhook's headers are missing or cannot be read") from None
    if abs(age) > _TOLERANCE_SECONDS:
        raise WebhookError("the webhook's time is more than five minutes away from this machine's")
    # Some servers hand on bytes that are no text as half of a surrogate pair; these were never signed.
    signed = f"{message_id}.{timestamp}.".encode(errors="replace") + body
    wanted = [_sign(one, signed) for one in ([secret] if isinstance(secret, str) else secret)]
    signatures = [text.encode(errors="replace") for version, _, text in versions if version == "v1"]
    # Every pair is compared, so that the time tells nothing.
    if not any([hmac.compare_digest(one, other) for one in wanted for other in signatures]):  # noqa: C419
        raise WebhookError("no signature of the webhook is right")
    try:
        found = json.loads(body)
        return Event(message_id, str(found["type"]), str(found["timestamp"]), dict(found["data"]))
    except (ValueError, KeyError, TypeError):
        raise WebhookError("the webhook's body is no event") from None


def _sign(secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise WebhookError("the secret is not whsec_ and base64") from None
    if not key:  # what everybody knows signs nothing: a variable that is not set
        raise WebhookError("the secret is empty")
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
