"""What a plan asks: which rows a batch holds already, how accounts share the others, and who stands in line before."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

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
_DEALT = text("""
SELECT provider, array_agg(name ORDER BY name) AS names FROM account
WHERE seen_at > now() - interval '1 day' AND paused_at IS NULL GROUP BY provider
""")
_WAITING = text("""
SELECT account, priority, count(*) AS jobs FROM job WHERE state = 'queued' AND NOT parked GROUP BY account, priority
""")
# An attempt counts as for the caps themselves: with its reserve while it is open or in doubt, then with what it cost.
_SPENT = """
SELECT coalesce(sum(CASE WHEN outcome = 'accepted' THEN settled
  WHEN coalesce(outcome, 'unknown') = 'unknown' THEN reserved END), 0) AS spent FROM submission
"""
_TODAY = text(f"{_SPENT} WHERE account = :account AND opened_at >= date_trunc('day', now())")
_IN_BATCH = text(f"""
{_SPENT} WHERE batch_id = :batch AND account IN (SELECT name FROM account WHERE provider = :provider)
""")


class Asked(NamedTuple):
    """A row to look for: what makes it the same job."""

    custom_id: str
    provider: str
    fingerprint: bytes


class Found(NamedTuple):
    """What the batch holds under a row's custom_id: the job's account, and whether it is the same request."""

    account: str
    same: bool
    unbought: bool


def read_only(connection: Connection) -> None:
    """Have the database refuse every write of this transaction."""
    connection.execute(_READ_ONLY)


def batch_id(connection: Connection, name: str) -> UUID | None:
    """Return the id of the batch of that name; None where there is none."""
    return connection.execute(_BATCH, {"name": name}).scalar_one_or_none()


def found(connection: Connection, batch: UUID, rows: Sequence[Asked]) -> dict[int, Found]:
    """Return, by index in `rows`, what `batch` holds already under their custom_ids."""
    parameters = {
        "batch": batch,
        "custom_ids": [row.custom_id for row in rows],
        "providers": [row.provider for row in rows],
        "fingerprints": [row.fingerprint for row in rows],
    }
    return {
        row.position - 1: Found(row.account, row.same, row.unbought) for row in connection.execute(_FOUND, parameters)
    }


def dealt(connection: Connection) -> dict[str, list[str]]:
    """Return provider -> the accounts that `enqueue` would deal its jobs out over, in that order."""
    return {row.provider: row.names for row in connection.execute(_DEALT)}


def waiting(connection: Connection) -> dict[str, dict[int, int]]:
    """Return account -> priority -> how many jobs are queued."""
    lines: dict[str, dict[int, int]] = {}
    for account, priority, jobs in connection.execute(_WAITING):
        lines.setdefault(account, {})[priority] = jobs
    return lines


def spent_today(connection: Connection, account: str) -> Decimal:
    """Return what counts against the account's daily cap."""
    return Decimal(connection.execute(_TODAY, {"account": account}).scalar_one())


def spent_in_batch(connection: Connection, batch: UUID, provider: str) -> Decimal:
    """Return what counts against the batch's cap for a provider."""
    return Decimal(connection.execute(_IN_BATCH, {"batch": batch, "provider": provider}).scalar_one())
