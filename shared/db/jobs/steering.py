"""Steers a batch that runs, when a person asks: hold and release it, change its priority or its deadline.

A hold takes effect at once, although its jobs are put on hold a few hundred at a time: from its commit on, no intent of
the batch is written (`shared/db/payments/intents.py`). What was bought before is collected as usual.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs.transitions import Claim, Move, move
from shared.lifecycle import FINAL, JobState

HELD: Final = "batch_held"
"""The code of a job on hold because its batch is."""
CHUNK: Final = 500
"""Jobs that one transaction changes: about a tenth of a second of locks."""
_NOTE: Final = "its batch is held"
_HOLD = text("UPDATE batch SET held_at = now() WHERE name = :name AND held_at IS NULL")
_RELEASE = text("UPDATE batch SET held_at = NULL WHERE name = :name")
_IS_HELD = text("SELECT held_at IS NOT NULL FROM batch WHERE name = :name")
# The batch as one value, so that its index gives the jobs in order, however many there are. Its row is locked, so that
# a hold and a release wait for each other. Otherwise a job put on hold meanwhile would stay so in a released batch.
_IN_LINE: Final = """
SELECT id, epoch FROM job
WHERE batch_id = (SELECT id FROM batch WHERE name = :name AND held_at IS NOT NULL FOR SHARE) AND state = 'queued'
  AND NOT on_hold AND claimed_by IS NULL ORDER BY id LIMIT :most FOR NO KEY UPDATE {skip}
"""
_OF_HELD = text("""
SELECT job.id FROM job JOIN batch ON batch.id = job.batch_id
WHERE job.id = ANY(CAST(:ids AS uuid[])) AND batch.held_at IS NOT NULL
""")
# No deadline passes and no recheck comes while a person holds the batch; the release gives both back. They are far and
# not infinite, because a driver cannot read infinity as a time.
_WITHOUT_END = text("""
UPDATE job SET deadline_at = greatest(deadline_at, now() + interval '10 years'), due_at = now() + interval '10 years'
WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_BACK: Final = """
UPDATE job SET on_hold = false, due_at = now(), error_code = NULL, error = NULL,
  deadline_at = now() + :deadline * interval '1 second'
WHERE id = ANY(ARRAY(
  SELECT id FROM job WHERE {which} AND on_hold AND state = 'queued' AND error_code = :code
  ORDER BY id LIMIT :most FOR NO KEY UPDATE {skip}))
"""
_BACK_IN_LINE: Final = _BACK.format(
    which="batch_id = (SELECT id FROM batch WHERE name = :name AND held_at IS NULL FOR SHARE)", skip="{skip}"
)
# Read from the index in steps, one for each batch. A batch that is being held or released is left to the next look.
_LEFT_BEHIND = text("""
WITH RECURSIVE part AS (
  (SELECT batch_id FROM job WHERE on_hold AND state = 'queued' AND account = :account AND error_code = :code
    ORDER BY batch_id LIMIT 1)
  UNION ALL
  SELECT (SELECT batch_id FROM job WHERE on_hold AND state = 'queued' AND account = :account AND error_code = :code
    AND batch_id > part.batch_id ORDER BY batch_id LIMIT 1) FROM part WHERE part.batch_id IS NOT NULL
)
SELECT id FROM batch WHERE id IN (SELECT batch_id FROM part) AND held_at IS NULL ORDER BY id FOR SHARE SKIP LOCKED
""")
_RETURN_LEFT_BEHIND = text(
    _BACK.format(which="account = :account AND batch_id = ANY(CAST(:batches AS uuid[]))", skip="SKIP LOCKED")
)
_SKIP: Final = {False: "SKIP LOCKED", True: ""}
_PUT_ON_HOLD = {wait: text(_IN_LINE.format(skip=skip)) for wait, skip in _SKIP.items()}
_RETURN = {wait: text(_BACK_IN_LINE.format(skip=skip)) for wait, skip in _SKIP.items()}
_CHANGE: Final = """
WITH chosen AS MATERIALIZED (
  SELECT part.id FROM unnest(CAST(:states AS text[])) AS a (state) CROSS JOIN (VALUES (false), (true)) AS b (on_hold)
  CROSS JOIN LATERAL (
    SELECT id FROM job WHERE batch_id = (SELECT id FROM batch WHERE name = :name) AND state = a.state
      AND on_hold = b.on_hold AND id > :after{which} ORDER BY id LIMIT :most
  ) AS part ORDER BY part.id LIMIT :most
), changed AS (
  UPDATE job SET {change} FROM chosen WHERE job.id = chosen.id RETURNING job.id
)
SELECT count(*) AS jobs, max(CAST(id AS text)) AS last FROM changed
"""
_PRIORITY = text(_CHANGE.format(change="priority = :value", which=""))
_DEADLINE = text(
    _CHANGE.format(
        change="deadline_at = now() + :value * interval '1 second'",
        which=" AND NOT (on_hold AND error_code IS NOT DISTINCT FROM 'batch_held')",
    )
)
_OPEN: Final = [state.value for state in JobState if state not in FINAL]
_QUEUED: Final = [JobState.QUEUED.value]
_FIRST: Final = UUID(int=0)


class Changed(NamedTuple):
    """How many jobs one transaction changed, and the last of them; the next one begins after it. None: all are done."""

    jobs: int
    after: UUID | None


def hold(connection: Connection, batch: str) -> bool:
    """Hold a batch: nothing more is bought for it after the commit. False if it is held already, or is not there.

    The caller repeats `put_batch_on_hold` in further transactions until a transaction that waits returns 0.
    """
    return connection.execute(_HOLD, {"name": batch}).rowcount == 1


def put_batch_on_hold(connection: Connection, batch: str, *, actor: str, wait: bool = False) -> int:
    """Put up to 500 queued jobs of a held batch on hold, and return their number.

    Jobs that others have locked are left out. With `wait`, one job is put on hold, and its lock is awaited. Never two:
    then no other order of locks can make a deadlock.
    """
    rows = connection.execute(_PUT_ON_HOLD[wait], {"name": batch, "most": _most(wait=wait)}).all()
    return put_on_hold(connection, [Claim(row.id, row.epoch) for row in rows], actor=actor)


def _most(*, wait: bool) -> int:
    return 1 if wait else CHUNK


def put_on_hold(connection: Connection, claims: Sequence[Claim], *, actor: str) -> int:
    """Put queued jobs on hold because their batch is held; return how many had not moved meanwhile."""
    steps = [Move(one, JobState.QUEUED, JobState.QUEUED, 0, code=HELD, note=_NOTE, on_hold=True) for one in claims]
    moved = move(connection, steps, actor=actor)
    connection.execute(_WITHOUT_END, {"ids": list(moved)})
    return len(moved)


def hold_instead(connection: Connection, claims: Sequence[Claim], *, actor: str) -> list[Claim]:
    """Put queued jobs of held batches on hold, and return the other jobs: no deadline passes while a batch is held.

    Such a job came after the hold, or was on hold for another reason. A release of this moment leaves it to
    `return_left_behind`.
    """
    if not claims:
        return []
    held = set(connection.execute(_OF_HELD, {"ids": [one.job_id for one in claims]}).scalars())
    put_on_hold(connection, [one for one in claims if one.job_id in held], actor=actor)
    return [one for one in claims if one.job_id not in held]


def release(connection: Connection, batch: str) -> bool:
    """Let a batch go on; False if it is not there.

    The caller repeats `return_to_line` until a transaction that waits returns 0.
    """
    return connection.execute(_RELEASE, {"name": batch}).rowcount == 1


def return_to_line(connection: Connection, batch: str, *, deadline_seconds: float, wait: bool = False) -> int:
    """Put up to 500 jobs of a released batch back in line, with a new deadline; return their number.

    `wait`: as for `put_batch_on_hold`.
    """
    asked = {"name": batch, "code": HELD, "most": _most(wait=wait), "deadline": deadline_seconds}
    return connection.execute(_RETURN[wait], asked).rowcount


def return_left_behind(connection: Connection, account: str, *, deadline_seconds: float) -> int:
    """Put up to 500 jobs of an account back in line that a release left on hold, because its process died."""
    whose = {"account": account, "code": HELD}
    batches = list(connection.execute(_LEFT_BEHIND, whose).scalars())
    if not batches:
        return 0
    asked = {**whose, "batches": batches, "most": CHUNK, "deadline": deadline_seconds}
    return connection.execute(_RETURN_LEFT_BEHIND, asked).rowcount


def is_held(connection: Connection, batch: str) -> bool:
    """Tell whether a batch is held."""
    return bool(connection.execute(_IS_HELD, {"name": batch}).scalar_one_or_none())


def set_priority(connection: Connection, batch: str, priority: int, *, after: UUID | None = None) -> Changed:
    """Give up to 500 jobs of a batch that have not ended a priority, beginning after the job `after`."""
    return _change(connection, _PRIORITY, {"name": batch, "value": priority, "states": _OPEN}, after)


def set_deadline(connection: Connection, batch: str, seconds: float, *, after: UUID | None = None) -> Changed:
    """Let up to 500 queued jobs of a batch buy nothing any more after `seconds` from now.

    Jobs that are on hold because the batch is held get a new deadline when it is released.
    """
    return _change(connection, _DEADLINE, {"name": batch, "value": float(seconds), "states": _QUEUED}, after)


def _change(connection: Connection, statement: object, asked: dict[str, object], after: UUID | None) -> Changed:
    row = connection.execute(statement, {**asked, "after": after or _FIRST, "most": CHUNK}).one()  # type: ignore[call-overload]
    return Changed(row.jobs, UUID(row.last) if row.jobs == CHUNK else None)
