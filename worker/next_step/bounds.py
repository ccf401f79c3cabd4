"""Decides about jobs that are past their bound, that no worker here can serve, or that kill their workers."""

from typing import Final

from shared.lifecycle import JobState
from shared.moves import Claim, Move
from shared.settings import Settings
from worker.next_step.payment import NO_KEY_SECONDS

POISON: Final = "poison"
ABANDONED: Final = "the collection deadline passed, and no worker has this account's key"
_MAYBE_BOUGHT: Final = frozenset({JobState.SUBMITTING, JobState.IN_DOUBT})


def overdue(claim: Claim) -> Move:
    """End a queued job that is past its deadline."""
    note = "the deadline passed before anything was bought"
    return Move(claim, JobState.QUEUED, JobState.FAILED, code="deadline_exceeded", note=note)


def abandoned(claim: Claim, before: JobState) -> Move:
    """End a bought job that is long past its collection deadline and that no worker can serve."""
    return Move(claim, before, JobState.FAILED, code="never_finished", note=ABANDONED)


def without_key(claim: Claim) -> Move:
    """Pass a transferring job on to a worker that has its account's key."""
    here, note = JobState.TRANSFERRING, "no worker has the key"
    return Move(claim, here, here, 2 * NO_KEY_SECONDS, code="account_unauthorized", note=note)


def poisoned(settings: Settings, claim: Claim, before: JobState, *, crashes: int) -> Move:
    """End a job that killed worker after worker; hold it if it may have been bought."""
    note = f"{crashes} workers died while they had it in hand ({before})"
    if before in _MAYBE_BOUGHT:
        wait = settings.held_recheck_seconds
        return Move(claim, before, JobState.IN_DOUBT, wait, code=POISON, note=note, on_hold=True)
    return Move(claim, before, JobState.FAILED, code=POISON, note=note)
