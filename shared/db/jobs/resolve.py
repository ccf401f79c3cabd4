"""Ends jobs in doubt when a person asks, with what that person learned about the money."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs import bulk, leftovers
from shared.db.jobs.bulk import BulkPlan, SecondCharge, Target, Which
from shared.db.jobs.leftovers import NOT_A_LEFTOVER
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.db.waking import wake
from shared.lifecycle import JobState, Outcome

_HELD = text("SELECT epoch, state, on_hold, error_code FROM job WHERE id = :id FOR UPDATE")
# The person wants the job sent again, so its deadline starts again.
_RENEW = text("UPDATE job SET deadline_at = greatest(deadline_at, now() + (deadline_at - created_at)) WHERE id = :id")
# With an amount, also jobs that have ended while a lost call's cost is open.
_NOT_LEFT: Final = NOT_A_LEFTOVER.replace("on_hold", "job.on_hold").replace("error_code", "job.error_code")
_MATCHING = f"""
SELECT job.id, job.epoch, job.state, job.state = 'in_doubt' AND NOT job.on_hold AS looked_for,
  (SELECT s.outcome FROM submission s WHERE s.job_id = job.id ORDER BY s.opened_at DESC LIMIT 1) AS newest,
  NOT {_NOT_LEFT} AS leftover
FROM job WHERE {{which}} AND (job.state = 'in_doubt' OR NOT {_NOT_LEFT} OR (:settles AND job.finished_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM submission WHERE job_id = job.id AND outcome = 'unknown')))
ORDER BY job.id
"""
RESEND: Final = "resend"
GIVE_UP: Final = "give_up"
SETTLE: Final = "settle"
_LOOKED_FOR: Final = "still looked for by the queue"
_SAID: Final = "their provider has said what the call cost"


class NotHeldError(Exception):
    """The job is not in doubt; the message says its state."""


def resolve(connection: Connection, job_id: UUID, *, resend: bool, charged: Decimal | None, actor: str) -> str:
    """Send the job again, or give it up; return its new state.

    `charged` is what the provider's history shows for the lost call. An amount settles it, zero releases it, and None
    leaves it held, which keeps the bill's upper bound correct. An amount can also settle held money of an ended job,
    and correct an earlier amount. Raises `NotHeldError`.
    """
    # Lock the submission before the job, in the order of a sender with late evidence.
    lost = submissions.latest(connection, job_id, lock=True)
    held = submissions.newest_unsettled(connection, job_id)
    row = connection.execute(_HELD, {"id": job_id}).one()
    if row.state != JobState.IN_DOUBT and row.on_hold and row.error_code == leftovers.CODE:
        if charged:
            raise NotHeldError("it was the simulator's: leave out what was charged")
        _end_leftover(connection, Claim(job_id, row.epoch), JobState(row.state), resend=resend, actor=actor)
        return str(connection.execute(_HELD, {"id": job_id}).one().state)
    if row.state != JobState.IN_DOUBT and not resend and charged is not None and held is not None:
        submissions.record(connection, held, _by_hand(charged))
        return str(row.state)
    if row.state != JobState.IN_DOUBT:
        raise NotHeldError(f"the job is {row.state}, not in doubt: there is nothing to resolve")
    if lost is not None and lost.outcome != Outcome.UNKNOWN and not row.on_hold:
        raise NotHeldError("the answer has come meanwhile: the job goes on by itself")
    if charged is not None and lost is not None and not submissions.record(connection, lost.id, _by_hand(charged)):
        raise NotHeldError("its provider has said what the call cost: leave out what was charged")
    claim = Claim(job_id, row.epoch)
    if resend:
        step = Move(claim, JobState.IN_DOUBT, JobState.QUEUED, 0, note="sent again by hand")
    else:
        step = Move(claim, JobState.IN_DOUBT, JobState.FAILED, code="written_off", note="given up by hand")
    move(connection, [step], actor=actor)
    if resend:
        connection.execute(_RENEW, {"id": job_id})
    submissions.collect(connection, job_id, actor=actor)
    wake(connection)
    return str(connection.execute(_HELD, {"id": job_id}).one().state)


def _end_leftover(connection: Connection, claim: Claim, state: JobState, *, resend: bool, actor: str) -> None:
    """Let a job of a trial go to its real account, or end it."""
    if state is JobState.QUEUED and resend:
        steps = [Move(claim, state, state, 0, code=leftovers.CODE, note="sent for real, by hand")]
    else:
        steps = [
            Move(claim, state, JobState.FAILED, code="written_off", note="left over from a trial; given up by hand")
        ]
        if resend:
            steps.append(Move(claim, JobState.FAILED, JobState.QUEUED, 0, note="sent for real, by hand"))
    for step in steps:
        move(connection, [step], actor=actor)
    if resend:
        connection.execute(_RENEW, {"id": claim.job_id})
    wake(connection)


def second_charge(connection: Connection, job_id: UUID) -> SecondCharge:
    """Return the most that sending this job again could pay a second time, as of now."""
    return bulk.second_charge(bulk.describe(connection, [(Claim(job_id, 0), RESEND)]))


def _by_hand(charged: Decimal) -> Answer:
    outcome = Outcome.ACCEPTED if charged else Outcome.REJECTED
    note = f"settled by hand: {charged:f}"
    return Answer(outcome, error_code="written_off", error=note, settled=charged, inferred=True)


def plan(connection: Connection, which: Which, *, resend: bool, charged: Decimal | None) -> BulkPlan:
    """Return the held jobs that match, to be sent again or given up; changes nothing.

    `charged` is the cost of each lost call. With it, matching jobs that ended with an open cost are settled too. A job
    that workers still look for is left alone, unless the person names this job.
    """
    return _plan(connection, which, resend=resend, charged=charged, looked_for=which.job is not None)


def _plan(connection: Connection, which: Which, *, resend: bool, charged: Decimal | None, looked_for: bool) -> BulkPlan:
    settles = charged is not None and not resend
    matching = text(_MATCHING.format(which=which.sql))
    acts, left = [], Counter[str]()
    for row in connection.execute(matching, {**which.parameters(), "settles": settles}).all():
        if row.looked_for and not looked_for:
            left[_LOOKED_FOR] += 1
        elif row.state != JobState.IN_DOUBT and not row.leftover:
            acts.append((Claim(row.id, row.epoch), SETTLE))
        elif charged is not None and row.newest not in {None, Outcome.UNKNOWN}:
            left[_SAID] += 1
        else:
            acts.append((Claim(row.id, row.epoch), RESEND if resend else GIVE_UP))
    act = f"resolve {RESEND if resend else GIVE_UP} {'' if charged is None else charged.normalize()}"
    return BulkPlan(act, tuple(bulk.describe(connection, acts)), bulk.now(connection), tuple(left.items()), which)


def as_shown(connection: Connection, shown: Sequence[Target], *, resend: bool, charged: Decimal | None) -> list[Target]:
    """Lock the jobs and return those of `shown` that have not changed since."""
    ids = [target.job_id for target in shown]
    bulk.lock(connection, ids)
    found = _plan(connection, Which(ids=ids), resend=resend, charged=charged, looked_for=True)
    return bulk.unchanged(shown, found.targets)


def carry_out(
    connection: Connection, wanted: Sequence[Target], *, resend: bool, charged: Decimal | None, actor: str
) -> Counter[str]:
    """Resolve the jobs that `as_shown` returned in this transaction; return how many went to which state."""
    return Counter(resolve(connection, target.job_id, resend=resend, charged=charged, actor=actor) for target in wanted)
