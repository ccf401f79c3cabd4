"""Kept answers: their hash, size and place, and a person's request to read one again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.payments.placing import insert_images
from shared.db.payments.submissions import BoughtImage
from shared.db.waking import wake
from shared.lifecycle import JobState

# Lock the account's row before the submission's, in the order of a settlement.
_LARGEST = text("""
UPDATE account SET largest_reply = :length
WHERE largest_reply < :length AND name = (SELECT account FROM submission WHERE id = :id)
""")
_NOTE = text("""
UPDATE submission SET reply_sha256 = :sha256, reply_images = :images, kept_as = :kept_as WHERE id = :id
""")
_ROOM = text("SELECT largest_reply FROM account WHERE name = :account")
_SHA256 = text("SELECT encode(reply_sha256, 'hex') FROM submission WHERE id = :id")
_UNREAD = text("""
SELECT id, http_status, kept_as FROM submission
WHERE job_id = :job AND outcome = 'unknown' AND kept_as IS NOT NULL ORDER BY opened_at DESC LIMIT 1
""")
_KEPT = text("""
SELECT s.account, s.job_id, s.id AS submission_id FROM submission s JOIN job ON job.id = s.job_id
WHERE s.account = ANY(CAST(:accounts AS text[])) AND s.outcome = 'unknown' AND s.kept_as IS NOT NULL
  AND job.state = 'in_doubt'
ORDER BY s.opened_at DESC LIMIT :most
""")
_HAS_IMAGES = text("SELECT EXISTS (SELECT 1 FROM image WHERE submission_id = :id)")
_ALL_STORED = text("""
SELECT coalesce(reply_images, 0) <= (SELECT count(*) FROM image WHERE submission_id = :id AND state = 'stored')
FROM submission WHERE id = :id
""")
_LOOK = text(
    "UPDATE job SET due_at = now(), claimed_by = NULL, begun_together = NULL WHERE id = :id AND state = 'in_doubt'"
)
_STATE = text("SELECT state FROM job WHERE id = :id FOR UPDATE")
_WAITING = text("""
SELECT account, error_code, min(error) AS error, count(*) AS jobs FROM job
WHERE state IN ('queued', 'transferring') AND error_code IN ('spool_full', 'spool_unwritable', 'reply_damaged')
GROUP BY account, error_code ORDER BY account, error_code
""")


@dataclass(frozen=True, slots=True)
class Unread:
    """An answer that could not be read when it came, and lies in the bucket."""

    submission_id: UUID
    http_status: int
    kept_as: str


@dataclass(frozen=True, slots=True)
class KeptInDoubt:
    """A job in doubt whose call's answer is kept."""

    account: str
    job_id: UUID
    submission_id: UUID


def waiting(connection: Connection, accounts: Sequence[str], *, most: int) -> list[KeptInDoubt]:
    """Return the newest `most` of these accounts' jobs in doubt that have a kept answer."""
    rows = connection.execute(_KEPT, {"accounts": list(accounts), "most": most})
    return [KeptInDoubt(row.account, row.job_id, row.submission_id) for row in rows]


def note(
    connection: Connection, submission_id: UUID, *, sha256: str, length: int, images: int | None, kept_as: str | None
) -> None:
    """Record the hash and size of an answer that has arrived, and how many whole images are in it.

    `kept_as` is the address of one that could not be read. Safe to repeat.
    """
    connection.execute(_LARGEST, {"id": submission_id, "length": length})
    known = {"sha256": bytes.fromhex(sha256), "images": images, "kept_as": kept_as}
    connection.execute(_NOTE, {"id": submission_id, **known})


def largest(connection: Connection, account: str) -> int:
    """Return the bytes of the longest answer that the account ever got."""
    return int(connection.execute(_ROOM, {"account": account}).scalar_one_or_none() or 0)


def sha256_of(connection: Connection, submission_id: UUID) -> str | None:
    """Return the hash of the answer that arrived, in hexadecimal; None where it was not recorded."""
    found: str | None = connection.execute(_SHA256, {"id": submission_id}).scalar_one_or_none()
    return found


def unread(connection: Connection, job_id: UUID) -> Unread | None:
    """Return the job's newest answer that could not be read and was kept; None without."""
    row = connection.execute(_UNREAD, {"job": job_id}).one_or_none()
    return Unread(row.id, row.http_status or 200, row.kept_as) if row else None


def take_images(connection: Connection, submission_id: UUID, images: Sequence[BoughtImage]) -> bool:
    """Write the images of an attempt whose cost stays open; False where it has images already."""
    if connection.execute(_HAS_IMAGES, {"id": submission_id}).scalar_one():
        return False
    insert_images(connection, {submission_id: images})
    return True


def all_stored(connection: Connection, submission_id: UUID) -> bool:
    """Tell whether every whole image of a kept answer is stored by itself."""
    return bool(connection.execute(_ALL_STORED, {"id": submission_id}).scalar_one_or_none())


def look_again(connection: Connection, job_id: UUID) -> JobState | None:
    """Make a job in doubt due now: what is kept, and what its provider shows, is read again.

    Return its state, None if there is no such job.
    """
    found = connection.execute(_STATE, {"id": job_id}).scalar_one_or_none()
    if found is None:
        return None
    connection.execute(_LOOK, {"id": job_id})
    wake(connection)
    return JobState(found)


def waiting_for_room(connection: Connection) -> list[dict[str, Any]]:
    """Return how many jobs of each account wait because an answer cannot be kept, with the reason."""
    return [row._asdict() for row in connection.execute(_WAITING)]
