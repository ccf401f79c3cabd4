"""Attempts to pay: the intent that opens one before a byte leaves, and the evidence that closes it, however late."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import accounts, ledger, slots
from shared.db.transitions import Claim, Move, move, release
from shared.lifecycle import ImageState, JobState, Outcome

_WANTED = text("""
SELECT job.id, job.epoch, job.batch_id, job.request, job.images, job.tries, array(
    SELECT i FROM generate_series(0, job.images - 1) i
    WHERE NOT EXISTS (SELECT 1 FROM image
      WHERE image.job_id = job.id AND image.index = i AND image.state IN ('stored', 'upstream_only'))
  ) AS missing
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
WHERE job.state = 'queued' AND job.claimed_by IS NOT NULL AND job.deadline_at > now()
  AND job.due_at > clock_timestamp()
ORDER BY job.priority DESC, job.turn
""")
_OPEN = text("""
INSERT INTO submission (id, job_id, epoch, account, sender, sender_lock, send_by, reserved, unit)
SELECT :id, :job_id, :epoch, name, :sender, :sender_lock, clock_timestamp() + :send_within * interval '1 second',
  :reserved, unit FROM account WHERE name = :account
""")
_LOCK = text("SELECT job_id, outcome, reserved FROM submission WHERE id = :id FOR UPDATE")
_CLOSE = text("""
UPDATE submission SET outcome = :outcome, answered_at = clock_timestamp(), http_status = :http_status,
  upstream_id = :upstream_id, error_code = :error_code, error = :error, settled = :settled
WHERE id = :id
""")
_IMAGES = text("""
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, link, link_expires_at, error_code, error)
SELECT s.job_id, a.index, s.id, s.account, a.upstream_id, a.state, a.link, a.expires, a.code, a.note
FROM submission s, unnest(
  CAST(:indexes AS integer[]), CAST(:upstream_ids AS text[]), CAST(:states AS text[]), CAST(:links AS text[]),
  CAST(:expires AS timestamptz[]), CAST(:codes AS text[]), CAST(:notes AS text[])
) AS a (index, upstream_id, state, link, expires, code, note)
WHERE s.id = :submission
ON CONFLICT (job_id, index) DO UPDATE SET submission_id = excluded.submission_id, upstream_id = excluded.upstream_id,
  state = excluded.state, link = excluded.link, link_expires_at = excluded.link_expires_at, tries = 0,
  error_code = excluded.error_code, error = excluded.error
WHERE image.state NOT IN ('stored', 'upstream_only')
""")
_DUE_NOW = text("""
UPDATE job SET due_at = now(), claimed_by = NULL WHERE id = :id AND state IN ('submitting', 'in_doubt')
""")
_STATE = text("""
SELECT state FROM job WHERE id = :job AND epoch = :epoch AND claimed_by IS NOT NULL FOR UPDATE
""")
_LATEST = """
SELECT id, outcome, error_code, error, sender, (SELECT batch_id FROM job WHERE job.id = job_id) AS batch_id
FROM submission WHERE job_id = :job ORDER BY opened_at DESC LIMIT 1
"""
_LATEST_READ = text(_LATEST)
_LATEST_LOCK = text(_LATEST + " FOR UPDATE")
_REFUSALS = text("""
SELECT count(*) FROM submission WHERE job_id = :job AND outcome = 'rejected' AND error_code = :code
""")
_IS_OPEN = text("SELECT 1 FROM submission WHERE id = :id AND outcome IS NULL")

_ASKED = text("""
SELECT s.job_id, s.account, job.request, array(
    SELECT i FROM generate_series(0, job.images - 1) i
    WHERE NOT EXISTS (SELECT 1 FROM image
      WHERE image.job_id = job.id AND image.index = i AND image.state IN ('stored', 'upstream_only'))
  ) AS missing
FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :id
""")

Request = dict[str, Any]
_UNSPENT = (JobState.QUEUED,)


@dataclass(frozen=True, slots=True)
class Intent:
    """An open submission: its sender, and nobody else, may now pay for it once."""

    submission_id: UUID
    claim: Claim
    batch_id: UUID
    request: Request
    missing: tuple[int, ...]
    """The indexes of the images that this payment buys."""
    tries: int


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pays: the worker, and the session lock whose release proves it gone."""

    name: str
    lock_key: int


@dataclass(frozen=True, slots=True)
class BoughtImage:
    """One picture that an accepted submission bought, as the provider described it."""

    index: int
    state: ImageState
    upstream_id: str | None = None
    link: str | None = None
    link_expires_at: datetime | None = None
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt to pay. `settled` is the provider's own figure, where it gave one."""

    outcome: Outcome
    http_status: int | None = None
    upstream_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    settled: Decimal | None = None
    images: tuple[BoughtImage, ...] = field(default=())


def open_for(  # noqa: PLR0913 - who pays, for what, at which price, and until when
    connection: Connection,
    account: str,
    wanted: Mapping[Claim, UUID],
    *,
    sender: Sender,
    price: Callable[[Request, int], Decimal | None],
    send_within_seconds: float,
    lease_seconds: float,
) -> list[Intent]:
    """Write the intents for as many of `wanted` as the account allows now, and release the others unspent.

    In one transaction under the account's lock: `queued` becomes `submitting`, the submission exists, the rate slot is
    taken and the price reserved. `wanted` gives each claim the id of its submission to be, so that whoever lost this
    commit's answer can `take_back` exactly its own. `price(request, count)` gives an upper bound in the account's unit,
    or None.
    """
    locked = accounts.lock(connection, account, wait=True)
    if locked is None or not locked.may_pay:
        # Due at once: the dispatcher looks at the account first, and in line nobody passes them.
        release(connection, wanted, states=_UNSPENT, due_seconds=0 if locked else 30)
        return []
    space = slots.room(connection, account, locked.windows)
    parameters = {"ids": [c.job_id for c in wanted], "epochs": [c.epoch for c in wanted]}
    rows = connection.execute(_WANTED, parameters).all()
    now, later = rows[: space.free], rows[space.free :]
    release(connection, [Claim(row.id, row.epoch) for row in later], states=_UNSPENT)
    intents = [
        Intent(wanted[claim], claim, row.batch_id, row.request, tuple(row.missing), row.tries)
        for row in now
        for claim in [Claim(row.id, row.epoch)]
    ]
    moves = [
        Move(
            intent.claim,
            JobState.QUEUED,
            JobState.SUBMITTING,
            lease_seconds,
            tries=intent.tries,
            keep_claim=True,
        )
        for intent in intents
    ]
    moved = move(connection, moves, actor=sender.name)
    intents = [intent for intent in intents if intent.claim.job_id in moved]
    for intent in intents:
        reserved = price(intent.request, len(intent.missing))
        _open(connection, account, intent, sender, reserved, send_within_seconds)
    slots.take(connection, account, "submit", len(intents))
    return intents


def _open(
    connection: Connection,
    account: str,
    intent: Intent,
    sender: Sender,
    reserved: Decimal | None,
    send_within_seconds: float,
) -> None:
    connection.execute(
        _OPEN,
        {
            "id": intent.submission_id,
            "job_id": intent.claim.job_id,
            "epoch": intent.claim.epoch,
            "account": account,
            "sender": sender.name,
            "sender_lock": sender.lock_key,
            "send_within": send_within_seconds,
            "reserved": reserved,
        },
    )
    ledger.reserve(connection, intent.submission_id, reserved)


def record(connection: Connection, submission_id: UUID, answer: Answer) -> bool:
    """Write what became of a submission, whatever the job's epoch; False where a better answer is known already.

    Evidence may come late: it replaces `unknown`, never an answer the provider itself gave.
    """
    row = connection.execute(_LOCK, {"id": submission_id}).one()
    before = Outcome(row.outcome) if row.outcome else None
    if before not in {None, Outcome.UNKNOWN} or before is answer.outcome:
        return False
    settled = answer.settled if answer.settled is not None else row.reserved
    connection.execute(
        _CLOSE,
        {
            "id": submission_id,
            "outcome": answer.outcome.value,
            "http_status": answer.http_status,
            "upstream_id": answer.upstream_id,
            "error_code": answer.error_code,
            "error": answer.error,
            "settled": settled if answer.outcome is Outcome.ACCEPTED else None,
        },
    )
    ledger.close(connection, submission_id, before=before, after=answer.outcome, reserved=row.reserved, settled=settled)
    if answer.images:
        _insert_images(connection, submission_id, answer.images)
    return True


def asked_by(connection: Connection, submission_id: UUID) -> Any:
    """Return what a submission asked for: job_id, account, request, missing; None where there is no such submission."""
    return connection.execute(_ASKED, {"id": submission_id}).one_or_none()


def due_now(connection: Connection, job_id: UUID) -> None:
    """Have the job looked at at once: evidence arrived that its sender could no longer act on."""
    connection.execute(_DUE_NOW, {"id": job_id})


def take_back(connection: Connection, account: str, wanted: Mapping[Claim, UUID], *, note: str, actor: str) -> None:
    """Undo the intents of an `open_for` whose commit was not confirmed; only their sender knows that nothing left."""
    # A commit whose answer was lost may still be under way; it holds this lock until it is done.
    accounts.lock(connection, account, wait=True)
    release(connection, wanted, states=_UNSPENT, due_seconds=1.0)
    for claim, submission_id in wanted.items():
        if connection.execute(_IS_OPEN, {"id": submission_id}).one_or_none() is None:
            continue
        record(connection, submission_id, Answer(Outcome.NOT_SENT, error_code="provider_unreachable", error=note))
        move(connection, [Move(claim, JobState.SUBMITTING, JobState.QUEUED, 1.0, note=note)], actor=actor)


def state_of(connection: Connection, claim: Claim) -> JobState | None:
    """Lock the claimed job and return its state; None where the claim no longer holds."""
    parameters = {"job": claim.job_id, "epoch": claim.epoch}
    state = connection.execute(_STATE, parameters).scalar_one_or_none()
    return JobState(state) if state else None


def refusals(connection: Connection, job_id: UUID, code: str) -> int:
    """Return how often a job was refused with this code."""
    return int(connection.execute(_REFUSALS, {"job": job_id, "code": code}).scalar_one())


def latest(connection: Connection, job_id: UUID, *, lock: bool = False) -> Any:
    """Return the job's newest submission: id, outcome, error_code, error, sender; None where it has none.

    With `lock`, its evidence cannot change until this transaction ends. Lock it before the job: a sender does too.
    """
    return connection.execute(_LATEST_LOCK if lock else _LATEST_READ, {"job": job_id}).one_or_none()


def _insert_images(connection: Connection, submission_id: UUID, images: Sequence[BoughtImage]) -> None:
    connection.execute(
        _IMAGES,
        {
            "submission": submission_id,
            "indexes": [image.index for image in images],
            "upstream_ids": [image.upstream_id for image in images],
            "states": [image.state.value for image in images],
            "links": [image.link for image in images],
            "expires": [image.link_expires_at for image in images],
            "codes": [image.error_code for image in images],
            "notes": [image.error for image in images],
        },
    )
