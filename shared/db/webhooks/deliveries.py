"""Deliveries: claimed by whoever sends, closed with what the receiver said, sent again when a person asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.webhooks import endpoints
from shared.db.webhooks.endpoints import ROTATIONS
from shared.db.webhooks.schedule import DISABLE_AFTER, FAILURES_BEFORE_PROBES, PROBE_FIRST_SECONDS, PROBE_MAX_SECONDS
from shared.webhooks import TEST

LEASE_SECONDS: Final = 60.0
"""Longer than a sending takes: what a sender that died had in hand is sent again."""
_KEPT: Final = "interval '30 days'"
# The endpoint's row is locked, so that two processes never probe a failing endpoint at the same time. Free places are
# dealt in turn, first to the endpoint with the fewest deliveries in hand. Otherwise a few slow endpoints with a backlog
# would take each place that gets free.
_CLAIM = text(f"""
WITH open AS MATERIALIZED (
  SELECT endpoint.id, failures >= :probe AS probed, coalesce(busy.count, 0) AS in_hand FROM endpoint
  LEFT JOIN unnest(CAST(:busy AS uuid[]), CAST(:counts AS integer[])) AS busy (id, count) ON busy.id = endpoint.id
  WHERE kind = :kind AND disabled_at IS NULL AND coalesce(held_until <= now(), true)
    AND coalesce(busy.count, 0) < :each AND starts_with(url, :beginning)
  ORDER BY endpoint.id FOR NO KEY UPDATE OF endpoint SKIP LOCKED
), dealt AS MATERIALIZED (
  SELECT one.id, open.id AS endpoint_id, open.probed FROM open CROSS JOIN LATERAL (
    SELECT id, row_number() OVER (ORDER BY due_at) AS place, due_at FROM (
      SELECT id, due_at FROM delivery WHERE endpoint_id = open.id AND due_at <= now() ORDER BY due_at
      LIMIT CASE WHEN open.probed THEN 1 ELSE :each - open.in_hand END
    ) AS few
  ) AS one ORDER BY open.in_hand + one.place, one.due_at LIMIT :most
), picked AS MATERIALIZED (
  SELECT delivery.id, dealt.endpoint_id, dealt.probed FROM delivery JOIN dealt ON dealt.id = delivery.id
  WHERE delivery.due_at <= now() FOR NO KEY UPDATE OF delivery SKIP LOCKED
), held AS (
  UPDATE endpoint SET held_until = now() + :lease * interval '1 second' FROM picked
  WHERE endpoint.id = picked.endpoint_id AND picked.probed
), claimed AS (
  UPDATE delivery SET tries = tries + 1, due_at = now() + :lease * interval '1 second' FROM picked
  WHERE delivery.id = picked.id
  RETURNING delivery.id, delivery.endpoint_id, type, job_id, data, delivery.created_at, tries
)
SELECT claimed.*, endpoint.url, endpoint.secret_version, {ROTATIONS} AS rotations, job_metadata.metadata,
  now() AS now
FROM claimed JOIN endpoint ON endpoint.id = claimed.endpoint_id
LEFT JOIN job_metadata ON job_metadata.job_id = claimed.job_id
ORDER BY claimed.created_at
""")
_ANY = text("""
SELECT EXISTS (SELECT FROM batch_news) OR EXISTS (SELECT FROM delivery WHERE due_at <= now())
""")
_DELIVERED = text("""
WITH done AS (
  UPDATE delivery SET delivered_at = clock_timestamp(), ended_at = clock_timestamp(), due_at = NULL, status = :status,
    error = NULL, milliseconds = :milliseconds WHERE id = :id
)
UPDATE endpoint SET failures = 0, failing_since = NULL, held_until = NULL WHERE id = :endpoint AND failures > 0
""")
_FAILED = text("""
WITH done AS (
  UPDATE delivery SET due_at = now() + CAST(:wait AS double precision) * interval '1 second',
    ended_at = CASE WHEN CAST(:wait AS double precision) IS NULL THEN clock_timestamp() END,
    status = :status, error = :error, milliseconds = :milliseconds
  WHERE id = :id AND delivered_at IS NULL
)
UPDATE endpoint SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
  held_until = CASE WHEN failures + 1 >= :probe THEN now()
    + least(:first * 2 ^ least(failures + 1 - :probe, 20), :longest) * interval '1 second' END
WHERE id = :endpoint RETURNING failures >= :probe AND failing_since < now() - :disable AS over
""")
_ADD = text("""
INSERT INTO delivery (id, endpoint_id, event_key, type, data)
VALUES (:id, :endpoint, 'test ' || CAST(:id AS text), :type, jsonb_build_object('endpoint', CAST(:endpoint AS text)))
""")
_AGAIN = """
UPDATE delivery SET due_at = now(), ended_at = NULL, delivered_at = NULL, tries = 0
WHERE ended_at IS NOT NULL AND {which}
"""
_AGAIN_ONE = text(_AGAIN.format(which="id = :id"))
_AGAIN_SPAN = text(
    _AGAIN.format(
        which="endpoint_id = :endpoint AND created_at >= :since AND created_at < :until "
        "AND (delivered_at IS NULL OR NOT :failed)"
    )
)
_NEWEST = text("""
SELECT id, type, job_id, created_at, tries, status, error, milliseconds, delivered_at, ended_at, due_at FROM delivery
WHERE endpoint_id = :endpoint AND (delivered_at IS NULL AND tries > 0 OR NOT :failed)
ORDER BY created_at DESC LIMIT :limit
""")
_ONE = text("SELECT * FROM delivery WHERE id = :id")
_PRUNE = text(f"""
DELETE FROM delivery WHERE id = ANY(ARRAY(
  SELECT id FROM delivery WHERE ended_at < now() - {_KEPT} ORDER BY ended_at LIMIT 5000))
""")


def any_due(connection: Connection) -> bool:
    """Tell whether there may be anything to send, or a batch that has settled."""
    return bool(connection.execute(_ANY).scalar_one())


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One delivery in a sender's hands, with what it needs of its endpoint."""

    id: UUID
    endpoint_id: UUID
    type: str
    job_id: UUID | None
    data: dict[str, Any]
    created_at: datetime
    tries: int
    url: str
    secret_version: int
    rotations: list[datetime]
    metadata: dict[str, Any] | None
    now: datetime

    def body(self) -> dict[str, Any]:
        """Return the event: type, time and data, with the job's own metadata."""
        facts = {"metadata": self.metadata} if self.metadata else {}
        return {"type": self.type, "timestamp": self.created_at.isoformat(), "data": self.data | facts}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one sending; `error` in words without a URL, None for a success."""

    milliseconds: int
    status: int | None = None
    error: str | None = None


def claim(
    connection: Connection,
    *,
    kind: str = endpoints.WEBHOOK,
    most: int,
    each: int,
    busy: Mapping[UUID, int] | None = None,
    beginning: str = "",
) -> list[ClaimedDelivery]:
    """Claim up to `most` due deliveries, dealt to endpoints in turn; `busy`: how many each has in hand, of `each`.

    Only of endpoints whose URLs begin with `beginning`.
    """
    in_hand = busy or {}
    parameters = {"kind": kind, "most": most, "each": each, "beginning": beginning}
    parameters |= {"busy": list(in_hand), "counts": list(in_hand.values())}
    parameters |= {"probe": FAILURES_BEFORE_PROBES, "lease": LEASE_SECONDS}
    return [ClaimedDelivery(**row) for row in connection.execute(_CLAIM, parameters).mappings()]


def delivered(connection: Connection, one: ClaimedDelivery, reply: Reply) -> None:
    """Record a success; a failing endpoint has recovered."""
    parameters = {"id": one.id, "endpoint": one.endpoint_id, "status": reply.status}
    connection.execute(_DELIVERED, {**parameters, "milliseconds": reply.milliseconds})


def failed(connection: Connection, one: ClaimedDelivery, reply: Reply, wait_seconds: float | None) -> bool:
    """Record a failure; None gives the delivery up. Switches the endpoint off, and returns True, after days of it."""
    row = connection.execute(
        _FAILED,
        {
            "id": one.id,
            "endpoint": one.endpoint_id,
            "wait": wait_seconds,
            "status": reply.status,
            "error": reply.error,
            "milliseconds": reply.milliseconds,
            "probe": FAILURES_BEFORE_PROBES,
            "first": PROBE_FIRST_SECONDS,
            "longest": PROBE_MAX_SECONDS,
            "disable": DISABLE_AFTER,
        },
    ).one_or_none()
    return bool(row and row.over and endpoints.disable(connection, one.endpoint_id, endpoints.FAILING))


def add_test(connection: Connection, endpoint: UUID, delivery: UUID) -> None:
    """Add a delivery of the type `webhook.test`, due now."""
    connection.execute(_ADD, {"id": delivery, "endpoint": endpoint, "type": TEST})


def replay(connection: Connection, delivery: UUID) -> int:
    """Make one ended delivery due again, under its own id; return how many that were."""
    return connection.execute(_AGAIN_ONE, {"id": delivery}).rowcount


def replay_span(connection: Connection, endpoint: UUID, since: datetime, until: datetime, *, only_failed: bool) -> int:
    """Make the ended deliveries of a span due again, each under its own id; return how many."""
    parameters = {"endpoint": endpoint, "since": since, "until": until, "failed": only_failed}
    return connection.execute(_AGAIN_SPAN, parameters).rowcount


def newest(
    connection: Connection, endpoint: UUID, *, only_failed: bool = False, limit: int = 50
) -> list[Mapping[str, Any]]:
    """Return the newest deliveries of an endpoint, each with what its last try came to."""
    parameters = {"endpoint": endpoint, "failed": only_failed, "limit": limit}
    return [dict(row) for row in connection.execute(_NEWEST, parameters).mappings()]


def one(connection: Connection, delivery: UUID) -> Mapping[str, Any] | None:
    """Return one delivery, None if there is none of that id."""
    row = connection.execute(_ONE, {"id": delivery}).mappings().one_or_none()
    return dict(row) if row else None


def prune(connection: Connection) -> None:
    """Remove deliveries that ended more than thirty days ago, up to 5000."""
    connection.execute(_PRUNE)
