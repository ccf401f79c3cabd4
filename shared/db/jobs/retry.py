"""Tries failed jobs again when a person asks: collects purchases again, and buys only what that person allows."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs import bulk
from shared.db.jobs.bulk import EVERYTHING, Target, Which
from shared.db.jobs.inbox import INVALID
from shared.db.jobs.leftovers import CODE as LEFTOVER
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.leaving.erase import NOT_ERASED
from shared.db.payments.placing import COPY_FAILED, GIVEN_UP, LINK_LIVES
from shared.db.waking import wake
from shared.lifecycle import JobState
from shared.notes import NOTE_CHARS

# The provider can be asked about an image, free: always if only its copy failed, once more if it said that the image
# failed. A trial's image is unknown to the real provider, and may have been given up since.
_ASKABLE: Final = f"""(image.upstream_id IS NOT NULL AND job.provider = ANY(CAST(:polled AS text[]))
  AND (image.state IN ('pending', 'processing') OR (image.state = 'failed' AND ({COPY_FAILED}
    OR (image.error_code NOT IN ('{LEFTOVER}', '{GIVEN_UP}') AND NOT EXISTS (
      SELECT 1 FROM job_event e JOIN submission s ON s.id = image.submission_id
      WHERE e.job_id = job.id AND e.from_state IN ('failed', 'cancelled') AND e.to_state = 'pending' AND e.code IS NULL
        AND e.at > s.answered_at AND e.at < now()))))))"""
# A link's end is the provider's word, by its own clock: for a day it is tried once more, unless its host refused it.
_FETCHABLE: Final = f"""(({LINK_LIVES} OR (image.link IS NOT NULL AND image.error_code <> 'result_expired'
    AND image.link_expires_at > now() - interval '1 day' AND NOT EXISTS (
      SELECT 1 FROM job_event e WHERE e.job_id = job.id AND e.from_state IN ('failed', 'cancelled')
        AND e.to_state = 'transferring' AND e.code IS NULL AND e.at > image.link_expires_at AND e.at < now())))
  AND (image.state = 'ready' OR (image.state = 'failed' AND {COPY_FAILED})))"""
# A job may already have been paid for unless every attempt was refused, was never sent, or has delivered its whole
# purchase.
_FAILED = text(f"""
SELECT job.id, job.epoch, job.state,
  EXISTS (SELECT 1 FROM submission s WHERE s.job_id = job.id AND (s.outcome = 'unknown' OR (s.outcome = 'accepted' AND (
    NOT EXISTS (SELECT 1 FROM image i WHERE i.submission_id = s.id)
    OR EXISTS (SELECT 1 FROM image i WHERE i.submission_id = s.id AND i.state NOT IN ('stored', 'upstream_only'))
  )))) AS paid,
  coalesce(bool_and(image.state IN ('stored', 'upstream_only')), false) AS complete,
  coalesce(bool_or(image.state = 'failed'), false) AS lacking,
  coalesce(bool_or(image.state = 'failed' AND image.key IS NOT NULL), false) AS kept,
  coalesce(bool_or({_ASKABLE}), false) AS can_ask,
  coalesce(bool_or({_FETCHABLE}), false) AS can_fetch
FROM job LEFT JOIN image ON image.job_id = job.id
WHERE job.state IN ('failed', 'cancelled') AND job.id = ANY(CAST(:ids AS uuid[])) AND {NOT_ERASED}
  AND job.error_code IS DISTINCT FROM '{INVALID}'
GROUP BY job.id ORDER BY job.id
""")
# Only the images that can be collected. What the provider ended stays as it is.
_REOPEN = text(f"""
UPDATE image SET state = CASE WHEN {_ASKABLE} THEN 'pending' ELSE 'ready' END, tries = 0, error_code = NULL,
  error = NULL, lacking_looks = 0, lacking_since = NULL, short_sha256 = NULL
FROM job WHERE job.id = image.job_id AND image.job_id = ANY(CAST(:jobs AS uuid[])) AND image.state = 'failed'
  AND ({_ASKABLE} OR {_FETCHABLE})
""")
# A person has them bought again: the later purchase may have their rows.
_GIVE_UP = text(f"""
UPDATE image SET error_code = '{GIVEN_UP}', error = left(concat_ws(': ', error_code, error), {NOTE_CHARS})
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND state = 'failed' AND error_code <> '{GIVEN_UP}'
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
    """Bought, and the provider can still be asked about an image: free. Only such images are collected."""
    fetch: tuple[Claim, ...]
    """Bought, and a link still lives: free. Only such images are collected."""
    buy: tuple[Claim, ...]
    """The missing images were never bought: paid for the first time."""
    buy_again: tuple[Claim, ...]
    """Bought or perhaps bought before, and no image of it can be collected; only a person's request buys it again."""
    cancelled: frozenset[UUID]
    """Those of the first two that a person had cancelled: they are collected, and end as cancelled."""
    targets: tuple[Target, ...]
    """Each job with what the preview shows of it."""
    at: datetime
    """When it was made, on the database's clock."""
    kept: frozenset[UUID] = frozenset()
    """Those with an unverified image in the bucket: `genqueue accept` accepts it, free."""
    which: Which = EVERYTHING
    """The person's selection."""
    polled: tuple[str, ...] = ()
    """The providers that can be asked about an image again."""

    def of(self, *, buy_again: bool) -> tuple[Target, ...]:
        """Return the jobs that a retry would act on."""
        return tuple(target for target in self.targets if buy_again or target.act != BUY_AGAIN)

    def only(self, ids: Collection[UUID]) -> "RetryPlan":
        """Return the plan for only these jobs."""
        four = (self.ask, self.fetch, self.buy, self.buy_again)
        ask, fetch, buy, again = (tuple(claim for claim in claims if claim.job_id in ids) for claims in four)
        targets = tuple(target for target in self.targets if target.job_id in ids)
        few = frozenset(ids)
        kept, cancelled = self.kept & few, self.cancelled & few
        return replace(
            self, ask=ask, fetch=fetch, buy=buy, buy_again=again, cancelled=cancelled, targets=targets, kept=kept
        )


ASK: Final = "ask"
FETCH: Final = "fetch"
BUY: Final = "buy"
BUY_AGAIN: Final = "buy_again"


def plan(  # noqa: PLR0913 - what a person can name jobs by
    connection: Connection,
    *,
    polled: Collection[str],
    job: UUID | None = None,
    batch: str | None = None,
    account: str | None = None,
    code: str | None = None,
    ids: Sequence[UUID] | None = None,
) -> RetryPlan:
    """Sort the matching jobs that failed, or were cancelled before their whole purchase was collected.

    `polled` are the providers that can be asked about an image again.
    """
    which = Which(batch, account, code, job, ids)
    ask, fetch, buy, again, cancelled, kept = [], [], [], [], set(), set()
    for row in _failed(connection, which, polled):
        claim = Claim(row.id, row.epoch)
        if row.state == JobState.CANCELLED and not row.lacking:
            continue
        if row.can_ask:
            ask.append(claim)
        elif row.can_fetch or row.complete:  # if all is stored, only the end is missing
            fetch.append(claim)
        elif row.state == JobState.CANCELLED:
            continue  # nothing is bought for it any more
        elif row.paid:
            again.append(claim)
        else:
            buy.append(claim)
        if row.state == JobState.CANCELLED:
            cancelled.add(row.id)
        if row.kept:
            kept.add(row.id)
    by_act = {ASK: ask, FETCH: fetch, BUY: buy, BUY_AGAIN: again}
    told = bulk.describe(connection, [(claim, act) for act, claims in by_act.items() for claim in claims])
    at = bulk.now(connection)
    jobs = (tuple(ask), tuple(fetch), tuple(buy), tuple(again))
    return RetryPlan(*jobs, frozenset(cancelled), tuple(told), at, frozenset(kept), which, tuple(polled))


def _failed(connection: Connection, which: Which, polled: Collection[str]) -> Iterator[Any]:
    for some in bulk.pages(connection, which, (JobState.FAILED, JobState.CANCELLED)):
        yield from connection.execute(_FAILED, {"polled": list(polled), "ids": some}).all()


def as_shown(connection: Connection, shown: Sequence[Target], *, polled: Collection[str]) -> RetryPlan:
    """Lock the jobs and return the plan of those that have not changed since."""
    ids = [target.job_id for target in shown]
    bulk.lock(connection, ids)
    found = plan(connection, polled=polled, ids=ids)
    return found.only({target.job_id for target in bulk.unchanged(shown, found.targets)})


def carry_out(
    connection: Connection,
    wanted: RetryPlan,
    *,
    actor: str,
    buy_again: bool,
    deadline_seconds: float,
    collect_seconds: float,
) -> int:
    """Put the planned jobs back to work and return how many moved; jobs that have changed meanwhile stay."""
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
            connection.execute(_REOPEN, {"jobs": list(won), "polled": list(wanted.polled)})
        moved |= won
    again = {claim.job_id for claim in bought} & {claim.job_id for claim in wanted.buy_again} & moved
    connection.execute(_GIVE_UP, {"jobs": list(again)})
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
