"""The part of a `Client` that the Celery door uses: an order with who is told of it, and the events to send."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from producer.client.enqueueing import Enqueueing, InvalidRowsError
from producer.money import parse_caps
from producer.prompts import read_rows
from shared import catalog
from shared.db.jobs.enqueue import BatchTerms, Enqueued
from shared.db.webhooks import deliveries, endpoints, notify
from shared.db.webhooks.deliveries import ClaimedDelivery, Reply
from shared.db.webhooks.schedule import wait_before
from shared.policies import OnUnknown

_AT_ONCE: Final = 100
_random: Final = Random()  # noqa: S311 - spreads retries


class CelerySide(Enqueueing):
    """Orders and events of the Celery door."""

    def enqueue_told(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        batch: str,
        address: str | None,
        provider: str | None = None,
        on_unknown: OnUnknown | None = None,
        max_cost: Sequence[str] = (),
    ) -> Enqueued:
        """Add `rows` to `batch` as `enqueue` does, and in the same transaction name who is told of their jobs.

        Of a batch that is there, the policy and the caps are only made tighter.
        `address` is a task on a caller's broker; None: nobody. Raises as `enqueue`.
        """
        with read_rows(rows, default_provider=provider, providers=catalog.names()) as prepared:
            if prepared.fault_count:
                raise InvalidRowsError(prepared.faults, prepared.fault_count)
            self._require_name(batch)
            caps = parse_caps(max_cost, providers=prepared.providers) if max_cost else None
            times = (self.settings.deadline_seconds, self.settings.collect_seconds)
            terms = BatchTerms(*times, on_unknown, caps, bounded=True)
            with self._connection() as connection:
                added = self._add(connection, prepared, batch, terms)
                if on_unknown is not None and added.policy_changed:
                    self._note_policy(connection, batch, on_unknown)
                if address is not None:
                    endpoint = notify.celery_endpoint(connection, address)
                    notify.name_for_jobs(connection, batch, [row.custom_id for row in prepared.rows()], endpoint)
        if on_unknown is not None and added.policy_changed:
            self._look_anew(batch, on_unknown)
        return added

    def tell_refused(self, address: str, message_id: str, data: Mapping[str, Any]) -> None:
        """Have a caller's task told that its message was refused, once for each message."""
        with self._connection() as connection:
            notify.tell_refused(connection, notify.celery_endpoint(connection, address), message_id, data)

    def claim_events(self, beginning: str) -> list[ClaimedDelivery]:
        """Claim due events for the addresses that begin so."""
        with self._connection() as connection:
            kind, each = endpoints.CELERY, _AT_ONCE
            return deliveries.claim(connection, kind=kind, most=_AT_ONCE, each=each, beginning=beginning)

    def event_sent(self, one: ClaimedDelivery, reply: Reply) -> None:
        """Record whether a broker took an event; if it did not, the event is due again on the webhooks' schedule."""
        with self._connection() as connection:
            if reply.error is None:
                deliveries.delivered(connection, one, reply)
            else:
                deliveries.failed(connection, one, reply, wait_before(one.tries, random=_random))
