"""Records images whose bytes lie in the bucket. This is evidence, so no epoch guards it; the purchase does.

A worker may be frozen between the bucket and PostgreSQL for as long as a person needs to buy its image again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import pauses
from shared.db.leaving import doomed
from shared.db.leaving.erase import NOT_ERASED
from shared.db.payments.placing import LEFT_OF_LINK, pass_over

# Only a failed image can be one of an erased job.
_PRIVATE: Final = (
    f"(image.state = 'failed' AND EXISTS (SELECT 1 FROM job WHERE job.id = image.job_id AND NOT {NOT_ERASED}))"
)
_OURS: Final = (
    "image.job_id = a.job_id AND image.index = a.index AND image.submission_id = a.submission_id "
    "AND image.upstream_id IS NOT DISTINCT FROM a.upstream_id"
)
_STORE = text(f"""
UPDATE image SET state = 'stored', link = {LEFT_OF_LINK}, error_code = NULL, error = NULL, short_sha256 = NULL,
  lacking_looks = 0, lacking_since = NULL, bucket = a.bucket, key = a.key,
  sha256 = a.sha256, bytes = a.bytes, content_type = a.content_type, width = a.width, height = a.height,
  stored_at = clock_timestamp()
FROM image AS before, unnest(
  CAST(:job_ids AS uuid[]), CAST(:indexes AS integer[]), CAST(:submission_ids AS uuid[]),
  CAST(:upstream_ids AS text[]), CAST(:bucket AS text[]), CAST(:key AS text[]),
  CAST(:sha256 AS bytea[]), CAST(:bytes AS bigint[]), CAST(:content_type AS text[]), CAST(:width AS integer[]),
  CAST(:height AS integer[])
) AS a (job_id, index, submission_id, upstream_id, bucket, key, sha256, bytes, content_type, width, height)
WHERE {_OURS} AND image.state <> 'stored' AND NOT {_PRIVATE}
  AND before.job_id = image.job_id AND before.index = image.index
RETURNING image.job_id, image.index, image.key, before.key AS replaced
""")
_ERASED = text(f"SELECT NOT {NOT_ERASED} FROM job WHERE id = :job_id FOR NO KEY UPDATE")
# A picture that a person accepted unverified may be less than what comes now.
_BESIDE = text("""
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, bucket, key, sha256, bytes, content_type,
  width, height, stored_at)
SELECT s.job_id, (SELECT max(i.index) + 1 FROM image i WHERE i.job_id = s.job_id), s.id, s.account,
  CASE WHEN NOT EXISTS (SELECT 1 FROM image i WHERE i.account = s.account AND i.upstream_id = :upstream_id)
    THEN CAST(:upstream_id AS text) END,
  'stored', :bucket, :key, :sha256, :bytes, :content_type, :width, :height, clock_timestamp()
FROM submission s WHERE s.id = :submission_id AND NOT EXISTS (
  SELECT 1 FROM image i WHERE i.job_id = s.job_id AND i.state = 'stored' AND (i.key = :key
    OR (i.submission_id = s.id AND i.upstream_id IS NOT DISTINCT FROM CAST(:upstream_id AS text)
      AND (i.index = :index OR i.upstream_id IS NOT NULL) AND i.key NOT LIKE 'unverified/%')))
""")
# Only the job's claimant may say that the image ends there.
_KEEP = text(f"""
UPDATE image SET bucket = a.bucket, key = a.key, sha256 = a.sha256, bytes = a.bytes, content_type = a.content_type,
  width = a.width, height = a.height, refused_sha256 = a.sha256
FROM (SELECT CAST(:job_id AS uuid) AS job_id, CAST(:index AS integer) AS index,
  CAST(:submission_id AS uuid) AS submission_id, CAST(:upstream_id AS text) AS upstream_id,
  CAST(:bucket AS text) AS bucket, CAST(:key AS text) AS key, CAST(:sha256 AS bytea) AS sha256,
  CAST(:bytes AS bigint) AS bytes, CAST(:content_type AS text) AS content_type, CAST(:width AS integer) AS width,
  CAST(:height AS integer) AS height) AS a, image AS before
WHERE {_OURS} AND image.state NOT IN ('stored', 'upstream_only') AND NOT {_PRIVATE}
  AND before.job_id = image.job_id AND before.index = image.index
RETURNING before.key AS replaced
""")
# A worker may die between the bucket and the image's row, and other bytes may come next.
_ANNOUNCE = text("""
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, state, state, 'evidence', 'result_unverified', :key FROM job WHERE id = :job_id
  AND NOT EXISTS (SELECT 1 FROM job_event WHERE job_id = :job_id AND code = 'result_unverified' AND note = :key)
""")
_NAMED = text("SELECT EXISTS (SELECT 1 FROM image WHERE job_id = :job_id AND key = :key AND bucket IS NOT NULL)")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where an image is stored and what it is; sizes in bytes and pixels, None if unknown."""

    bucket: str
    key: str
    sha256: bytes
    bytes: int
    content_type: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that lies in the bucket, and the purchase whose picture it is."""

    job_id: UUID
    index: int
    submission_id: UUID
    upstream_id: str | None
    place: StoredObject


def store(connection: Connection, stored: Sequence[StoredImage]) -> Sequence[None]:
    """Record that images are verified in the bucket.

    If another purchase has the image's row by now, the image gets a row of its own. If the job is erased, the image is
    deleted.
    """
    pauses.record_downloads(connection, [(one.job_id, one.index) for one in stored])
    columns = {item.name: [getattr(one.place, item.name) for one in stored] for item in fields(StoredObject)}
    parameters = {
        "job_ids": [one.job_id for one in stored],
        "indexes": [one.index for one in stored],
        "submission_ids": [one.submission_id for one in stored],
        "upstream_ids": [one.upstream_id for one in stored],
    }
    written = connection.execute(_STORE, {**parameters, **columns}).all()
    # What came of this picture before was damaged, and nothing names it any more.
    if replaced := [before for _job, _index, key, before in written if before not in {None, key}]:
        doomed.doom(connection, replaced)
    rows = {(job_id, index) for job_id, index, *_keys in written}
    for one in stored:
        if (one.job_id, one.index) not in rows:
            _store_beside(connection, one)
    return [None] * len(stored)


def _store_beside(connection: Connection, one: StoredImage) -> None:
    if _may_stay(connection, one):
        connection.execute(_BESIDE, _parameters(one))


def announce(connection: Connection, job_id: UUID, key: str) -> None:
    """Name on their job the bytes that are about to be stored unverified: whatever happens next, a person finds them.

    So does an erasure. Repeating it changes nothing.
    """
    connection.execute(_ANNOUNCE, {"job_id": job_id, "key": key})


def keep(connection: Connection, kept: StoredImage, *, is_image: bool = True) -> None:
    """Record that an image's bytes lie unverified in the bucket.

    If another purchase has the row, the object's key is recorded in the job's events instead; so is that of other bytes
    that were kept before. `is_image`: the bytes begin as an image, so downloads of this account succeed.
    """
    if is_image:
        pauses.record_downloads(connection, [(kept.job_id, kept.index)])
    doomed.gone(connection, [kept.place.key])
    written = connection.execute(_KEEP, _parameters(kept)).one_or_none()
    if written is not None:
        if written.replaced not in {None, kept.place.key}:
            pass_over(connection, [(kept.job_id, written.replaced)])
    elif _may_stay(connection, kept):
        pass_over(connection, [(kept.job_id, kept.place.key)])


def _may_stay(connection: Connection, one: StoredImage) -> bool:
    """Lock the image's job, and tell whether the object may stay although no row names it.

    The object of an erased job is marked for deletion.
    """
    erased = connection.execute(_ERASED, {"job_id": one.job_id}).scalar_one_or_none()
    if erased is None or connection.execute(_NAMED, {"job_id": one.job_id, "key": one.place.key}).scalar_one():
        return False
    if erased:
        doomed.doom(connection, [one.place.key])
    return not erased


def _parameters(one: StoredImage) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in ("job_id", "index", "submission_id", "upstream_id")}
    return {**named, **asdict(one.place)}
