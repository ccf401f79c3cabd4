"""What a webhook says and how it is signed, as pure data and functions: event types, secrets and signatures.

The format is that of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): the header `webhook-signature` signs
`id.timestamp.body` with HMAC-SHA256, once for each secret that is valid now. When it is sent again:
`shared.db.webhooks.schedule`.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import SecretStr

OVERLAP: Final = timedelta(hours=24)
"""After a rotation, the old secret signs too for this long."""

JOB_ENDS: Final = ("job.succeeded", "job.failed", "job.cancelled")
TYPES: Final = (
    *JOB_ENDS,
    "job.held",
    "batch.settled",
    "account.paused",
    "account.resumed",
    "cap.reached",
    "endpoint.disabled",
)
FEW: Final = tuple(one for one in TYPES if one not in JOB_ENDS)
"""What an endpoint is told unless told otherwise: a batch of 100,000 jobs is then a few events."""
TEST: Final = "webhook.test"


def parse_types(given: Iterable[str]) -> tuple[str, ...]:
    """Return the event types that names and patterns such as `job.*` stand for; raises `ValueError` for an unknown."""
    found: list[str] = []
    for name in given:
        beginning = name.removesuffix("*")
        some = [one for one in TYPES if one == name or (name.endswith("*") and one.startswith(beginning))]
        if not some:
            raise ValueError(f"no event is called {name[:40]!r}; known: {', '.join(TYPES)}")
        found += [one for one in some if one not in found]
    return tuple(found)


def secret(master: SecretStr, endpoint: UUID, version: int) -> SecretStr:
    """Return the secret of an endpoint, `whsec_...`, derived from the master key: the database holds none."""
    key = hmac.digest(master.get_secret_value().encode(), f"{endpoint}:{version}".encode(), "sha256")
    return SecretStr("whsec_" + base64.b64encode(key).decode())


def secrets_in_force(
    master: SecretStr, endpoint: UUID, version: int, *, rotations: Iterable[datetime], now: datetime
) -> list[SecretStr]:
    """Return the secrets that sign at `now`: the present one, and each that a rotation of the last day replaced."""
    replaced = sum(now - at < OVERLAP for at in rotations)
    return [secret(master, endpoint, one) for one in range(version, max(version - replaced, 1) - 1, -1)]


def signature(secrets: Iterable[SecretStr], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one `v1,<base64>` for each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_sign(one, signed)}" for one in secrets)


def _sign(one: SecretStr, signed: bytes) -> str:
    key = base64.b64decode(one.get_secret_value().removeprefix("whsec_"))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
