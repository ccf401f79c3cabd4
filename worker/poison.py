"""Poison: a job over which worker after worker dies ends itself; where its money may be out, it is held."""

from collections.abc import Sequence
from typing import Final

import structlog

from shared.db import images, submissions
from shared.db.claims import IN_COMPANY, Suspect
from shared.db.engine import Connection
from shared.db.submissions import Answer
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import JobState, Outcome
from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_CODE: Final = "poison"
_MAYBE_BOUGHT: Final = frozenset({JobState.SUBMITTING, JobState.IN_DOUBT})


def end_poison(runtime: Runtime, suspects: Sequence[Suspect], connection: Connection) -> list[Claim]:
    """End those of the claimed `suspects` that have ended too many workers, and return the others: they run alone.

    A job that may have been bought is held instead, its money with it.
    """
    limit = IN_COMPANY + runtime.settings.crashes_before_poison
    for one in suspects:
        if one.crashes >= limit:
            _end(runtime, one, connection)
            _log.error("poison", job=str(one.claim.job_id), state=one.state.value, crashes=one.crashes)
    return [one.claim for one in suspects if one.crashes < limit]


def _end(runtime: Runtime, one: Suspect, connection: Connection) -> None:
    note = f"{one.crashes} workers died while they had it in hand ({one.state})"
    if one.state not in _MAYBE_BOUGHT:
        ended = move(connection, [Move(one.claim, one.state, JobState.FAILED, code=_CODE, note=note)], actor=_CODE)
        images.give_up(connection, ended, note)
        return
    submission = submissions.latest(connection, one.claim.job_id, lock=True)
    if submission is not None:
        submissions.record(connection, submission.id, Answer(Outcome.UNKNOWN, error_code="sender_lost", error=note))
    wait = runtime.settings.held_recheck_seconds
    held = Move(one.claim, one.state, JobState.IN_DOUBT, wait, code=_CODE, note=note, parked=True)
    move(connection, [held], actor=_CODE)
