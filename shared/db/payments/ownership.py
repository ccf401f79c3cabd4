"""Ownership of upstream ids: an answer may name a known id, or more images than were asked for.

An image with a link is kept whatever its id, unless the answer repeats another one, links and all. Without a link, an
id of another job brings nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.payments.answers import Answer, BoughtImage
from shared.lifecycle import IMAGE_UNFINISHED, ImageState, Outcome
from shared.upstream_ids import folded

# Accounts of one key are one customer to the provider: what it sold to one of them is not another's.
_ONE_KEY: Final = "(s.account = me.account OR s.key_id = me.key_id)"
_NEIGHBOURS: Final = (
    "ARRAY(SELECT other.name FROM account mine JOIN account other USING (provider) WHERE mine.name = me.account)"
)
_OWNERS = text(f"""
WITH named AS MATERIALIZED (
  SELECT me.id AS submission, me.account, me.key_id, a.name, ARRAY[a.name, lower(a.name), upper(a.name)] AS spellings,
    {_NEIGHBOURS} AS accounts
  FROM unnest(CAST(:submissions AS uuid[]), CAST(:names AS text[])) AS a (id, name) JOIN submission me ON me.id = a.id
)
SELECT me.submission, me.name, i.job_id FROM named me
  JOIN image i ON i.account = ANY(me.accounts) AND i.upstream_id = ANY(me.spellings)
    AND i.submission_id <> me.submission
  JOIN submission s ON s.id = i.submission_id AND {_ONE_KEY}
UNION ALL
SELECT me.submission, me.name, s.job_id FROM named me
  JOIN submission s ON s.account = ANY(me.accounts) AND s.upstream_id = ANY(me.spellings) AND {_ONE_KEY}
    AND s.id <> me.submission
""")
_REPEATED = text(f"""
SELECT 1 FROM submission me JOIN submission s ON s.account = ANY({_NEIGHBOURS}) AND {_ONE_KEY}
  AND s.upstream_id = ANY(ARRAY[:name, lower(:name), upper(:name)]) AND s.reply_sha256 = :links AND s.id <> me.id
WHERE me.id = :id
""")
_UNOWNED = text("""
INSERT INTO unowned_image (account, upstream_id, made_at, note)
SELECT account, :id, now(), 'named beyond what was asked for in the answer to job ' || job_id
FROM submission WHERE id = :submission
ON CONFLICT DO NOTHING
""")
_TELL = text("""
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT job.id, job.epoch, job.state, job.state, s.sender, 'answer_odd', :note
FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :submission
""")
_MOST_UNOWNED: Final = 100
_NAMED: Final = 3


class OwnedElsewhereError(Exception):
    """All that an answer names belongs to other jobs: its purchase is unknown."""


def sort_out(connection: Connection, answers: Mapping[UUID, Answer]) -> dict[UUID, Answer]:
    """Return the part of each answer that can be recorded as its submission's, and note what was odd on the jobs.

    Raises `OwnedElsewhereError` if nothing is left of one.
    """
    theirs = _theirs(connection, {one: answer for one, answer in answers.items() if _bought(answer)})
    return {
        one: _sorted_out(connection, one, answer, theirs[one]) if _bought(answer) else answer
        for one, answer in answers.items()
    }


def _bought(answer: Answer) -> bool:
    return answer.outcome is Outcome.ACCEPTED


def _sorted_out(connection: Connection, submission_id: UUID, answer: Answer, theirs: dict[str, UUID]) -> Answer:
    _check_news(connection, submission_id, answer, theirs)
    answer = _own_first(answer, theirs)
    images = _own(answer.images, theirs)
    _check(answer.images, images, theirs)
    told = [*_told(theirs), *_beyond(answer)]
    _report(connection, submission_id, answer, theirs)
    if told:
        connection.execute(_TELL, {"submission": submission_id, "note": "; ".join(told)})
    upstream_id = None if answer.upstream_id in theirs else answer.upstream_id
    return replace(answer, upstream_id=upstream_id, images=tuple(images))


def _theirs(connection: Connection, answers: Mapping[UUID, Answer]) -> dict[UUID, dict[str, UUID]]:
    """Return which ids of each answer belong to another submission, with the other submission's job."""
    theirs: dict[UUID, dict[str, UUID]] = {one: {} for one in answers}
    named = [(one, name) for one, answer in answers.items() for name in sorted(answer.ids)]
    if named:
        submissions, names = map(list, zip(*named, strict=True))
        for row in connection.execute(_OWNERS, {"submissions": submissions, "names": names}):
            theirs[row.submission][row.name] = row.job_id
    return theirs


def _own_first(answer: Answer, theirs: dict[str, UUID]) -> Answer:
    """Return an answer in which no id of others, and no id a second time, has the place of a picture of its own."""
    seen, own, lost = set[str](), list[BoughtImage](), list[BoughtImage]()
    for image in (*answer.images, *answer.unowned):
        name = image.upstream_id
        known = name is not None and (name in theirs or folded(name) in seen)
        (lost if known and image.state in IMAGE_UNFINISHED else own).append(image)
        seen |= set() if name is None else {folded(name)}
    if not lost:
        return answer
    places = [image.index for image in (*answer.images, *answer.unowned)]
    dealt = [replace(image, index=index) for image, index in zip([*own, *lost], places, strict=True)]
    count = len(answer.images)
    return replace(answer, images=tuple(dealt[:count]), unowned=tuple(dealt[count:]))


def _own(images: Sequence[BoughtImage], theirs: dict[str, UUID]) -> list[BoughtImage]:
    """Return the pictures without ids of others; one that has nothing else to be found by has failed."""
    seen, found = set[str | None](), list[BoughtImage]()
    for image in images:
        name = image.upstream_id
        same = None if name is None else folded(name)
        if name is None or (name not in theirs and same not in seen):
            found.append(image)
        elif image.state in IMAGE_UNFINISHED:
            note = f"its id {name} is that of {f'job {theirs[name]}' if name in theirs else 'another image'}"
            found.append(BoughtImage(image.index, ImageState.FAILED, error_code="not_delivered", error=note))
        else:
            found.append(replace(image, upstream_id=None))
        seen.add(same)
    return found


def _check(named: Sequence[BoughtImage], kept: Sequence[BoughtImage], theirs: dict[str, UUID]) -> None:
    """Raise where the ids of others were all that an answer gave."""
    lost = [image.upstream_id for image in named if image.upstream_id in theirs and image.state in IMAGE_UNFINISHED]
    if lost and all(image.state is ImageState.FAILED for image in kept):
        whose = [f"{name}, which is job {theirs[name]}'s" for name in lost[:_NAMED] if name]
        raise OwnedElsewhereError(f"it names only {'; '.join(whose)}")


def _check_news(connection: Connection, submission_id: UUID, answer: Answer, theirs: dict[str, UUID]) -> None:
    """Raise where an answer repeats another call's, id and links: a cache gave it, and the pictures are others'."""
    name = answer.upstream_id
    if name is None or name not in theirs or answer.links_sha256 is None:
        return
    asked = {"id": submission_id, "name": name, "links": answer.links_sha256}
    if connection.execute(_REPEATED, asked).first() is not None:
        raise OwnedElsewhereError(f"it repeats the answer to job {theirs[name]}: its id {name}, and all of its links")


def _told(theirs: dict[str, UUID]) -> list[str]:
    if not theirs:
        return []
    named = ", ".join(f"{name} of job {job}" for name, job in list(theirs.items())[:_NAMED])
    more = f" and {len(theirs) - _NAMED} more" if len(theirs) > _NAMED else ""
    return [f"the answer names what belongs to others: {named}{more}; its links are kept without these ids"]


def _beyond(answer: Answer) -> list[str]:
    count = len(answer.unowned) + answer.left_out
    return [f"the answer names {count} more than can be this job's"] if count else []


def _report(connection: Connection, submission_id: UUID, answer: Answer, theirs: dict[str, UUID]) -> None:
    """List what came beyond what was asked for; what has no id is named by its place."""
    for number, image in enumerate(answer.unowned[:_MOST_UNOWNED]):
        name = image.upstream_id or f"{submission_id}/beyond/{number}"
        if name not in theirs:
            connection.execute(_UNOWNED, {"id": name, "submission": submission_id})
