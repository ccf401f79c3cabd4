"""The inbox: rows that the SQL function `enqueue` took in its caller's transaction, before anybody checked them.

A worker checks each row with the words of every other door, and makes it a job under the id that its caller got. A bad
row becomes a job that has failed; nothing is bought for it. That holds for a row that Python cannot read, too: then
only PostgreSQL reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import SQLAlchemyError

from shared import catalog
from shared.db.engine import UnreadableJson
from shared.db.jobs import policy
from shared.db.jobs.dealing import Dealing, dealing, waiting_account
from shared.db.jobs.enqueue import (
    ROW_INVALID,
    BatchTerms,
    EnqueueConflictError,
    NewJob,
    enqueue,
    new_name_complaint,
)
from shared.db.jobs.insert_rows import JobTimes
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments.offer_check import OfferCheck
from shared.late_log import LateLogger
from shared.lifecycle import JobState
from shared.notes import short_note
from shared.policies import OnUnknown
from shared.prompt_rows.faults import Faults
from shared.prompt_rows.preparer import PreparedRow, RowPreparer

_log = LateLogger(__name__)
CHUNK: Final = 200
"""Rows that one transaction takes."""
INVALID: Final = ROW_INVALID
"""The code of a job whose row was wrong."""
DEFECT: Final = "row: could not be checked, by a defect of genqueue; nothing was bought for it"
"""What is said of a row whose check fails by a defect of ours."""
_CHARS: Final = 16_000_000
# Steps from name to name along the index, however many rows wait under each.
_BATCHES = text("""
WITH RECURSIVE waiting (batch) AS (
  (SELECT batch FROM inbox WHERE taken_at IS NULL ORDER BY batch LIMIT 1)
  UNION ALL
  SELECT (SELECT batch FROM inbox WHERE taken_at IS NULL AND batch > waiting.batch ORDER BY batch LIMIT 1)
  FROM waiting WHERE waiting.batch IS NOT NULL
) SELECT batch FROM waiting WHERE batch IS NOT NULL LIMIT 50
""")
# The lock of `enqueue` for this batch. Whoever enqueues a large file has it for minutes: then the rows wait.
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('enqueue ' || :batch, 0))")
_WAITING = text("""
SELECT id, custom_id, request, request ->> 'provider' AS provider, options FROM (
  SELECT *, sum(length(CAST(request AS text))) OVER (ORDER BY id) - length(CAST(request AS text)) AS before
  FROM (
    SELECT * FROM inbox WHERE batch = :batch AND taken_at IS NULL AND id = coalesce(CAST(:only AS uuid), id)
    ORDER BY id LIMIT :limit
  ) AS first
) AS sized WHERE before < :chars ORDER BY id
""")
_FIRST = text("SELECT id FROM inbox WHERE batch = :batch AND taken_at IS NULL ORDER BY id LIMIT :limit")
_KNOWN = text("""
SELECT job.custom_id, job.id, job.provider, job.fingerprint FROM job JOIN batch ON batch.id = job.batch_id
WHERE batch.name = :batch AND job.custom_id = ANY(CAST(:custom_ids AS text[]))
""")
# The request as the SQL function compares it when the row comes again: without what only says a default, and with every
# digit of its numbers.
_WRONG = text("""
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, priority, fair_position,
  state, due_at, deadline_at, collect_until)
SELECT id, :batch, custom_id, :account, :provider,
  CASE WHEN made -> 'n' = '1' THEN made - 'n' ELSE made END - ARRAY(
    SELECT key FROM jsonb_each(made) WHERE key IN ('options', 'references') AND value IN ('{}', '[]')),
  sha256(convert_to(CAST(made AS text), 'UTF8')), 1, 0, 0, 'queued',
  now(), now() + :deadline * interval '1 second', now() + :collect * interval '1 second'
FROM (
  SELECT id, custom_id, request - ARRAY['custom_id', 'provider', 'priority', 'metadata'] AS made
  FROM inbox WHERE id = :id
) AS given
""")
_TAKEN = text("""
UPDATE inbox SET taken_at = clock_timestamp(), request = NULL, note = a.note
FROM unnest(CAST(:ids AS uuid[]), CAST(:notes AS text[])) AS a (id, note) WHERE inbox.id = a.id
""")
# A row stays for a day after it was taken: a repeated call finds it, whatever its transaction can see.
_PRUNE = text("""
DELETE FROM inbox WHERE id = ANY(ARRAY(
  SELECT id FROM inbox WHERE taken_at < now() - interval '1 day' ORDER BY taken_at LIMIT 5000))
""")
_FIND = text("""
SELECT taken_at, note FROM inbox WHERE id = :id
UNION ALL SELECT taken_at, note FROM inbox WHERE custom_id = :name
UNION ALL SELECT inbox.taken_at, inbox.note
  FROM unnest(CAST(:batches AS text[]), CAST(:custom_ids AS text[])) AS a (batch, custom_id)
  JOIN inbox ON inbox.batch = a.batch AND inbox.custom_id = a.custom_id
""")
_COUNT = text("SELECT count(*) FROM inbox WHERE batch = :batch AND taken_at IS NULL")
_HAS = text("SELECT EXISTS (SELECT FROM inbox WHERE batch = :batch AND taken_at IS NULL)")


def batches(connection: Connection) -> list[str]:
    """Return up to 50 batches for which rows wait."""
    return list(connection.execute(_BATCHES).scalars())


def has(connection: Connection, batch: str) -> bool:
    """Tell whether rows of a batch wait to be checked."""
    return bool(connection.execute(_HAS, {"batch": batch}).scalar_one())


def count_waiting(connection: Connection, batch: str) -> int:
    """Return how many rows of a batch wait to be checked."""
    return int(connection.execute(_COUNT, {"batch": batch}).scalar_one())


def said_of(connection: Connection, name: str) -> str | None:
    """Return in words what became of a row, by its id, custom_id or BATCH/custom_id; None if there is none."""
    slashes = [at for at, char in enumerate(name) if char == "/"]
    parameters = {
        "id": _uuid(name),
        "name": name,
        "batches": [name[:at] for at in slashes],
        "custom_ids": [name[at + 1 :] for at in slashes],
    }
    rows = connection.execute(_FIND, parameters).all()
    if any(row.taken_at is None for row in rows):
        return "its row waits for a worker to check it"
    return next((row.note for row in rows if row.note), None)


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def prune(connection: Connection) -> None:
    """Remove what was taken more than a day ago, up to 5000 rows."""
    connection.execute(_PRUNE)


def take(connection: Connection, batch: str, times: JobTimes, *, actor: str) -> int:
    """Check waiting rows of a batch and make jobs of them, in the caller's transaction; return how many.

    At most `CHUNK` of them, and none while somebody else enqueues into the batch.
    """
    return _Taking(connection, batch, times, actor).take()


def take_one(
    connection: Connection, batch: str, times: JobTimes, row: UUID, *, actor: str, wrong: str | None = None
) -> int:
    """Do the same with one row, if it still waits; `wrong`: what to say of it, unchecked and unread."""
    return _Taking(connection, batch, times, actor, wrong).take(row)


def first_ids(connection: Connection, batch: str) -> list[UUID]:
    """Return the rows of a batch that are the next to be taken."""
    return list(connection.execute(_FIRST, {"batch": batch, "limit": CHUNK}).scalars())


def _job(job_id: UUID, row: PreparedRow) -> NewJob:
    request, facts = row.request.decode(), row.metadata.decode()
    return NewJob(row.custom_id, row.provider, request, row.fingerprint, row.priority, facts, job_id)


class _Taking:
    """One transaction's rows on their way from the inbox into a batch."""

    def __init__(
        self, connection: Connection, batch: str, times: JobTimes, actor: str, wrong: str | None = None
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._times = times
        self._actor = actor
        self._wrong = wrong
        self._offers = OfferCheck(connection)

    def take(self, only: UUID | None = None) -> int:
        """Make jobs of what waits, or of `only` that row; return how many rows were taken."""
        if not self._connection.execute(_TURN, {"batch": self._batch}).scalar_one():
            return 0
        asked = {"batch": self._batch, "limit": CHUNK, "chars": _CHARS, "only": only}
        waiting = self._connection.execute(_WAITING, asked).all()
        if waiting:
            notes = self._made(waiting)
            taken = {"ids": [row.id for row in waiting], "notes": [notes.get(row.id) for row in waiting]}
            self._connection.execute(_TAKEN, taken)
        return len(waiting)

    def _made(self, waiting: Sequence[Row[Any]]) -> dict[UUID, str]:
        """Make jobs of the rows; return the words for each that cannot be one, because its custom_id is taken."""
        wrong_name = new_name_complaint(self._connection, self._batch)
        refused = f"batch: {wrong_name}" if wrong_name else self._wrong
        checked = {row.id: refused or self._verdict(row) for row in waiting}
        notes = self._conflicts(waiting, checked)
        new = [row for row in waiting if row.id not in notes]
        good = {row.id: found for row in new if isinstance(found := checked[row.id], PreparedRow)}
        jobs = (_job(job_id, one) for job_id, one in good.items())
        accounts = [waiting_account(name) for name in sorted({row.provider for row in new})]
        terms = self._terms([row.options for row in new])
        added = enqueue(self._connection, self._batch, jobs, accounts, terms)
        if added.added < added.given:
            # The row of another door was committed since: what looks for this one must be told of that job.
            notes |= self._conflicts([row for row in new if row.id in good], checked)
        wrong = [(row, str(checked[row.id])) for row in new if row.id not in good]
        self._fail(added.batch_id, wrong)
        if added.policy_changed and terms.on_unknown:
            held = policy.in_doubt(self._connection, self._batch)
            policy.look_anew(self._connection, held, terms.on_unknown, actor=self._actor)
        return notes

    def _verdict(self, row: Row[Any]) -> PreparedRow | str:
        """Return what a check finds. A row on which our code fails is a wrong row: it must stop no other."""
        if isinstance(row.request, UnreadableJson):
            return f"row: {row.request.why}"
        try:
            return self._checked(row.request)
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the defect is
            _log.warning("inbox_defect", error=type(error).__name__)
            return DEFECT

    def _checked(self, request: dict[str, Any]) -> PreparedRow | str:
        """Return the row as its provider can do it, or what is wrong with it."""
        faults = Faults()
        prepared = RowPreparer(None, catalog.names(), faults).prepare(1, dict(request))
        if prepared:
            for fault in self._offers.faults_of(prepared):
                faults.add(1, *fault)
        if prepared and not faults.count:
            return prepared
        return short_note("; ".join(f"{fault.field}: {fault.message}" for fault in faults.kept))

    def _conflicts(self, waiting: Sequence[Row[Any]], checked: Mapping[UUID, PreparedRow | str]) -> dict[UUID, str]:
        """Return the words for rows whose custom_id became a job through another door meanwhile."""
        custom_ids = [row.custom_id for row in waiting]
        found = self._connection.execute(_KNOWN, {"batch": self._batch, "custom_ids": custom_ids})
        known = {job.custom_id: job for job in found}
        notes = {}
        for row in waiting:
            if (job := known.get(row.custom_id)) and job.id != row.id:
                one = checked[row.id]
                same = isinstance(one, PreparedRow) and (one.provider, one.fingerprint) == (
                    job.provider,
                    bytes(job.fingerprint),
                )
                conflict = str(EnqueueConflictError(self._batch, [row.custom_id]))
                notes[row.id] = f"it is the job {job.id}, which another door enqueued first" if same else conflict
        return notes

    def _terms(self, options: Iterable[dict[str, Any]]) -> BatchTerms:
        """Return what the rows ask for their batch: the first one, which may make it, or what is tighter."""
        asked = list(options)
        policies: list[OnUnknown | None] = [given.get("on_unknown") for given in asked]
        on_unknown = "hold" if "hold" in policies else next(iter(policies), None)
        most: dict[str, Decimal] = {}
        for given in asked:
            for provider, amount in given.get("max_cost", {}).items():
                most[provider] = min(most.get(provider, Decimal(amount)), Decimal(amount))
        times = self._times
        return BatchTerms(times.deadline_seconds, times.collect_seconds, on_unknown, most or None, bounded=True)

    def _fail(self, batch_id: UUID, wrong: Sequence[tuple[Row[Any], str]]) -> None:
        """End bad rows as failed jobs, so that whoever waits for one is told."""
        if not wrong:
            return
        dealt = dealing(self._connection)
        self._connection.execute(_WRONG, [self._values(batch_id, row, dealt) for row, _ in wrong])
        moves = [
            Move(Claim(row.id, 0), JobState.QUEUED, JobState.FAILED, code=INVALID, note=note) for row, note in wrong
        ]
        move(self._connection, moves, actor=self._actor)

    def _values(self, batch_id: UUID, row: Row[Any], dealt: Dealing) -> dict[str, Any]:
        return {
            "id": row.id,
            "batch": batch_id,
            "account": dealt.account(row.provider, 1),
            "provider": row.provider,
            "deadline": self._times.deadline_seconds,
            "collect": self._times.collect_seconds,
        }
