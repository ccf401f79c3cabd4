"""Records the evidence that an earlier process could not commit, from this host's disk or from the bucket."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import structlog

from shared.db.engine import Connection
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.db.waking import wake
from shared.lifecycle import Outcome
from worker.evidence.committer import NotCommittedError
from worker.evidence.evidence_files import key_of
from worker.runtime import Runtime
from worker.transport.storage_errors import StorageError

_log = structlog.get_logger(__name__)


class NoSuchSubmissionError(Exception):
    """The database does not know the submission. The evidence belongs to another database, and stays."""


async def recommit_leftovers(runtime: Runtime) -> None:
    """Commit the evidence of earlier processes of this host. What the database refuses stays for the next start."""
    left = await runtime.in_thread(runtime.evidence.leftovers)
    async with anyio.create_task_group() as group:
        for submission_id in left:
            group.start_soon(_recommit_from_disk, runtime, submission_id)


async def recommit_for(runtime: Runtime, submission: Any) -> None:
    """Commit the kept evidence of a submission that is open or in doubt, if there is any; raises no `StorageError`."""
    if submission is None or submission.outcome not in {None, Outcome.UNKNOWN.value}:
        return
    if await _recommit_from_disk(runtime, submission.id) or submission.outcome is None:
        return
    with suppress(StorageError):
        answer = await runtime.in_thread(runtime.evidence.in_bucket, submission.id)
        if answer is not None:
            await _recommit(runtime, submission.id, answer, key_of(submission.id))


async def _recommit_from_disk(runtime: Runtime, submission_id: UUID) -> bool:
    answer = await runtime.in_thread(runtime.evidence.on_disk, submission_id)
    if answer is not None:
        await _recommit(runtime, submission_id, answer, str(runtime.evidence.path(submission_id)))
    return answer is not None


async def _recommit(runtime: Runtime, submission_id: UUID, answer: Answer, place: str) -> None:
    trying = runtime.evidence.trying
    if submission_id in trying:
        return
    trying.add(submission_id)
    kept = runtime.evidence.of(submission_id, answer, place=place)
    try:
        await runtime.write_kept(kept, _record, submission_id, answer, runtime.sender.name)
    except NotCommittedError:
        _log.warning("evidence_waits", submission=str(submission_id))
    except Exception as error:  # noqa: BLE001 - it stays where it lies; the others must not wait for it
        trying.discard(submission_id)
        _log.error("evidence_stays", submission=str(submission_id), error=type(error).__name__)
    else:
        _log.info("evidence_committed", submission=str(submission_id))


def _record(connection: Connection, submission_id: UUID, answer: Answer, actor: str) -> None:
    """Record the evidence even if the job has moved meanwhile. A better known answer takes precedence."""
    asked = submissions.asked_by(connection, submission_id)
    if asked is None:
        raise NoSuchSubmissionError
    if submissions.record(connection, submission_id, answer):
        submissions.follow_late(connection, asked.job_id, submission_id, actor=actor)
        wake(connection)
