"""Calls in doubt: who may claim what a provider's list shows, and whether their senders are gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.intents import Request
from shared.db.submissions import MISSING

_SENDER_LOST: Final = "sender_lost"
_LOST = text(f"""
SELECT s.id, s.job_id, s.outcome, s.error_code, s.sender_lock, s.sender_over, job.request, job.fingerprint,
  {MISSING} AS missing, s.opened_at - :slack * interval '1 second' AS since, s.quiet_at AS until,
  extract(epoch FROM s.quiet_at - clock_timestamp()) + :slack AS quiet_in,
  batch.on_unknown = 'resend' OR job.cancel_requested_at IS NOT NULL AS may_close,
  CASE WHEN job.parked THEN job.error END AS held_note
FROM submission s JOIN job ON job.id = s.job_id JOIN batch ON batch.id = s.batch_id WHERE s.id = :id
""")
# Two calls are rivals if the spans overlap in which the provider would have made their pictures.
# so is one that a person settled without knowing its pictures. One key may serve several accounts.
_SAME_PROVIDER = "(SELECT a.name FROM account a JOIN account me USING (provider) WHERE me.name = :account)"
_RIVALS = text(f"""
SELECT job.fingerprint, job.request ->> 'prompt' AS prompt, cardinality({MISSING}) AS wanted,
  extract(epoch FROM s.quiet_at - clock_timestamp()) + :slack AS quiet_in
FROM submission s JOIN job ON job.id = s.job_id
WHERE s.account IN {_SAME_PROVIDER} AND s.id <> :id
  AND (s.outcome IS NULL OR s.outcome = 'unknown'
    OR (s.outcome = 'accepted' AND s.inferred AND s.upstream_id IS NULL))
  AND s.opened_at - :slack * interval '1 second' <= :until AND s.quiet_at >= :since
""")
_OWNED = text(f"""
SELECT upstream_id FROM image WHERE account IN {_SAME_PROVIDER} AND upstream_id = ANY(CAST(:ids AS text[]))
UNION SELECT upstream_id FROM submission
  WHERE account IN {_SAME_PROVIDER} AND upstream_id = ANY(CAST(:ids AS text[]))
""")
_OWNED_SINCE = text(f"""
SELECT i.upstream_id FROM submission s JOIN image i ON i.submission_id = s.id AND i.job_id = s.job_id
WHERE s.account IN {_SAME_PROVIDER} AND s.opened_at >= :since AND i.upstream_id IS NOT NULL
""")
_LOCK = text("""
SELECT pg_advisory_xact_lock(hashtextextended('look-up ' || provider, 0)) FROM account WHERE name = :account
""")
_OVER = text("""
UPDATE submission SET sender_over = true,
  quiet_at = greatest(quiet_at, clock_timestamp() + :quiet * interval '1 second') WHERE id = :id
""")
# A frozen process still holds its lock; a dead one does not, nor one that never was. Shared, so that two who ask at
# once do not take each other for it.
_GONE = text("SELECT pg_try_advisory_xact_lock_shared(:lock)")


@dataclass(frozen=True, slots=True)
class Doubt:
    """One paid call whose answer is lost, and the span in which the provider would have made its pictures.

    `quiet_in`: seconds until everything it can have made or cost shows at the provider, and nothing newer can be taken
    for it; 0 or less once that has passed. `may_close`: its batch, or whoever cancelled the job, lets go of a call that
    bought nothing. `sender_lock`: held by the sender while it lives; None where the call is known to be over.
    """

    submission_id: UUID
    job_id: UUID
    request: Request
    fingerprint: bytes
    missing: tuple[int, ...]
    since: datetime
    until: datetime
    quiet_in: float
    may_close: bool
    sender_lock: int | None
    held_note: str | None
    """Why it is held already, if it is."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another call of the account, in the air or in doubt at the same time: it may own what the list shows."""

    fingerprint: bytes
    prompt: str
    wanted: int
    """How many pictures it is still to bring."""
    quiet_in: float


def of_submission(connection: Connection, submission_id: UUID, *, slack_seconds: float) -> Doubt | None:
    """Return the doubt about a submission, None where there is none.

    `slack_seconds` is how far the provider's clock may differ from ours.
    """
    row = connection.execute(_LOST, {"id": submission_id, "slack": slack_seconds}).one()
    if row.outcome != "unknown":
        return None
    return Doubt(
        submission_id=row.id,
        job_id=row.job_id,
        request=row.request,
        fingerprint=row.fingerprint,
        missing=tuple(row.missing),
        since=row.since,
        until=row.until,
        quiet_in=float(row.quiet_in),
        may_close=row.may_close,
        sender_lock=None if row.sender_over or row.error_code != _SENDER_LOST else row.sender_lock,
        held_note=row.held_note,
    )


def rivals(connection: Connection, account: str, doubt: Doubt, *, slack_seconds: float) -> Sequence[Rival]:
    """Return the other calls that may own what the list shows; exact under the account's lock."""
    span = {"since": doubt.since, "until": doubt.until, "slack": slack_seconds}
    found = connection.execute(_RIVALS, {"account": account, "id": doubt.submission_id, **span})
    return [Rival(row.fingerprint, row.prompt, row.wanted, float(row.quiet_in)) for row in found]


def lock(connection: Connection, account: str) -> None:
    """Let nobody else adopt pictures of the account's provider until this transaction ends."""
    connection.execute(_LOCK, {"account": account})


def owned_since(connection: Connection, account: str, since: datetime) -> set[str]:
    """Return what submissions opened since own already: a look-up need not ask about it."""
    found: Any = connection.execute(_OWNED_SINCE, {"account": account, "since": since}).scalars()
    return set(found)


def owned(connection: Connection, account: str, upstream_ids: Collection[str]) -> set[str]:
    """Return those of `upstream_ids` that belong to a submission or picture of the account already."""
    found: Any = connection.execute(_OWNED, {"account": account, "ids": list(upstream_ids)}).scalars()
    return set(found)


def sender_is_over(connection: Connection, submission_id: UUID, *, quiet_seconds: float) -> None:
    """Record that the sender is proved gone: whatever it still received, it received before now.

    Until `quiet_seconds` from now its purchase may still show for the first time.
    """
    connection.execute(_OVER, {"id": submission_id, "quiet": quiet_seconds})


def sender_gone(connection: Connection, doubt: Doubt) -> bool:
    """Tell whether nobody can send this call any more: its sender said so, or is proved gone by its session lock."""
    return doubt.sender_lock is None or bool(connection.execute(_GONE, {"lock": doubt.sender_lock}).scalar_one())
