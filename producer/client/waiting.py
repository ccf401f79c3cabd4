"""The part of a `Client` that says why jobs wait."""

from collections.abc import Sequence
from uuid import UUID

from producer.client.connection import Connected
from shared.db.read import job_details, pages, usual, waits
from shared.db.read.pages import Row
from shared.db.read.status import QueueStatus, status
from shared.db.read.usual import Usual
from shared.db.read.waits import BatchWait
from shared.wait_facts import Wait


class Waiting(Connected):
    """Why jobs wait, and how the whole queue is."""

    def why(self, job_id: UUID) -> Wait | None:
        """Return why a job waits; None if it has ended."""
        with self._connection() as connection:
            return waits.of_job(connection, job_id)

    def why_each(self, job_ids: Sequence[UUID]) -> dict[UUID, Wait]:
        """Return why each of some jobs waits, a thousand at a time; those that have ended are left out."""
        found: dict[UUID, Wait] = {}
        for start in range(0, len(job_ids), pages.SIZE):
            with self._connection() as connection:
                found |= waits.of_jobs(connection, job_ids[start : start + pages.SIZE])
        return found

    def details(self, job_ids: Sequence[UUID]) -> dict[UUID, Row]:
        """Return by job its account, model, images, cost, unit and the prompt's beginning, a thousand at a time."""
        found: dict[UUID, Row] = {}
        for start in range(0, len(job_ids), pages.SIZE):
            with self._connection() as connection:
                found |= job_details.of_jobs(connection, job_ids[start : start + pages.SIZE])
        return found

    def waits(self, batch: str) -> list[BatchWait]:
        """Return why the jobs of `batch` wait, judged by the oldest jobs of each state; empty if none waits."""
        with self._connection() as connection:
            return waits.of_batch(connection, batch)

    def usual(self) -> list[Usual]:
        """Return how long each account's calls and pictures took lately, in seconds."""
        with self._connection() as connection:
            return usual.usual(connection)

    def status(self) -> QueueStatus:
        """Return the state of the whole queue; `shared.problems.problems` says what is wrong with it."""
        with self._connection() as connection:
            return status(connection)
