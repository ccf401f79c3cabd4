"""Jobs whose caller named a receiver of their events: a Celery task on the caller's own broker."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.webhooks import endpoints

_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('genqueue endpoint ' || :url, 0))")
_KNOWN = text("SELECT id, disabled_at FROM endpoint WHERE kind = 'celery' AND url = :url")
_NAME = text("""
INSERT INTO job_notify (job_id, endpoint_id)
SELECT job.id, :endpoint FROM job JOIN batch ON batch.id = job.batch_id
WHERE batch.name = :batch AND job.custom_id = ANY(CAST(:custom_ids AS text[]))
ON CONFLICT (job_id) DO NOTHING
""")
# A job may have ended before its caller named an endpoint; then its end is sent under the key that a trigger would give
# it. A caller that sends an order again may have heard nothing, because its broker lost our message: the end is sent
# again, under the same id.
_TELL_ENDED = text("""
INSERT INTO delivery (id, endpoint_id, event_key, type, job_id, data)
SELECT gen_random_uuid(), job_notify.endpoint_id, 'event ' || e.id, 'job.' || job.state, job.id, jsonb_strip_nulls(
  jsonb_build_object('job_id', job.id, 'batch', batch.name, 'custom_id', job.custom_id, 'provider', job.provider,
    'account', job.account, 'state', job.state, 'error_code', job.error_code, 'images_asked', job.images,
    'images_stored', (SELECT count(*) FROM image WHERE image.job_id = job.id AND image.state = 'stored')))
FROM job JOIN batch ON batch.id = job.batch_id JOIN job_notify ON job_notify.job_id = job.id
JOIN LATERAL (SELECT id FROM job_event WHERE job_event.job_id = job.id AND to_state = job.state
  AND from_state <> to_state ORDER BY id DESC LIMIT 1) AS e ON true
WHERE batch.name = :batch AND job.custom_id = ANY(CAST(:custom_ids AS text[])) AND job.finished_at IS NOT NULL
ON CONFLICT (endpoint_id, event_key) DO UPDATE
  SET due_at = clock_timestamp(), ended_at = NULL, delivered_at = NULL, tries = 0
  WHERE delivery.ended_at IS NOT NULL AND delivery.endpoint_id = :endpoint
""")
_REFUSE = text("""
INSERT INTO delivery (id, endpoint_id, event_key, type, data)
VALUES (gen_random_uuid(), :endpoint, 'refused ' || :message, 'message.refused', CAST(:data AS jsonb))
ON CONFLICT (endpoint_id, event_key) DO NOTHING
""")


def celery_endpoint(connection: Connection, address: str) -> UUID:
    """Return the endpoint for a task on a caller's broker, made where it is new.

    One that was switched off is on again: what came through its broker shows that the broker is there.
    """
    connection.execute(_TURN, {"url": address})
    known = connection.execute(_KNOWN, {"url": address}).one_or_none()
    if known is None:
        return endpoints.add(connection, address, (), kind=endpoints.CELERY)
    if known.disabled_at is not None:
        endpoints.resume(connection, known.id)
    found: UUID = known.id
    return found


def name_for_jobs(connection: Connection, batch: str, custom_ids: Sequence[str], endpoint: UUID) -> None:
    """Send the events of these jobs to an endpoint: those from now on, and the end of a job that has ended already.

    An end that was sent before is sent again. A job that already has an endpoint keeps it.
    """
    given: dict[str, Any] = {"batch": batch, "custom_ids": list(custom_ids), "endpoint": endpoint}
    connection.execute(_NAME, given)
    connection.execute(_TELL_ENDED, given)


def tell_refused(connection: Connection, endpoint: UUID, message_id: str, data: Mapping[str, Any]) -> None:
    """Tell an endpoint once that a message of its caller was refused."""
    connection.execute(_REFUSE, {"endpoint": endpoint, "message": message_id, "data": json.dumps(data)})
