"""A row that comes alone, in one statement. Its account is chosen from facts that are at most a second old.

`singles` adds rows of several callers together; this serves one caller who gives rows one by one. It takes no batch's
turn. It may wait for a file that holds a row of the same name, and holds nothing that the file
could wait for.
"""

import time
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.dealing import Dealing, dealing
from shared.db.jobs.enqueue import EnqueueConflictError, Enqueued, rotation_start
from shared.db.jobs.insert_rows import JobTimes, LineEnd, NewJob, Place, RowInsertion

_BATCH: Final = text("SELECT id FROM batch WHERE name = :name")
_BATCHES_KEPT: Final = 1_000
_DEAL_SECONDS: Final = 1.0  # for that long, a row may still go to an account that was just paused


class RecentPlaces:
    """The ids of batches, and, at most a second old, the accounts that take new jobs and where their lines begin.

    Threads may share it. A batch's id is kept for longer: a row for a batch that has left is refused by its foreign
    key.
    """

    def __init__(self) -> None:
        self._batches: dict[str, UUID] = {}
        self._dealt: tuple[float, Dealing] | None = None
        self._starts: dict[Place, int] = {}

    def batch(self, connection: Connection, name: str) -> UUID | None:
        """Return the id of a batch; None if there is none."""
        found = self._batches.get(name) or connection.execute(_BATCH, {"name": name}).scalar()
        if found is not None:
            self.keep(name, found)
        return found

    def keep(self, name: str, batch_id: UUID) -> None:
        """Keep a batch's id."""
        if len(self._batches) >= _BATCHES_KEPT:
            self._batches.clear()
        self._batches[name] = batch_id

    def forget(self, name: str) -> None:
        """Forget a batch, which may have left, and the accounts, to which one may be added."""
        self._batches.pop(name, None)
        self._dealt = None

    def dealing(self, connection: Connection) -> Dealing:
        """Return the rule by which jobs are shared now."""
        at, dealt = self._dealt or (float("-inf"), None)
        if dealt is None or time.monotonic() - at >= _DEAL_SECONDS:
            at, dealt = self._dealt = time.monotonic(), dealing(connection)
            self._starts = {}
        return dealt

    def starts(self) -> dict[Place, int]:
        """Return where lines begin that rows joined since the accounts were read."""
        return dict(self._starts)

    def found(self, starts: Mapping[Place, int]) -> None:
        """Keep where lines begin. To find it takes milliseconds where the first 100,000 jobs of a line are not due."""
        self._starts = {**self._starts, **starts}


def add(connection: Connection, places: RecentPlaces, batch: str, job: NewJob, times: JobTimes) -> Enqueued | None:
    """Add one row to a batch that is there; None, and nothing done, where the batch or the account must be made first.

    Raises `EnqueueConflictError` if its custom_id stands for another request. A row of a batch that has left violates a
    foreign key (`is_violation`). A row whose name another transaction is adding ends in a lock timeout
    (`is_kept_waiting`).
    """
    batch_id = places.batch(connection, batch)
    dealt = places.dealing(connection)
    if batch_id is None or job.provider not in dealt.known:
        places.forget(batch)
        return None
    insertion = RowInsertion(batch_id, LineEnd(times, places.starts()))
    insertion.add(connection, [(job, dealt.account(job.provider, rotation_start()))])
    places.found(insertion.line.starts)
    if insertion.conflicts:
        raise EnqueueConflictError(batch, insertion.conflicts)
    return Enqueued(batch_id, insertion.given, insertion.added)
