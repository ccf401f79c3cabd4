"""Pruning and erasing from Python: what pruning would do, pruning now, and erasing personal data of ended jobs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from producer.client.bulk import Bulk, Done
from shared.db.engine import Connection, DatabaseUnavailableError
from shared.db.jobs import bulk
from shared.db.jobs.bulk import BulkPlan, Target
from shared.db.leaving import doomed, erase
from shared.db.leaving import prune as pruning
from shared.db.leaving.prune import PruneCursor, PruneOutlook
from shared.retention import STATES, parse_retention

_BUSY_SECONDS: Final = 0.2
_TRIES: Final = 50


class BusyError(Exception):
    """Other processes prune or hold the same rows for longer than usual. Finished parts stay done."""


class Pruned(NamedTuple):
    """How many jobs left, by their state, and how many batches."""

    jobs: dict[str, int]
    batches: int


class Leaving(Bulk):
    """The part of a `Client` that prunes and erases."""

    def prune_outlook(self) -> PruneOutlook:
        """Return what pruning by the settings would do now, what stays and why; changes nothing."""
        with self._connection() as connection:
            return pruning.outlook(connection, parse_retention(self.settings.retention), STATES)

    def prune(self) -> Pruned:
        """Delete every job that may leave by the settings, a few hundred per transaction. Raises `BusyError`."""
        retention = parse_retention(self.settings.retention)
        jobs: dict[str, int] = {}
        for state in retention:
            cursor = PruneCursor(state)
            while not cursor.done:
                some = partial(pruning.prune_jobs, cursor=cursor, retention=retention)
                jobs[state] = jobs.get(state, 0) + self._in_turn(some)
        batches = 0
        while retention and (left := self._in_turn(partial(pruning.prune_batches, retention=retention))):
            batches += left
        return Pruned(jobs, batches)

    def plan_erase(self, *, job: UUID | None = None, batch: str | None = None, results: bool = False) -> BulkPlan:
        """Return the jobs that would be erased, and those that cannot be yet; changes nothing.

        With `results` the stored images are erased too. Raises `NoSuchBatchError`, and `ValueError` if nothing is
        named.
        """
        with self._connection() as connection:
            return erase.plan(connection, self._which(connection, batch, None, None, job), results=results)

    def carry_out_erase(self, plan: BulkPlan) -> Done:
        """Erase the jobs of a plan of `plan_erase` that have not changed; a worker deletes their objects."""

        def act(connection: Connection, shown: Sequence[Target]) -> Counter[str]:
            results = plan.act == erase.RESULTS
            return Counter({plan.act: erase.carry_out(connection, shown, results=results, actor="person")})

        return self._in_chunks(plan.targets, act)

    def doomed_objects(self) -> tuple[int, str | None]:
        """Return how many objects still wait for deletion, and why one of them could not be deleted yet."""
        with self._connection() as connection:
            return doomed.waiting(connection)

    def _in_turn(self, work: Callable[[Connection], int]) -> int:
        """Do `work` in a transaction when nobody else prunes and nobody holds its rows."""
        for _ in range(_TRIES):
            try:
                with self._connection() as connection:
                    if pruning.take_turn(connection):
                        return work(connection)
            except DatabaseUnavailableError as error:
                if not bulk.locked_out(error):
                    raise
            time.sleep(_BUSY_SECONDS)
        raise BusyError("workers prune, or hold the same rows, for longer than usual: run the same command again")
