"""Trying failed jobs again at a person's word: collect again what is bought, buy only what that person allows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.enqueue import wake
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import JobState

# A picture can be collected again, for nothing, while its provider can be asked about it or its link lives. A job may
# have been paid for already unless every attempt was refused, never sent, or has brought all that it bought.
_FAILED = text("""
SELECT job.id, job.epoch, job.state,
  EXISTS (SELECT 1 FROM submission s WHERE s.job_id = job.id AND (s.outcome = 'unknown' OR (s.outcome = 'accepted' AND (
    NOT EXISTS (SELECT 1 FROM image i WHERE i.submission_id = s.id)
    OR EXISTS (SELECT 1 FROM image i WHERE i.submission_id = s.id AND i.state NOT IN ('stored', 'upstream_only'))
  )))) AS paid,
  coalesce(bool_and(image.state IN ('stored', 'upstream_only') OR image.error_code LIKE 'result\\_%'
    OR image.error_code = 'never_finished'), false) AS copy_failed,
  coalesce(bool_or(image.state = 'failed'), false) AS lacking,
  coalesce(bool_and(image.state IN ('stored', 'upstream_only')
    OR (image.upstream_id IS NOT NULL AND job.provider = ANY(CAST(:polled AS text[])))), false) AS can_ask,
  coalesce(bool_and(image.state IN ('stored', 'upstream_only')
    OR (image.link IS NOT NULL AND coalesce(image.link_expires_at > now(), true))), false) AS link_lives
FROM job JOIN batch ON batch.id = job.batch_id LEFT JOIN image ON image.job_id = job.id
WHERE job.state IN ('failed', 'cancelled') AND (CAST(:job AS uuid) IS NULL OR job.id = :job)
  AND (CAST(:batch AS text) IS NULL OR batch.name = :batch)
  AND (CAST(:code AS text) IS NULL OR job.error_code = :code)
GROUP BY job.id ORDER BY job.id
""")
_REOPEN = text("""
UPDATE image SET state = CASE WHEN :asking THEN 'pending' ELSE 'ready' END, tries = 0, error_code = NULL, error = NULL
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND state = 'failed'
""")
_STAYS_CANCELLED = text("""
UPDATE job SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = ANY(CAST(:jobs AS uuid[]))
""")
_BOUNDS = text("""
UPDATE job SET deadline_at = now() + :deadline * interval '1 second',
  collect_until = now() + :collect * interval '1 second'
WHERE id = ANY(CAST(:jobs AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """Failed jobs by what a retry would do with them."""

    ask: tuple[Claim, ...]
    """Bought, and the provider can still be asked: free."""
    fetch: tuple[Claim, ...]
    """Bought, and the links still live: free."""
    buy: tuple[Claim, ...]
    """Nothing was bought for what is missing: paid for the first time."""
    buy_again: tuple[Claim, ...]
    """Bought once already, or perhaps; only a person's explicit word buys it a second time."""
    cancelled: frozenset[UUID] = frozenset()
    """Those of the first two that a person had cancelled: what was bought is collected, and they end as cancelled."""


def plan(
    connection: Connection,
    *,
    polled: Collection[str],
    job: UUID | None = None,
    batch: str | None = None,
    code: str | None = None,
) -> RetryPlan:
    """Sort the jobs that match and failed, or were cancelled before all that they bought was collected.

    `polled` are the providers that can be asked about a picture again.
    """
    parameters = {"polled": list(polled), "job": job, "batch": batch, "code": code}
    ask, fetch, buy, again, cancelled = [], [], [], [], set()
    for row in connection.execute(_FAILED, parameters):
        claim = Claim(row.id, row.epoch)
        if row.state == JobState.CANCELLED and not row.lacking:
            continue
        if row.copy_failed and row.can_ask and row.lacking:
            ask.append(claim)
        elif row.copy_failed and row.link_lives:  # or all is stored, and only the end is missing
            fetch.append(claim)
        elif row.state == JobState.CANCELLED:
            continue  # nothing is bought for it any more
        elif row.paid:
            again.append(claim)
        else:
            buy.append(claim)
        if row.state == JobState.CANCELLED:
            cancelled.add(row.id)
    return RetryPlan(tuple(ask), tuple(fetch), tuple(buy), tuple(again), frozenset(cancelled))


def carry_out(
    connection: Connection,
    wanted: RetryPlan,
    *,
    actor: str,
    buy_again: bool,
    deadline_seconds: float,
    collect_seconds: float,
) -> int:
    """Move the planned jobs back onto the road and return how many moved; those that changed meanwhile stay."""
    bought = wanted.buy + (wanted.buy_again if buy_again else ())
    moved = set()
    for claims, state in (
        (wanted.ask, JobState.PENDING),
        (wanted.fetch, JobState.TRANSFERRING),
        (bought, JobState.QUEUED),
    ):
        steps = [Move(claim, _before(claim, wanted), state, 0) for claim in claims]
        won = move(connection, steps, actor=actor)
        if state is not JobState.QUEUED:
            connection.execute(_REOPEN, {"jobs": list(won), "asking": state is JobState.PENDING})
        moved |= won
    connection.execute(_STAYS_CANCELLED, {"jobs": list(wanted.cancelled & moved)})
    bounds = {"jobs": list(moved), "deadline": deadline_seconds, "collect": collect_seconds}
    connection.execute(_BOUNDS, bounds)
    wake(connection)
    return len(moved)


def _before(claim: Claim, wanted: RetryPlan) -> JobState:
    return JobState.CANCELLED if claim.job_id in wanted.cancelled else JobState.FAILED


def claims_of(wanted: RetryPlan) -> Sequence[Claim]:
    """Return every job of the plan."""
    return (*wanted.ask, *wanted.fetch, *wanted.buy, *wanted.buy_again)
