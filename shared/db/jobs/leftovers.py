"""Holds the jobs that an older genqueue's trial left in a real database, so that no real account pays for them.

Older versions ran trials in the same home as real work. The `key_id` of an attempt shows whether it went to the
simulator. Unfinished jobs of a trial are put on hold in their state and wait for a person. Their images at the
simulator are given up.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared import key_ids
from shared.db.payments import submissions
from shared.db.payments.submissions import Answer
from shared.lifecycle import Outcome

CODE: Final = "trial_leftover"
NOT_A_LEFTOVER: Final = f"(NOT on_hold OR error_code IS DISTINCT FROM '{CODE}')"
"""SQL: a job that is not held here. Every query that takes jobs by their due time needs it."""
_NOTE: Final = "left over from a trial with the simulator: nothing real was paid for it"
_HELD_SECONDS: Final = 86_400.0
_OPEN: Final = "job.due_at IS NOT NULL"
_LATEST: Final = f"""
SELECT DISTINCT ON (s.job_id) s.job_id, s.id, s.outcome, s.key_id FROM submission s JOIN job ON job.id = s.job_id
WHERE {_OPEN} ORDER BY s.job_id, s.opened_at DESC
"""
_KEYS = text("SELECT DISTINCT key_id FROM submission WHERE key_id IS NOT NULL")
_LAST = text("SELECT key_id FROM submission ORDER BY opened_at DESC LIMIT 1")
# A job whose own last call went to the simulator. If the last call of all went there, so would jobs that are not sent
# yet, and jobs whose receiver is unknown. Purchases of a real account go on.
_LEFT = text(f"""
SELECT job.id, job.state, latest.id AS submission, latest.outcome
FROM job LEFT JOIN ({_LATEST}) AS latest ON latest.job_id = job.id
WHERE {_OPEN} AND (latest.key_id = ANY(CAST(:simulated AS text[]))
  OR (:all AND (job.state = 'queued' OR latest.key_id IS NULL)))
ORDER BY job.id FOR UPDATE OF job
""")
_GIVE_UP = text("""
UPDATE image SET state = 'failed', error_code = :code, error = :note FROM submission s
WHERE s.id = image.submission_id AND image.job_id = ANY(CAST(:jobs AS uuid[]))
  AND image.state IN ('pending', 'processing', 'ready')
  AND (s.key_id IS NULL OR s.key_id = ANY(CAST(:simulated AS text[])))
""")
# Finished jobs too, because a free retry would ask a real provider about the simulator's id.
_FORGET = text("""
UPDATE image SET error_code = :code, error = :note || '; before: ' || concat_ws(': ', image.error_code, image.error)
FROM submission s
WHERE s.id = image.submission_id AND image.state = 'failed' AND s.key_id = ANY(CAST(:simulated AS text[]))
  AND image.error_code <> :code
""")
_HOLD = text("""
WITH before AS (SELECT id, state FROM job WHERE id = ANY(CAST(:jobs AS uuid[]))), held AS (
  UPDATE job SET state = CASE WHEN before.state = 'submitting' THEN 'in_doubt' ELSE before.state END, on_hold = true,
    claimed_by = NULL, begun_together = NULL, crashes = 0, epoch = epoch + 1, error_code = :code, error = :note,
    due_at = now() + :seconds * interval '1 second'
  FROM before WHERE before.id = job.id RETURNING job.id, job.epoch, before.state AS was, job.state
)
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, was, state, 'upgrade', :code, :note FROM held
""")


def hold(connection: Connection, *, simulator_was_here: bool) -> int:
    """Hold every unfinished job of a trial and return how many there are.

    `simulator_was_here`: the home shows that the simulator ran in it. This counts if no attempt tells more.
    """
    last = connection.execute(_LAST).one_or_none()
    asked = set(connection.execute(_KEYS).scalars())
    simulated = asked & key_ids.simulators() if asked else set()
    by_simulator = simulator_was_here if last is None or last.key_id is None else last.key_id in simulated
    left = connection.execute(_LEFT, {"simulated": list(simulated), "all": by_simulator}).all()
    for row in left:
        if row.submission is not None and row.outcome is None:
            answer = Answer(Outcome.UNKNOWN, error_code="sender_lost", error=_NOTE)
            submissions.record(connection, row.submission, answer)
    connection.execute(_FORGET, {"simulated": list(simulated), "code": CODE, "note": _NOTE})
    _hold(connection, [row.id for row in left], simulated)
    return len(left)


def _hold(connection: Connection, jobs: Collection[UUID], simulated: Collection[str]) -> None:
    words = {"jobs": list(jobs), "code": CODE, "note": _NOTE}
    connection.execute(_GIVE_UP, {**words, "simulated": list(simulated)})
    connection.execute(_HOLD, {**words, "seconds": _HELD_SECONDS})
