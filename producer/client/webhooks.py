"""The part of a `Client` that manages webhooks: who is told what, and what became of it."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr

from producer.client.connection import Connected
from shared.db import audit
from shared.db.audit import AuditEntry
from shared.db.webhooks import deliveries, endpoints
from shared.db.webhooks.endpoints import NoSuchEndpointError
from shared.ids import new_id
from shared.settings import SettingsError
from shared.webhooks import FEW, parse_types, secret

_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint and its secret, with which the receiver verifies what it gets."""

    id: UUID
    types: tuple[str, ...]
    secret: SecretStr


class Webhooks(Connected):
    """Endpoints and their deliveries; each change is a line in the audit."""

    def add_webhook(self, url: str, *, types: Collection[str] = FEW, batch_prefix: str = "") -> NewEndpoint:
        """Tell `url` of events of `types` (names, or patterns such as `job.*`) from now on.

        Only of batches whose names begin with `batch_prefix`; accounts have none. Raises `ValueError` for an unknown
        type, and `SettingsError` without a master key.
        """
        master, wanted = self._webhook_master(), parse_types(types)
        with self._connection() as connection:
            endpoint = endpoints.add(connection, url, wanted, prefix=batch_prefix)
            audit.note(connection, self._webhook_entry(f"add {endpoint}"), changed=1)
        return NewEndpoint(endpoint, wanted, secret(master, endpoint, 1))

    def webhooks(self) -> list[Mapping[str, Any]]:
        """Return every endpoint, oldest first."""
        with self._connection() as connection:
            return endpoints.listing(connection)

    def rotate_webhook(self, name: str) -> SecretStr:
        """Give an endpoint a new secret and return it; for a day the old one signs too. Raises as `remove_webhook`."""
        master = self._webhook_master()
        with self._connection() as connection:
            found = endpoints.find(connection, name, lock=True)
            version = endpoints.rotate(connection, found.id)
            audit.note(connection, self._webhook_entry(endpoints.rotation(found.id)), changed=1)
        return secret(master, found.id, version)

    def remove_webhook(self, name: str) -> UUID:
        """Delete an endpoint with its deliveries; raises `NoSuchEndpointError`."""
        with self._connection() as connection:
            found = endpoints.find(connection, name, lock=True)
            endpoints.begin_removal(connection, found.id)
        with self._connection() as connection:
            if not endpoints.remove(connection, found.id):
                raise NoSuchEndpointError("somebody else has removed the endpoint")
            audit.note(connection, self._webhook_entry(f"remove {found.id}"), changed=1)
        return found.id

    def resume_webhook(self, name: str) -> UUID:
        """Switch an endpoint on again, and send what waited; raises `NoSuchEndpointError`."""
        with self._connection() as connection:
            found = endpoints.find(connection, name, lock=True)
            endpoints.resume(connection, found.id)
            audit.note(connection, self._webhook_entry(f"resume {found.id}"), changed=1)
        return found.id

    def webhook_deliveries(self, name: str, *, only_failed: bool = False, limit: int = 50) -> list[Mapping[str, Any]]:
        """Return the newest deliveries of an endpoint; raises `NoSuchEndpointError`."""
        with self._connection() as connection:
            found = endpoints.find(connection, name)
            return deliveries.newest(connection, found.id, only_failed=only_failed, limit=limit)

    def replay_delivery(self, delivery: UUID) -> int:
        """Send one ended delivery again, under its own id; return 1, or 0 if there is none."""
        with self._connection() as connection:
            again = deliveries.replay(connection, delivery)
            audit.note(connection, self._webhook_entry(f"replay {delivery}"), changed=again)
        return again

    def replay_span(self, name: str, since: datetime, until: datetime, *, only_failed: bool = True) -> int:
        """Send the ended deliveries of a span again; return how many. Raises `NoSuchEndpointError`."""
        with self._connection() as connection:
            found = endpoints.find(connection, name, lock=True)
            again = deliveries.replay_span(connection, found.id, since, until, only_failed=only_failed)
            audit.note(
                connection, self._webhook_entry(f"replay {found.id} since {since:%Y-%m-%d %H:%M}"), changed=again
            )
        return again

    def test_webhook(self, name: str, *, timeout_seconds: float = 20.0) -> Mapping[str, Any]:
        """Have a worker send a `webhook.test` and return the delivery once it was tried, or as it stands then.

        Raises `NoSuchEndpointError`, also where the endpoint is removed meanwhile.
        """
        with self._connection() as connection:
            found = endpoints.find(connection, name, lock=True)
            deliveries.add_test(connection, found.id, delivery := new_id())
        end = time.monotonic() + timeout_seconds
        while True:
            with self._connection() as connection:
                one = deliveries.one(connection, delivery)
            if one is None:
                raise NoSuchEndpointError("the endpoint was removed before the test was sent")
            if one["milliseconds"] is not None or time.monotonic() >= end:
                return one
            time.sleep(_LOOK_SECONDS)

    def _webhook_master(self) -> SecretStr:
        if not self.settings.webhook_key.get_secret_value():
            raise SettingsError(
                "GENQUEUE_WEBHOOK_KEY is not set: give workers and this command the same 32 or more characters, such "
                "as `openssl rand -base64 32` prints"
            )
        return self.settings.webhook_key

    def _webhook_entry(self, terms: str) -> AuditEntry:
        return AuditEntry(actor=self.actor, act="webhook", terms=terms)
