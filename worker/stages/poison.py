"""Poison: ends a job that kills worker after worker; if it may have been bought, it is held."""

from collections.abc import Sequence

import structlog

from shared.db.engine import Connection
from shared.db.jobs import images
from shared.db.jobs.claims import NOT_YET_ITS_OWN, Suspect
from shared.db.jobs.transitions import Claim, move
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import JobState, Outcome
from worker import next_step
from worker.runtime import Runtime

_log = structlog.get_logger(__name__)


def end_poison(connection: Connection, runtime: Runtime, suspects: Sequence[Suspect]) -> list[Claim]:
    """End the claimed `suspects` that have killed too many workers, and return the others, which run alone.

    A job that may have been bought is held instead, and so is its money.
    """
    limit = NOT_YET_ITS_OWN + runtime.settings.crashes_before_poison
    for one in suspects:
        if one.crashes >= limit:
            _end(connection, runtime, one)
            _log.error("poison", job=str(one.claim.job_id), state=one.state.value, crashes=one.crashes)
    return [one.claim for one in suspects if one.crashes < limit]


def _end(connection: Connection, runtime: Runtime, one: Suspect) -> None:
    step = next_step.poisoned(runtime.settings, one.claim, one.state, crashes=one.crashes)
    if step.after is JobState.IN_DOUBT and (submission := submissions.latest(connection, one.claim.job_id, lock=True)):
        lost = Answer(Outcome.UNKNOWN, error_code=submissions.SENDER_LOST, error=step.note)
        submissions.record(connection, submission.id, lost)
    moved = move(connection, [step], actor=next_step.POISON)
    if step.after is JobState.FAILED:
        images.give_up(connection, moved, step.note or "")
