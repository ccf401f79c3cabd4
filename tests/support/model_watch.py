"""What must hold of every job after every step, read from the rows alone."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from shared.lifecycle import FINAL, IMAGE_FINAL, TRANSITIONS, ImageState, JobState

_JOBS = text("""
SELECT job.id, job.state, job.epoch, job.due_at, job.finished_at, job.claimed_by, job.error_code, job.images AS asked,
  job.due_at <= now() AS due,
  (SELECT count(*) FROM submission s WHERE s.job_id = job.id AND s.outcome IS NULL) AS open,
  (SELECT outcome FROM submission s WHERE s.job_id = job.id ORDER BY opened_at DESC LIMIT 1) AS latest,
  (SELECT array_agg(i.state ORDER BY i.index) FROM image i WHERE i.job_id = job.id) AS images,
  (SELECT count(*) FROM unowned_image JOIN image i USING (account, upstream_id) WHERE i.job_id = job.id) AS unowned
FROM job ORDER BY id
""")
_EVENTS = text("SELECT * FROM job_event WHERE id > :last ORDER BY id")
_STORED = text("SELECT job_id, index, key, sha256 FROM image WHERE state = 'stored'")
_BOUGHT = {JobState.PENDING, JobState.PROCESSING, JobState.TRANSFERRING}
_HELD = {JobState.SUBMITTING, JobState.IN_DOUBT}


class Watch:
    """Remembers what it saw, so that what may only grow is seen to grow."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._event = 0
        self._told: dict[UUID, JobState] = {}
        self._epochs: dict[UUID, int] = {}
        self._stored: dict[tuple[UUID, int], Any] = {}

    def look(self) -> list[Any]:
        """Check every job and return the rows."""
        self._follow_events()
        jobs = list(self._connection.execute(_JOBS).all())
        for job in jobs:
            self._check(job)
        self._keep_stored()
        return jobs

    def _follow_events(self) -> None:
        for event in self._connection.execute(_EVENTS, {"last": self._event}).all():
            before, after = JobState(event.from_state), JobState(event.to_state)
            assert before is self._told.get(event.job_id, JobState.QUEUED), "an event is missing"
            assert after in TRANSITIONS[before] or (before is after and event.code == "cancel_requested")
            self._event, self._told[event.job_id] = event.id, after

    def _check(self, job: Any) -> None:
        state = JobState(job.state)
        assert state is self._told.get(job.id, JobState.QUEUED), "a job moved without an event"
        assert job.epoch >= self._epochs.get(job.id, 0)
        self._epochs[job.id] = job.epoch
        assert (job.finished_at is not None) == (job.due_at is None) == (state in FINAL)
        assert state not in {JobState.FAILED, JobState.IN_DOUBT} or job.error_code
        assert job.open == 0 if state is not JobState.SUBMITTING else job.open <= 1
        if state is JobState.SUBMITTING and not job.open:
            assert job.due or job.claimed_by, "evidence was recorded, and nobody looks"
        if state in _BOUGHT:
            assert job.images, "a bought job has pictures"
        if state is JobState.SUCCEEDED:
            assert job.images.count(ImageState.STORED) >= job.asked

    def _keep_stored(self) -> None:
        stored = self._connection.execute(_STORED)
        found: dict[tuple[UUID, int], Any] = {(row.job_id, row[1]): (row.key, row.sha256) for row in stored}
        assert found.items() >= self._stored.items(), "a stored picture was lost"
        self._stored = found


def waits_in_vain(job: Any) -> bool:
    """Whether a job has a picture that was paid for and is not final, and nothing that would bring it by itself."""
    if all(ImageState(state) in IMAGE_FINAL for state in job.images or ()):
        return False
    state = JobState(job.state)
    return state not in _BOUGHT and not (state in _HELD and (job.due or job.claimed_by))
