"""Attempts to pay: the evidence that closes each, however late; `intents` opens them."""

from collections import Counter
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments import ledger
from shared.db.payments.answers import Answer, BoughtImage
from shared.db.payments.ownership import sort_out
from shared.db.payments.placing import insert_images
from shared.lifecycle import JobState, Outcome
from shared.upstream_ids import folded

if TYPE_CHECKING:
    from shared.db.rows import Submission

__all__ = [
    "MISSING",
    "SENDER_LOST",
    "Answer",
    "BoughtImage",
    "asked_by",
    "collect",
    "collect_after_end",
    "follow_late",
    "latest",
    "lock_all_claimed",
    "lock_claimed",
    "newest_unsettled",
    "record",
    "record_all",
    "refusals",
    "shows_in",
]

SENDER_LOST: Final = "sender_lost"
"""The code of a call whose sender died or froze without an answer."""
MISSING: Final = """array(
    SELECT i FROM generate_series(0, job.images - 1) i
    WHERE NOT EXISTS (SELECT 1 FROM image
      WHERE image.job_id = job.id AND image.index = i AND image.state IN ('stored', 'upstream_only'))
  )"""
"""SQL: the indexes of a job's images that are still to be bought."""
_LOCK = text(
    "SELECT id, outcome, upstream_id, reserved, settled, elsewhere, inferred FROM submission "
    "WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
)
# A listed image was made soon after the request, however late the sender reports; a charge may come until the report.
_QUIET = """CASE WHEN {anew} THEN clock_timestamp() + {quiet} * interval '1 second'
    ELSE least(visible_by, clock_timestamp() + {quiet} * interval '1 second') END"""
_CLOSE = text(f"""
UPDATE submission SET outcome = a.outcome, answered_at = clock_timestamp(), http_status = a.http_status,
  upstream_id = a.upstream_id, error_code = a.error_code, error = a.error, settled = a.settled, inferred = a.inferred,
  cost_stated = a.cost_stated, elsewhere = a.elsewhere, reply_sha256 = coalesce(a.links, reply_sha256),
  visible_by = {_QUIET.format(anew="a.anew", quiet="a.quiet")}
FROM unnest(
  CAST(:ids AS uuid[]), CAST(:outcomes AS text[]), CAST(:http_statuses AS integer[]), CAST(:upstream_ids AS text[]),
  CAST(:error_codes AS text[]), CAST(:errors AS text[]), CAST(:settled AS numeric[]), CAST(:inferred AS boolean[]),
  CAST(:costs_stated AS boolean[]), CAST(:elsewhere AS numeric[]), CAST(:quiet AS double precision[]),
  CAST(:anew AS boolean[]), CAST(:links AS bytea[])
) AS a (
  id, outcome, http_status, upstream_id, error_code, error, settled, inferred, cost_stated, elsewhere, quiet, anew,
  links)
WHERE submission.id = a.id
""")
# A sender that was judged lost reports that its call is over.
_SPOKE = text(f"""
UPDATE submission SET error_code = :error_code, error = :error,
  visible_by = {_QUIET.format(anew=":anew", quiet=":quiet")}
WHERE id = :id AND error_code = 'sender_lost'
""")
# Evidence of an earlier attempt must not end the lease of an attempt that is being paid for now. A sender that knows
# nothing must not release a job that is held for a person.
_DUE_NOW = text("""
UPDATE job SET due_at = now(), claimed_by = NULL, begun_together = NULL, on_hold = job.on_hold AND s.outcome = 'unknown'
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
_UNCOLLECTED = text("""
SELECT DISTINCT job_id FROM image
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND state IN ('pending', 'processing', 'ready') ORDER BY job_id
""")
_COLLECT = text("UPDATE job SET collect_until = greatest(collect_until, now() + interval '1 day') WHERE id = :id")
_UNOWNED = text("""
INSERT INTO unowned_image (account, upstream_id, made_at, note)
SELECT i.account, coalesce(i.upstream_id, s.upstream_id || '/' || i.index, s.id || '/' || i.index), now(),
  'bought by an earlier attempt of job ' || i.job_id || ', which has its images already'
FROM image i JOIN submission s ON s.id = i.submission_id
WHERE i.job_id = :id AND i.state IN ('pending', 'processing', 'ready')
ON CONFLICT DO NOTHING
""")
_STATES = text("""
SELECT job.id, job.epoch, job.state
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
WHERE job.claimed_by IS NOT NULL AND job.account = :account ORDER BY job.id FOR UPDATE OF job
""")
_LATEST = "SELECT * FROM submission WHERE job_id = :job ORDER BY opened_at DESC LIMIT 1"
_LATEST_READ = text(_LATEST)
_LATEST_LOCK = text(f"{_LATEST} FOR UPDATE")
_SHOWS_IN = text("""
SELECT CAST(greatest(extract(epoch FROM visible_by - clock_timestamp()), 0) AS float8) FROM submission WHERE id = :id
""")
_HELD = text("""
SELECT id FROM submission
WHERE job_id = :job AND (outcome = 'unknown' OR (error_code = 'written_off' AND inferred AND upstream_id IS NULL))
ORDER BY outcome <> 'unknown', opened_at DESC LIMIT 1 FOR UPDATE
""")
_REFUSALS = text("""
SELECT count(*) FROM submission WHERE job_id = :job AND outcome = 'rejected' AND error_code = :code
""")

_ASKED = text(f"""
SELECT s.job_id, s.account, s.reserved, s.outcome, job.request, {MISSING} AS missing
FROM submission s JOIN job ON job.id = s.job_id WHERE s.id = :id
""")

_COLLECTED_AFTER_ALL: Final = frozenset({JobState.QUEUED, JobState.IN_DOUBT, JobState.FAILED, JobState.CANCELLED})


def record(connection: Connection, submission_id: UUID, answer: Answer) -> bool:
    """Write the result of a submission like `record_all`; False if a better answer is already known."""
    return submission_id in record_all(connection, {submission_id: answer})


def record_all(connection: Connection, answers: Mapping[UUID, Answer]) -> set[UUID]:
    """Write the results of submissions, whatever their jobs' epochs; leaves out those of which better is known.

    Evidence may come late. It replaces `unknown` and inferred results, never the provider's own answer. An inferred
    result may be corrected until a purchase is known by its id. Ids of other submissions are left out; raises
    `OwnedElsewhereError` if an answer has nothing else. Returns the submissions that were written.
    """
    if _share_ids(answers.values()):
        # One after the other, so that the second finds the first as the owner.
        return set[UUID]().union(*(record_all(connection, {one: answer}) for one, answer in answers.items()))
    rows = {row.id: row for row in connection.execute(_LOCK, {"ids": list(answers)})}
    over = {one: answer for one, answer in answers.items() if _only_says_over(answer, rows[one])}
    better = {one: answer for one, answer in answers.items() if one not in over and _is_better(answer, rows[one])}
    _close(connection, sort_out(connection, better), rows)
    return {*better, *(one for one, answer in over.items() if _say_over(connection, one, answer))}


def _share_ids(answers: Collection[Answer]) -> bool:
    """Tell whether two of the answers name the same id."""
    named = Counter(one for answer in answers for one in {folded(name) for name in answer.ids})
    return any(count > 1 for count in named.values())


def _outcome(row: Any) -> Outcome | None:
    return Outcome(row.outcome) if row.outcome else None


def _only_says_over(answer: Answer, row: Any) -> bool:
    """Tell whether an answer of a lost call says no more than that the call is over."""
    return _outcome(row) is answer.outcome is Outcome.UNKNOWN and answer.quiet_seconds is not None


def _say_over(connection: Connection, submission_id: UUID, answer: Answer) -> bool:
    said = {"error_code": answer.error_code, "error": answer.error, **_quiet(answer)}
    return bool(connection.execute(_SPOKE, {"id": submission_id, **said}).rowcount)


def _is_better(answer: Answer, row: Any) -> bool:
    """Tell whether an answer says more than what is recorded."""
    before = _outcome(row)
    if row.inferred and answer.outcome is not Outcome.UNKNOWN and (row.upstream_id is None or not answer.inferred):
        return True
    return before in {None, Outcome.UNKNOWN} and before is not answer.outcome


def _close(connection: Connection, answers: Mapping[UUID, Answer], rows: Mapping[UUID, Any]) -> None:
    if not answers:
        return
    costs = {one: _cost(answer, rows[one]) for one, answer in answers.items()}
    columns = [_columns(one, answer, costs[one]) for one, answer in answers.items()]
    connection.execute(_CLOSE, {name: [row[name] for row in columns] for name in columns[0]})
    ledger.close(connection, [_movement(rows[one], answer, costs[one]) for one, answer in answers.items()])
    insert_images(connection, {one: answer.images for one, answer in answers.items()})


def _columns(submission_id: UUID, answer: Answer, cost: tuple[Decimal | None, Decimal]) -> dict[str, object]:
    settled, elsewhere = cost
    return {
        "ids": submission_id,
        "outcomes": answer.outcome.value,
        "http_statuses": answer.http_status,
        "upstream_ids": answer.upstream_id,
        "error_codes": answer.error_code,
        "errors": answer.error,
        "settled": settled,
        "inferred": answer.inferred,
        "costs_stated": answer.cost_stated,
        "elsewhere": elsewhere,
        "links": answer.links_sha256,
        **_quiet(answer),
    }


def _movement(row: Any, answer: Answer, cost: tuple[Decimal | None, Decimal]) -> ledger.Movement:
    settled, elsewhere = cost
    return ledger.closing(
        row.id,
        before=ledger.position(_outcome(row), reserved=row.reserved, settled=row.settled, elsewhere=row.elsewhere),
        after=ledger.position(answer.outcome, reserved=row.reserved, settled=settled, elsewhere=elsewhere),
        outcome=answer.outcome,
    )


def _cost(answer: Answer, row: Any) -> tuple[Decimal | None, Decimal]:
    """Return what a call cost here and elsewhere; None and 0 where it was charged and nobody knows how much."""
    nothing = Decimal(0)
    if answer.outcome is not Outcome.ACCEPTED:
        return None, nothing
    if answer.elsewhere is None:  # the reserve is all that is known of it
        return (None, nothing) if row.reserved is None else (answer.settled or nothing, row.reserved)
    known = (answer.settled, row.reserved, row.settled)  # a person's figure only where the price is unknown
    return next((amount for amount in known if amount is not None), None), answer.elsewhere


def _quiet(answer: Answer) -> dict[str, object]:
    return {"quiet": answer.quiet_seconds, "anew": answer.charged_on_arrival and answer.quiet_seconds is not None}


def asked_by(connection: Connection, submission_id: UUID) -> Any:
    """Return what a submission asked for: job_id, account, reserved, outcome, request, missing.

    None where there is no such submission.
    """
    return connection.execute(_ASKED, {"id": submission_id}).one_or_none()


def follow_late(connection: Connection, job_id: UUID, submission_id: UUID, *, actor: str) -> None:
    """Use the evidence of a submission whose sender could no longer act on it.

    If the job is in doubt about this submission, a worker looks at once; otherwise the purchase is collected.
    """
    if connection.execute(_DUE_NOW, {"id": job_id, "submission": submission_id}).one_or_none() is None:
        collect(connection, job_id, actor=actor)


def collect(connection: Connection, job_id: UUID, *, actor: str) -> None:
    """Collect an attempt's late-known purchase, for a job that would buy it again, is in doubt, or has ended.

    A job that already has its images keeps them, and the additional purchase is reported.
    """
    row = connection.execute(_ELSEWHERE, {"id": job_id}).one()
    state = JobState(row.state)
    if not (row.waits or row.ready):
        return
    if state is JobState.SUCCEEDED:
        connection.execute(_UNOWNED, {"id": job_id})
    elif state in _COLLECTED_AFTER_ALL:
        after = JobState.PENDING if row.waits else JobState.TRANSFERRING
        note = "an earlier attempt turned out to be bought"
        move(connection, [Move(Claim(job_id, row.epoch), state, after, 0, code="answer_found", note=note)], actor=actor)
        connection.execute(_COLLECT, {"id": job_id})


def collect_after_end(connection: Connection, jobs: Collection[UUID], *, actor: str) -> None:
    """Collect what became known of other attempts while this transaction's jobs were about to end.

    Call it after their move, which waits for evidence that is being recorded. Later evidence finds them ended.
    """
    if jobs:
        for job_id in connection.execute(_UNCOLLECTED, {"jobs": list(jobs)}).scalars().all():
            collect(connection, job_id, actor=actor)


def newest_unsettled(connection: Connection, job_id: UUID) -> UUID | None:
    """Lock and return the job's newest submission whose money is held, or was settled by a person; None without."""
    found: UUID | None = connection.execute(_HELD, {"job": job_id}).scalar_one_or_none()
    return found


def lock_claimed(connection: Connection, account: str, claim: Claim) -> JobState | None:
    """Lock the account's claimed job and return its state; None where the claim no longer holds."""
    return lock_all_claimed(connection, account, [claim]).get(claim)


def lock_all_claimed(connection: Connection, account: str, claims: Collection[Claim]) -> dict[Claim, JobState]:
    """Lock the account's claimed jobs and return their states; those whose claim no longer holds are left out."""
    ids, epochs = [claim.job_id for claim in claims], [claim.epoch for claim in claims]
    rows = connection.execute(_STATES, {"ids": ids, "epochs": epochs, "account": account})
    return {Claim(row.id, row.epoch): JobState(row.state) for row in rows}


def refusals(connection: Connection, job_id: UUID, code: str) -> int:
    """Return how often a job was refused with this code."""
    return int(connection.execute(_REFUSALS, {"job": job_id, "code": code}).scalar_one())


def latest(connection: Connection, job_id: UUID, *, lock: bool = False) -> "Submission | None":
    """Return the job's newest submission; None where it has none.

    With `lock`, its evidence cannot change until this transaction ends. Lock it before the job: a sender does too.
    """
    row = connection.execute(_LATEST_LOCK if lock else _LATEST_READ, {"job": job_id}).mappings().one_or_none()
    from shared.db.rows import Submission, as_noun  # noqa: PLC0415 - half a second that producers need not spend

    return None if row is None else as_noun(Submission, row)


def shows_in(connection: Connection, submission_id: UUID) -> float:
    """Return the seconds until the provider would show what a submission bought; 0 once it would."""
    return float(connection.execute(_SHOWS_IN, {"id": submission_id}).scalar_one())
