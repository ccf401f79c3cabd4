"""Webhooks as data: the schedule, the types, and signatures that the public library of Standard Webhooks verifies."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from shared import webhooks
from shared.db.webhooks.schedule import SCHEDULE, wait_before
from shared.webhooks import parse_types, secret, secrets_in_force, signature

MASTER = SecretStr("m" * 32)
ENDPOINT = UUID(int=7)
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def test_the_schedule_has_ten_tries_in_seventy_five_hours() -> None:
    assert len(SCHEDULE) == 10
    assert SCHEDULE[:3] == (0, 5, 300)
    assert sum(SCHEDULE) / 3600 == pytest.approx(75.6, abs=0.1)


def test_waits_differ_by_chance_and_end_after_the_last_try() -> None:
    waits = {wait_before(3, random=Random(seed)) for seed in range(50)}
    assert len(waits) == 50
    assert all(wait is not None and 0.8 * 1800 <= wait <= 1.2 * 1800 for wait in waits)
    assert wait_before(10, random=Random(0)) is None


def test_patterns_stand_for_types_and_an_unknown_one_is_refused() -> None:
    assert parse_types(["job.*", "batch.settled", "job.failed"]) == (
        "job.succeeded",
        "job.failed",
        "job.cancelled",
        "job.held",
        "batch.settled",
    )
    with pytest.raises(ValueError, match=r"no event is called 'job\.done'; known: job\.succeeded"):
        parse_types(["job.done"])
    assert not set(webhooks.JOB_ENDS) & set(webhooks.FEW)


@pytest.mark.parametrize("body", [b"{}", json.dumps({"data": "größer \u2028"}, ensure_ascii=False).encode()])
def test_the_public_library_verifies_our_signature(body: bytes) -> None:
    made = secret(MASTER, ENDPOINT, 1)
    at = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature([made], "msg_1", at, body),
    }
    assert Webhook(made.get_secret_value()).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(made.get_secret_value()).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(MASTER, ENDPOINT, 2).get_secret_value()).verify(body, headers)


def test_after_a_rotation_both_secrets_sign_for_a_day() -> None:
    def versions(hours: float) -> list[SecretStr]:
        return secrets_in_force(MASTER, ENDPOINT, 3, rotations=[NOW], now=NOW + timedelta(hours=hours))

    assert versions(23.9) == [secret(MASTER, ENDPOINT, 3), secret(MASTER, ENDPOINT, 2)]
    assert versions(24.1) == [secret(MASTER, ENDPOINT, 3)]
    assert secrets_in_force(MASTER, ENDPOINT, 1, rotations=[], now=NOW) == [secret(MASTER, ENDPOINT, 1)]


@pytest.mark.parametrize(("version", "hours", "signing"), [
    (4, (0, 1, 23), [4, 3, 2, 1]), (4, (0, 1), [4, 3, 2]), (4, (0, 25, 26), [4, 3]), (4, (25,), [4]),
    (2, (0, 1, 2), [2, 1]),
])  # fmt: skip
def test_each_secret_signs_for_a_day_after_its_own_rotation(
    version: int, hours: tuple[float, ...], signing: list[int]
) -> None:
    rotations = [NOW - timedelta(hours=before) for before in hours]
    expected = [secret(MASTER, ENDPOINT, one) for one in signing]
    assert secrets_in_force(MASTER, ENDPOINT, version, rotations=rotations, now=NOW) == expected


def test_each_endpoint_and_each_version_has_a_secret_of_its_own_that_only_the_master_key_gives() -> None:
    made = {
        secret(master, endpoint, version).get_secret_value()
        for master in (MASTER, SecretStr("n" * 32))
        for endpoint in (ENDPOINT, UUID(int=8))
        for version in (1, 2)
    }
    assert len(made) == 8
    assert all(one.startswith("whsec_") and len(one) == 50 for one in made)
