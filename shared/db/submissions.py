"""Attempts to pay: the evidence that closes each, however late; `intents` opens them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import ledger
from shared.db.transitions import Claim, Move, move
from shared.lifecycle import ImageState, JobState, Outcome

MISSING: Final = """array(
    SELECT i FROM generate_series(0, job.images - 1) i
    WHERE NOT EXISTS (SELECT 1 FROM image
      WHERE image.job_id = job.id AND image.index = i AND image.state IN ('stored', 'upstream_only'))
  )"""
"""SQL: the indexes of a job's images that are still to be bought."""
_LOCK = text("SELECT outcome, upstream_id, reserved, settled, inferred FROM submission WHERE id = :id FOR UPDATE")
# What a list shows was made soon after it was sent, however late its sender says so; a charge may come until it does.
_QUIET = """CASE WHEN :anew THEN clock_timestamp() + :quiet * interval '1 second'
    ELSE least(quiet_at, clock_timestamp() + :quiet * interval '1 second') END"""
_CLOSE = text(f"""
UPDATE submission SET outcome = :outcome, answered_at = clock_timestamp(), http_status = :http_status,
  upstream_id = :upstream_id, error_code = :error_code, error = :error, settled = :settled, inferred = :inferred,
  stated = :stated,
  quiet_at = {_QUIET}
WHERE id = :id
""")
# A sender that was taken for lost says at last that its call is over.
_SPOKE = text(f"""
UPDATE submission SET error_code = :error_code, error = :error, quiet_at = {_QUIET}
WHERE id = :id AND error_code = 'sender_lost'
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
_TAKEN = text("""
SELECT index FROM image WHERE submission_id <> :submission AND state <> 'failed'
  AND job_id = (SELECT job_id FROM submission WHERE id = :submission)
""")
# Evidence of an earlier attempt is no reason to end the lease of one that is being paid for now, nor does a sender that
# knows nothing itself take a job out of the hands of a person who must end it.
_DUE_NOW = text("""
UPDATE job SET due_at = now(), claimed_by = NULL, company = NULL, parked = job.parked AND s.outcome = 'unknown'
FROM submission s
WHERE job.id = :id AND job.state IN ('submitting', 'in_doubt') AND s.id = :submission AND s.id = (
  SELECT newest.id FROM submission newest WHERE newest.job_id = job.id ORDER BY newest.opened_at DESC LIMIT 1)
RETURNING job.id
""")
_ELSEWHERE = text("""
SELECT epoch, state,
  EXISTS (SELECT 1 FROM image WHERE job_id = job.id AND image.state IN ('pending', 'processing')) AS waits,
  EXISTS (SELECT 1 FROM image WHERE job_id = job.id AND image.state = 'ready') AS ready
FROM job WHERE id = :id FOR UPDATE
""")
_COLLECT = text("UPDATE job SET collect_until = greatest(collect_until, now() + interval '1 day') WHERE id = :id")
_STRAY = text("""
INSERT INTO stray (account, upstream_id, made_at, note)
SELECT i.account, coalesce(i.upstream_id, s.upstream_id || '/' || i.index, s.id || '/' || i.index), now(),
  'bought by an earlier attempt of job ' || i.job_id || ', which has its images already'
FROM image i JOIN submission s ON s.id = i.submission_id
WHERE i.job_id = :id AND i.state IN ('pending', 'processing', 'ready')
ON CONFLICT DO NOTHING
""")
_STATE = text("""
SELECT state FROM job WHERE id = :job AND epoch = :epoch AND claimed_by IS NOT NULL FOR UPDATE
""")
_LATEST = """
SELECT id, account, outcome, error_code, error, sender, sender_lock, batch_id, opened_at, quiet_at,
  greatest(extract(epoch FROM quiet_at - clock_timestamp()), 0) AS quiet_in
FROM submission WHERE job_id = :job ORDER BY opened_at DESC LIMIT 1
"""
_LATEST_READ = text(_LATEST)
_LATEST_LOCK = text(_LATEST + " FOR UPDATE")
_HELD = text("""
SELECT id FROM submission
WHERE job_id = :job AND (outcome = 'unknown' OR (error_code = 'written_off' AND inferred AND upstream_id IS NULL))
ORDER BY outcome <> 'unknown', opened_at DESC LIMIT 1 FOR UPDATE
""")
_REFUSALS = text("""
SELECT count(*) FROM submission WHERE job_id = :job AND outcome = 'rejected' AND error_code = :code
""")

_ASKED = text(f"""
SELECT s.job_id, s.account, job.request, {MISSING} AS missing
FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :id
""")

_COLLECTED_AFTER_ALL: Final = frozenset({JobState.QUEUED, JobState.IN_DOUBT, JobState.FAILED, JobState.CANCELLED})


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
    """What became of one attempt to pay. `settled` is the provider's own figure, where it gave one.

    `inferred`: not the provider's word on this call, but a person's, or what its own list shows; its word replaces it.
    `quiet_seconds`: the sender knows that its call is over, and from now until its purchase would show there.
    `stated`: `settled` is what the provider itself said in an answer that came whole. `charged_on_arrival`: its
    provider charges as the answer arrives, so that the quiet time begins when the call is over, not when it was sent.
    """

    outcome: Outcome
    http_status: int | None = None
    upstream_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    settled: Decimal | None = None
    images: tuple[BoughtImage, ...] = field(default=())
    inferred: bool = False
    quiet_seconds: float | None = None
    stated: bool = False
    charged_on_arrival: bool = False


def record(connection: Connection, submission_id: UUID, answer: Answer) -> bool:
    """Write what became of a submission, whatever the job's epoch; False where a better answer is known already.

    Evidence may come late: it replaces `unknown` and what was only inferred, never an answer the provider itself gave.
    What is inferred may be corrected until a purchase is known by its name.
    """
    row = connection.execute(_LOCK, {"id": submission_id}).one()
    before = Outcome(row.outcome) if row.outcome else None
    open_still = row.upstream_id is None or not answer.inferred
    better = row.inferred and answer.outcome is not Outcome.UNKNOWN and open_still
    if before is answer.outcome is Outcome.UNKNOWN and answer.quiet_seconds is not None:
        said = {"error_code": answer.error_code, "error": answer.error, **_quiet(answer)}
        return bool(connection.execute(_SPOKE, {"id": submission_id, **said}).rowcount)
    if not better and (before not in {None, Outcome.UNKNOWN} or before is answer.outcome):
        return False
    known = (answer.settled, row.reserved, row.settled)  # a person's figure only where the price is unknown
    settled = next((amount for amount in known if amount is not None), None)
    settled = settled if answer.outcome is Outcome.ACCEPTED else None
    connection.execute(
        _CLOSE,
        {
            "id": submission_id,
            "outcome": answer.outcome.value,
            "http_status": answer.http_status,
            "upstream_id": answer.upstream_id,
            "error_code": answer.error_code,
            "error": answer.error,
            "settled": settled,
            "inferred": answer.inferred,
            "stated": answer.stated,
            **_quiet(answer),
        },
    )
    ledger.close(
        connection,
        submission_id,
        before=ledger.position(before, reserved=row.reserved, settled=row.settled),
        after=ledger.position(answer.outcome, reserved=row.reserved, settled=settled),
        outcome=answer.outcome,
    )
    if answer.images:
        _insert_images(connection, submission_id, answer.images)
    return True


def _quiet(answer: Answer) -> dict[str, object]:
    return {"quiet": answer.quiet_seconds, "anew": answer.charged_on_arrival and answer.quiet_seconds is not None}


def asked_by(connection: Connection, submission_id: UUID) -> Any:
    """Return what a submission asked for: job_id, account, request, missing; None where there is no such submission."""
    return connection.execute(_ASKED, {"id": submission_id}).one_or_none()


def follow_late(connection: Connection, job_id: UUID, submission_id: UUID, *, actor: str) -> None:
    """Have the evidence of a submission used that its sender could no longer act on.

    A job that is in doubt about it is looked at at once; else what it bought is collected.
    """
    if connection.execute(_DUE_NOW, {"id": job_id, "submission": submission_id}).one_or_none() is None:
        collect(connection, job_id, actor=actor)


def collect(connection: Connection, job_id: UUID, *, actor: str) -> None:
    """Collect what an attempt turned out to have bought, of a job that would buy it again, is in doubt, or has ended.

    A job that has its images already keeps them, and what was bought beside them is reported.
    """
    row = connection.execute(_ELSEWHERE, {"id": job_id}).one()
    state = JobState(row.state)
    if not (row.waits or row.ready):
        return
    if state is JobState.SUCCEEDED:
        connection.execute(_STRAY, {"id": job_id})
    elif state in _COLLECTED_AFTER_ALL:
        after = JobState.PENDING if row.waits else JobState.TRANSFERRING
        note = "an earlier attempt turned out to be bought"
        move(connection, [Move(Claim(job_id, row.epoch), state, after, 0, code="answer_found", note=note)], actor=actor)
        connection.execute(_COLLECT, {"id": job_id})


def in_doubt(connection: Connection, job_id: UUID) -> UUID | None:
    """Lock and return the job's newest submission whose money is held, else was settled by a person; None without."""
    found: UUID | None = connection.execute(_HELD, {"job": job_id}).scalar_one_or_none()
    return found


def state_of(connection: Connection, claim: Claim) -> JobState | None:
    """Lock the claimed job and return its state; None where the claim no longer holds."""
    parameters = {"job": claim.job_id, "epoch": claim.epoch}
    state = connection.execute(_STATE, parameters).scalar_one_or_none()
    return JobState(state) if state else None


def refusals(connection: Connection, job_id: UUID, code: str) -> int:
    """Return how often a job was refused with this code."""
    return int(connection.execute(_REFUSALS, {"job": job_id, "code": code}).scalar_one())


def latest(connection: Connection, job_id: UUID, *, lock: bool = False) -> Any:
    """Return the job's newest submission: id, account, outcome, error_code, error, sender; None where it has none.

    With `lock`, its evidence cannot change until this transaction ends. Lock it before the job: a sender does too.
    """
    return connection.execute(_LATEST_LOCK if lock else _LATEST_READ, {"job": job_id}).one_or_none()


def _insert_images(connection: Connection, submission_id: UUID, images: Sequence[BoughtImage]) -> None:
    images = _beside_others(images, connection.execute(_TAKEN, {"submission": submission_id}).scalars().all())
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


def _beside_others(images: Sequence[BoughtImage], taken: Sequence[int]) -> Sequence[BoughtImage]:
    """Give pictures whose place another attempt has filled one of their own: no paid image is lost to the other."""
    if not {image.index for image in images} & set(taken):
        return images
    first = max(*taken, *(image.index for image in images)) + 1
    return [replace(image, index=first + offset) for offset, image in enumerate(images)]
