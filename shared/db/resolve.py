"""Ending a job in doubt at a person's word, with what that person learned about the money."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import submissions
from shared.db.enqueue import wake
from shared.db.submissions import Answer
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import JobState, Outcome

_HELD = text("SELECT epoch, state, parked FROM job WHERE id = :id FOR UPDATE")
# Whoever sends it again wants it sent: its deadline begins anew.
_RENEW = text("UPDATE job SET deadline_at = greatest(deadline_at, now() + (deadline_at - created_at)) WHERE id = :id")


class NotHeldError(Exception):
    """The job is not in doubt; the message says where it stands."""


def resolve(connection: Connection, job_id: UUID, *, resend: bool, charged: Decimal | None, actor: str) -> str:
    """Send the job again, or give it up; return the state it is in then.

    `charged` is what the provider's history shows for the lost call: an amount settles it, zero releases it, None
    leaves it held, which keeps the bill's upper bound honest. With an amount, the money that an ended job still has in
    doubt can be settled as well, and what a person said of it before be corrected. Raises `NotHeldError`.
    """
    # The submission before the job, as a sender with late evidence locks them.
    lost = submissions.latest(connection, job_id, lock=True)
    held = submissions.in_doubt(connection, job_id)
    row = connection.execute(_HELD, {"id": job_id}).one()
    if row.state != JobState.IN_DOUBT and not resend and charged is not None and held is not None:
        submissions.record(connection, held, _by_hand(charged))
        return str(row.state)
    if row.state != JobState.IN_DOUBT:
        raise NotHeldError(f"the job is {row.state}, not in doubt: there is nothing to resolve")
    if lost is not None and lost.outcome != Outcome.UNKNOWN and not row.parked:
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


def _by_hand(charged: Decimal) -> Answer:
    outcome = Outcome.ACCEPTED if charged else Outcome.REJECTED
    note = f"settled by hand: {charged:f}"
    return Answer(outcome, error_code="written_off", error=note, settled=charged, inferred=True)
