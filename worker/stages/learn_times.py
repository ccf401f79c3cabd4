"""Learns how long each model takes, from the last look that found a job open and the first that found it ready."""

from collections.abc import Sequence
from typing import Final

from shared.db.engine import Connection
from shared.db.jobs import model_times
from shared.db.jobs.model_times import Span
from shared.images import ClaimedImage
from shared.lifecycle import POLLED, JobState
from shared.moves import Move
from worker.runtime import Runtime
from worker.served_accounts import ServedAccount

_MOST_REMEMBERED: Final = 20_000
_UNSEEN_SHARE: Final = 0.5
"""If another worker looked before, this share of a job's age stands for the age at that look."""


def learn_times(
    connection: Connection,
    runtime: Runtime,
    account: ServedAccount,
    looked: Sequence[ClaimedImage],
    moves: Sequence[Move],
) -> None:
    """Note the looks that found `looked` open, and learn from those that found them ready; `moves` says which."""
    found: dict[str, list[Span]] = {}
    for job, step in zip(looked, moves, strict=True):
        if step.after in POLLED:
            _remember(runtime, job)
        elif step.after is JobState.TRANSFERRING:
            found.setdefault(job.model, []).append((_last_open(runtime, job), job.age_seconds))
    if found:
        runtime.learn(account.name, model_times.learn(connection, account.name, found))


def _remember(runtime: Runtime, job: ClaimedImage) -> None:
    if len(runtime.seen_open) >= _MOST_REMEMBERED:
        runtime.seen_open.clear()
    runtime.seen_open[job.claim.job_id] = job.age_seconds


def _last_open(runtime: Runtime, job: ClaimedImage) -> float:
    """Return the age at which a look last found the job open; 0 if this look was the first. It is then forgotten."""
    seen = runtime.seen_open.pop(job.claim.job_id, job.age_seconds * _UNSEEN_SHARE)
    return min(seen, job.age_seconds) if job.job_tries else 0.0
