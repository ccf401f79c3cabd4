"""Gives the images of an answer their rows. No picture that is, or may still be, collected loses its row to another.

A picture whose place is taken by a picture of another purchase gets a place of its own in the job.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.payments.answers import BoughtImage
from shared.lifecycle import ImageState
from shared.upstream_ids import LINK_MARK

GIVEN_UP: Final = "bought_again"
"""The code of an image that a person had bought again because it could not be collected."""
COPY_FAILED: Final = "(image.error_code LIKE 'result\\_%' OR image.error_code IN ('never_finished', 'upstream_gone'))"
"""SQL: the image was made as far as we know, and only collecting it failed."""
LINK_LIVES: Final = "(image.link IS NOT NULL AND coalesce(image.link_expires_at > now(), true))"
"""SQL: the image's link may still give it."""
LEFT_OF_LINK: Final = f"""CASE WHEN image.upstream_id IS NOT NULL AND EXISTS (
  SELECT 1 FROM image other WHERE other.job_id = image.job_id AND other.index <> image.index)
  THEN '{LINK_MARK}' || encode(sha256(convert_to(image.link, 'UTF8')), 'hex') END"""
"""SQL: what stays of the link of an image that is stored: where its job has others, the mark by which it is known."""
# Two late answers of one job must not choose the same place.
_LOCK_JOBS = text("""
SELECT id FROM job
WHERE id = ANY(ARRAY(SELECT job_id FROM submission WHERE id = ANY(CAST(:submissions AS uuid[]))))
ORDER BY id FOR NO KEY UPDATE
""")
_PLACES = text(f"""
SELECT me.id AS submission, image.job_id, image.index, image.upstream_id, image.state, image.key,
  image.submission_id = me.id AS own, owner.opened_at < me.opened_at AS older,
  image.upstream_id IS NOT NULL OR {LINK_LIVES} AS known,
  coalesce(image.error_code <> '{GIVEN_UP}'
    AND (image.key IS NOT NULL OR ({COPY_FAILED} AND (image.upstream_id IS NOT NULL OR {LINK_LIVES}))), false)
    AS collectable
FROM submission me JOIN image ON image.job_id = me.job_id JOIN submission owner ON owner.id = image.submission_id
WHERE me.id = ANY(CAST(:submissions AS uuid[]))
""")
# What was learned of one picture says nothing of another that takes its row.
_SAME: Final = (
    "image.submission_id = excluded.submission_id AND coalesce(image.upstream_id = excluded.upstream_id, true)"
)
_OF_ONE_PURCHASE: Final = (
    "refused_sha256",
    "short_sha256",
    "bucket",
    "key",
    "sha256",
    "bytes",
    "content_type",
    "width",
    "height",
    "stored_at",
)
_FORGET: Final = ", ".join(f"{name} = CASE WHEN {_SAME} THEN image.{name} END" for name in _OF_ONE_PURCHASE)
_IMAGES: Final = text(f"""
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, link, link_expires_at, error_code, error,
  stated_width, stated_height)
SELECT s.job_id, a.index, s.id, s.account, a.upstream_id, a.state, a.link, a.expires, a.code, a.note, a.width,
  a.height
FROM unnest(
  CAST(:submissions AS uuid[]), CAST(:indexes AS integer[]), CAST(:upstream_ids AS text[]), CAST(:states AS text[]),
  CAST(:links AS text[]),  CAST(:expires AS timestamptz[]), CAST(:codes AS text[]), CAST(:notes AS text[]),
  CAST(:widths AS integer[]), CAST(:heights AS integer[])
) AS a (submission, index, upstream_id, state, link, expires, code, note, width, height)
JOIN submission s ON s.id = a.submission
ON CONFLICT (job_id, index) DO UPDATE SET submission_id = excluded.submission_id, account = excluded.account,
  upstream_id = excluded.upstream_id, state = excluded.state, link = excluded.link,
  link_expires_at = excluded.link_expires_at, tries = 0, error_code = excluded.error_code, error = excluded.error,
  stated_width = excluded.stated_width, stated_height = excluded.stated_height,
  lacking_looks = 0, lacking_since = NULL, {_FORGET}
WHERE image.state NOT IN ('stored', 'upstream_only')
""")
# The bytes stay in the bucket: a person finds them by this, and so does an erasure.
_PASSED_OVER = text("""
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT job.id, job.epoch, job.state, job.state, 'evidence', :code, a.key
FROM unnest(CAST(:jobs AS uuid[]), CAST(:keys AS text[])) AS a (job_id, key) JOIN job ON job.id = a.job_id
ORDER BY job.id, a.key
""")


def insert_images(connection: Connection, bought: Mapping[UUID, Sequence[BoughtImage]]) -> None:
    """Write the images of submissions; what is or may still be collected of other purchases keeps its place."""
    bought = {one: images for one, images in bought.items() if images}
    if not bought:
        return
    submissions = {"submissions": list(bought)}
    connection.execute(_LOCK_JOBS, submissions)
    places = defaultdict[UUID, list[Any]](list)
    for place in connection.execute(_PLACES, submissions):
        places[place.submission].append(place)
    placed = {one: list(_placed(images, places[one])) for one, images in bought.items()}
    kept = [place for one, images in placed.items() for place in _kept_bytes(images, places[one])]
    pass_over(connection, [(place.job_id, place.key) for place in kept])
    _write(connection, [(one, image) for one, images in placed.items() for image in images])


def pass_over(connection: Connection, kept: Sequence[tuple[UUID, str]]) -> None:
    """Note on their jobs the keys of unverified images whose rows another purchase has."""
    if kept:
        jobs, keys = map(list, zip(*kept, strict=True))
        connection.execute(_PASSED_OVER, {"jobs": jobs, "keys": keys, "code": GIVEN_UP})


def _write(connection: Connection, rows: Sequence[tuple[UUID, BoughtImage]]) -> None:
    connection.execute(
        _IMAGES,
        {
            "submissions": [submission for submission, _ in rows],
            "indexes": [image.index for _, image in rows],
            "upstream_ids": [image.upstream_id for _, image in rows],
            "states": [image.state.value for _, image in rows],
            "links": [image.link for _, image in rows],
            "expires": [image.link_expires_at for _, image in rows],
            "codes": [image.error_code for _, image in rows],
            "notes": [image.error for _, image in rows],
            "widths": [image.stated and image.stated[0] for _, image in rows],
            "heights": [image.stated and image.stated[1] for _, image in rows],
        },
    )


def _placed(images: Sequence[BoughtImage], places: Sequence[Any]) -> Iterator[BoughtImage]:
    """Return the images, each with the index of its row. `places` are the rows that the job has.

    an image                                            gets
    whose id this purchase has a row for                that row
    meant for a row that no other picture needs         the row meant for it
    that failed, and names neither an id nor a link     no row
    any other                                           a row that no picture needs
    """
    own_index = {place.upstream_id: place.index for place in places if place.own and place.upstream_id}
    row_at = {place.index: place for place in places}
    in_use = {own_index[image.upstream_id] for image in images if image.upstream_id in own_index}
    vacant = _vacant_indexes(images, own_index, row_at)
    for image in images:
        if image.upstream_id in own_index:
            yield replace(image, index=own_index[image.upstream_id])
        elif image.index not in in_use and not _is_taken(row_at.get(image.index), image):
            yield image
        elif not _says_nothing(image):
            yield replace(image, index=next(vacant))


def _vacant_indexes(
    images: Sequence[BoughtImage], own_index: Mapping[str, int], row_at: Mapping[int, Any]
) -> Iterator[int]:
    """Return indexes that no picture needs: some that were meant for images of this answer, then new ones.

    An image that has a row elsewhere leaves the index that was meant for it.
    """
    left = [image.index for image in images if own_index.get(image.upstream_id or "", image.index) != image.index]
    vacant = [index for index in left if index not in row_at or _is_empty(row_at[index])]
    highest = max([*row_at, *(image.index for image in images)])
    return chain(vacant, count(highest + 1))


def _is_empty(place: Any) -> bool:
    """Tell whether a row is that of an image that failed and left nothing to collect."""
    return place.state == ImageState.FAILED and not (place.known or place.collectable)


def _is_taken(place: Any, image: BoughtImage) -> bool:
    """Tell whether a row belongs to another picture that this one must not replace.

    the row holds                                                    taken
    nothing, or this same picture                                    no
    a stored picture, or one that lies at the provider               yes
    an unfinished picture of this purchase; of another purchase      no; yes
    a failed picture that can still be collected                     yes
    a failed one that its provider knows, of an older purchase       no
    a failed one that its provider knows, of any other purchase      yes
    a failed one of which nothing is known                           no
    """
    if place is None or _is_same(place, image):
        return False
    if place.state != ImageState.FAILED:
        # The provider's own answer corrects an adoption that has not been collected.
        return not place.own or place.state in {ImageState.STORED, ImageState.UPSTREAM_ONLY}
    # A later purchase was made because the provider had said that the earlier one would not come.
    return bool(place.collectable or (place.known and not place.older))


def _is_same(place: Any, image: BoughtImage) -> bool:
    """Tell whether a row is that of this picture, as far as their ids show."""
    return place.own and (None in {place.upstream_id, image.upstream_id} or place.upstream_id == image.upstream_id)


def _says_nothing(image: BoughtImage) -> bool:
    return image.state is ImageState.FAILED and image.upstream_id is None and image.link is None


def _kept_bytes(images: Iterable[BoughtImage], places: Iterable[Any]) -> list[Any]:
    """Return the rows with unverified bytes that these images replace."""
    new = {image.index: image for image in images}
    replaced = [place for place in places if place.index in new]
    return [
        place
        for place in replaced
        if place.key and place.state == ImageState.FAILED and not _is_same(place, new[place.index])
    ]
