"""A claim on a job, and a requested move: the types that decisions and writes share."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.lifecycle import FINAL, JobState, check_transition


@dataclass(frozen=True, slots=True)
class Claim:
    """A job as a message names it. A claim with another epoch moves nothing."""

    job_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Move:
    """One requested transition.

    `due_seconds` from now, a worker must look again; None exactly if `after` is final. `tries` counts the looks or
    failures in a row; the next backoff depends on it. `keep_claim` makes the actor the claimant: it keeps the job while
    the lease runs, and the job is free at once when that worker is gone. `on_hold` leaves the job to a person: out of
    the line if it is queued, held if it is in doubt. `needs_claim` moves the job only while it is claimed: two polls of
    one claim must not both act on their results.
    """

    claim: Claim
    before: JobState
    after: JobState
    due_seconds: float | None = None
    code: str | None = None
    note: str | None = None
    tries: int = 0
    keep_claim: bool = False
    link_expires_at: datetime | None = None
    on_hold: bool = False
    needs_claim: bool = False

    def __post_init__(self) -> None:
        check_transition(self.before, self.after)
        if (self.due_seconds is None) != (self.after in FINAL):
            raise ValueError(f"{self.after} {'has no' if self.after in FINAL else 'needs a'} due time")
