"""The queries of a plan: which rows a batch already holds, the accounts' state, and the room under its caps."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.account_settings import RateWindow
from shared.db.payments import spending

_READ_ONLY = text("SET TRANSACTION READ ONLY")
_BATCH = text("SELECT id FROM batch WHERE name = :name")
# LATERAL, so that each row is looked up by the unique index, whatever the planner believes of a batch just loaded.
_FOUND = text("""
SELECT a.position, job.account, job.state = 'queued' AS unbought,
  job.fingerprint = a.fingerprint AND job.provider = a.provider AS same
FROM unnest(CAST(:custom_ids AS text[]), CAST(:providers AS text[]), CAST(:fingerprints AS bytea[]))
  WITH ORDINALITY AS a (custom_id, provider, fingerprint, position)
CROSS JOIN LATERAL (
  SELECT account, provider, fingerprint, state FROM job WHERE batch_id = :batch AND custom_id = a.custom_id LIMIT 1
) AS job
ORDER BY a.position
""")
# By custom_id, which has an index: the same file under another name. Requests themselves have none.
_ELSEWHERE = text("""
SELECT min(batch.name) AS batch, count(*) AS jobs
FROM unnest(CAST(:custom_ids AS text[]), CAST(:providers AS text[]), CAST(:fingerprints AS bytea[]))
  AS a (custom_id, provider, fingerprint)
CROSS JOIN LATERAL (
  SELECT batch_id FROM job WHERE custom_id = a.custom_id AND fingerprint = a.fingerprint AND provider = a.provider
    AND batch_id IS DISTINCT FROM CAST(:batch AS uuid) AND state NOT IN ('failed', 'cancelled') LIMIT 1
) AS job JOIN batch ON batch.id = job.batch_id
""")
_ACCOUNTS = text("""
SELECT name, concurrency, windows, balance, daily_cap, paused_at, paused_reason,
  paused_code, probe_at, action_url, terms,
  seen_at IS NOT NULL AS seen, coalesce(seen_at > now() - interval '1 day', false) AS fresh,
  ARRAY(SELECT ARRAY[priority, count(*)] FROM job WHERE account = name AND state = 'queued' AND NOT on_hold
    GROUP BY priority) AS waiting
FROM account
""")


class Asked(NamedTuple):
    """A row to look for: what makes it the same job."""

    custom_id: str
    provider: str
    fingerprint: bytes


class Found(NamedTuple):
    """The batch's job under a row's custom_id: its account, and whether the request is the same."""

    account: str
    same: bool
    unbought: bool


class Standing(NamedTuple):
    """An account's state: the last words of workers about it, and the jobs that wait for it."""

    concurrency: int
    windows: tuple[RateWindow, ...]
    balance: Decimal | None
    daily_cap: Decimal | None
    spent_today: Decimal
    """What counts against the daily cap; 0 where there is none."""
    paused_at: datetime | None
    paused_reason: str | None
    action_url: str | None
    seen: bool
    """Whether a worker ever had its key."""
    fresh: bool
    """Whether one had it within a day."""
    terms: Mapping[str, Any] | None
    """Its prices, whether it has a brand and whether it buys at an unknown price, as workers said last."""
    waiting: Mapping[int, int]
    """Priority -> how many jobs are queued."""
    paused_code: str | None = None
    probe_at: datetime | None = None
    """When workers probe a paused account; None where only a person ends the pause."""


def read_only(connection: Connection) -> None:
    """Make this transaction read-only."""
    connection.execute(_READ_ONLY)


def batch_id(connection: Connection, name: str) -> UUID | None:
    """Return the id of the batch of that name; None where there is none."""
    return connection.execute(_BATCH, {"name": name}).scalar_one_or_none()


def found(connection: Connection, batch: UUID, rows: Sequence[Asked]) -> dict[int, Found]:
    """Return, by index in `rows`, the jobs that `batch` already holds under their custom_ids."""
    parameters = {
        "batch": batch,
        "custom_ids": [row.custom_id for row in rows],
        "providers": [row.provider for row in rows],
        "fingerprints": [row.fingerprint for row in rows],
    }
    return {
        row.position - 1: Found(row.account, row.same, row.unbought) for row in connection.execute(_FOUND, parameters)
    }


class BoughtElsewhere(NamedTuple):
    """How many of some rows another batch holds already, and one such batch."""

    jobs: int
    batch: str | None


def elsewhere(connection: Connection, batch: UUID | None, rows: Sequence[Asked]) -> BoughtElsewhere:
    """Return how many of `rows` stand in other batches under the same custom_id with the same request."""
    parameters = {
        "batch": batch,
        "custom_ids": [row.custom_id for row in rows],
        "providers": [row.provider for row in rows],
        "fingerprints": [row.fingerprint for row in rows],
    }
    row = connection.execute(_ELSEWHERE, parameters).one()
    return BoughtElsewhere(row.jobs, row.batch)


def standings(connection: Connection) -> dict[str, Standing]:
    """Return how each account stands that is known."""
    found = {}
    for row in connection.execute(_ACCOUNTS).mappings().all():
        name, windows = row["name"], tuple(RateWindow(**window) for window in row["windows"])
        spent = spending.of_day(connection, name).spent if row["daily_cap"] is not None else Decimal(0)
        known = {key: row[key] for key in Standing._fields if key not in {"windows", "waiting", "spent_today"}}
        found[name] = Standing(windows=windows, waiting=dict(row["waiting"]), spent_today=spent, **known)
    return found


def spent_in_batch(connection: Connection, batch: UUID, provider: str) -> Decimal:
    """Return what counts against the batch's cap for a provider."""
    return spending.of_batch(connection, batch, provider).spent
