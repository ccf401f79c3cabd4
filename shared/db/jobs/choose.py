"""A person says which pictures at the provider a lost call bought: the job then collects these, free."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import accounts
from shared.db.jobs.resolve import NotHeldError
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.lost_calls import candidates, lost_calls
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer, BoughtImage
from shared.db.waking import wake
from shared.lifecycle import ImageState, JobState, Outcome

CODE: Final = "answer_found"
_HELD = text("SELECT epoch, state FROM job WHERE id = :id FOR UPDATE")
# It may have been held until after its collection deadline.
_COLLECT = text("UPDATE job SET collect_until = greatest(collect_until, now() + interval '1 day') WHERE id = :id")


class NotACandidateError(ValueError):
    """This picture cannot be what the call bought; the message says why."""


class OpenChoice(NamedTuple):
    """What may be chosen for a job's lost call: pictures of the provider's list, and how many the call asked for."""

    submission_id: UUID
    account: str
    candidates: list[str]
    wanted: int
    reserved: Decimal | None
    """What its account's price for the call is, in `unit`; None if unknown."""
    unit: str


def open_choice(connection: Connection, job_id: UUID) -> OpenChoice:
    """Return what may be chosen; changes nothing. Raises `NotHeldError`."""
    found = submissions.latest(connection, job_id)
    if found is None or found.outcome is not Outcome.UNKNOWN:
        raise NotHeldError("the job has no lost call: there is nothing to choose")
    asked = submissions.asked_by(connection, found.id)
    listed = candidates.choices(connection, found.id)
    taken = lost_calls.owned(connection, found.account, listed)
    left = [one for one in listed if one not in taken]
    return OpenChoice(found.id, found.account, left, len(asked.missing), found.reserved, found.unit)


def choose(
    connection: Connection, job_id: UUID, upstream_ids: Sequence[str], *, charged: Decimal | None, actor: str
) -> str:
    """Take these pictures as what the job's lost call bought, and return the job's new state.

    `charged` is what the provider's history shows for the call; None: the price that was set aside. Raises
    `NotHeldError`, and `NotACandidateError` for a picture that no look showed for this call, or that has an owner.
    """
    account = open_choice(connection, job_id).account
    # The locks of a look, in its order: two calls must not take the same picture.
    lost_calls.lock(connection, account)
    accounts.lock(connection, account, wait=True)
    submissions.latest(connection, job_id, lock=True)
    row = connection.execute(_HELD, {"id": job_id}).one()
    if row.state != JobState.IN_DOUBT:
        raise NotHeldError(f"the job is {row.state}, not in doubt: there is nothing to choose")
    choice = open_choice(connection, job_id)
    _check(choice, upstream_ids)
    submissions.record(connection, choice.submission_id, _answer(connection, choice, upstream_ids, charged))
    note = f"a person chose {', '.join(upstream_ids)} as what the lost call bought"
    move(
        connection,
        [Move(Claim(job_id, row.epoch), JobState.IN_DOUBT, JobState.PENDING, 0, code=CODE, note=note)],
        actor=actor,
    )
    connection.execute(_COLLECT, {"id": job_id})
    wake(connection)
    return str(connection.execute(_HELD, {"id": job_id}).one().state)


def _check(choice: OpenChoice, upstream_ids: Sequence[str]) -> None:
    if not upstream_ids or len(set(upstream_ids)) != len(upstream_ids):
        raise NotACandidateError("name each picture once, one at least")
    if len(upstream_ids) > choice.wanted:
        raise NotACandidateError(f"the call asked for {choice.wanted}, and {len(upstream_ids)} are named")
    for one in upstream_ids:
        if one not in choice.candidates:
            raise NotACandidateError(f"{one[:80]!r} is none of the pictures that may be this call's, or has an owner")


def _answer(connection: Connection, choice: OpenChoice, upstream_ids: Sequence[str], charged: Decimal | None) -> Answer:
    missing = submissions.asked_by(connection, choice.submission_id).missing
    named = [*upstream_ids, *[None] * (len(missing) - len(upstream_ids))]
    images = tuple(_image(index, one) for index, one in zip(missing, named, strict=True))
    return Answer(Outcome.ACCEPTED, upstream_id=upstream_ids[0], settled=charged, images=images, inferred=True)


def _image(index: int, upstream_id: str | None) -> BoughtImage:
    if upstream_id is None:
        note = "no picture was chosen for it"
        return BoughtImage(index, ImageState.FAILED, error_code="not_delivered", error=note)
    return BoughtImage(index, ImageState.PENDING, upstream_id)
