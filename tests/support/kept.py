"""Whether an answer that carries images lies in the bucket."""

from uuid import UUID

from worker.evidence.replies import key_of
from worker.transport.storage import Storage


def in_bucket(storage: Storage, submission_id: UUID) -> bool:
    return storage.head(key_of(submission_id)) is not None
