"""Erases the personal data of ended jobs when a person asks: the request, and the providers' words and answers.

Money, ids, hashes, times and codes stay. The request's fingerprint stays too, so the same row in the same batch is
still known and adds nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.jobs import bulk, inbox
from shared.db.jobs.bulk import BulkPlan, Target, Which
from shared.db.jobs.inbox import INVALID
from shared.db.jobs.transitions import Claim
from shared.db.leaving import doomed
from shared.db.lost_calls import candidates
from shared.lifecycle import JobState

CODE: Final = "erased"
"""The code of the event of an erasure."""
MARKER: Final = "[erased]"
"""The text that replaces the prompt."""
ERASE: Final = "erase"
RESULTS: Final = "erase_results"
NOT_ERASED: Final = f"NOT EXISTS (SELECT 1 FROM job_event e WHERE e.job_id = job.id AND e.code = '{CODE}')"
"""SQL: a job that is not erased, so that it could be sent."""
REFUSALS: Final = {
    "held": "held in doubt: `genqueue resolve JOB --fail` ends it",
    "open": "not ended yet: `genqueue cancel JOB` ends it",
    "money_held": "a lost call of it has an open cost: `genqueue resolve JOB --fail --charged AMOUNT` settles it",
    "unchecked": "came by SQL, and wait for a worker to check them: the same command then erases them",
    "uncollected": "something that it bought is not collected: `genqueue retry JOB` collects it",
}
"""Why a job cannot be erased yet -> the words for it, with the command that removes the obstacle."""
# Without these obstacles, no remaining work for the job needs the erased data.
_MATCHING = text("""
SELECT job.id, job.epoch, CASE
  WHEN job.state = 'in_doubt' OR (job.on_hold AND job.state NOT IN ('queued')) THEN 'held'
  WHEN job.due_at IS NOT NULL THEN 'open'
  WHEN EXISTS (SELECT 1 FROM submission s WHERE s.job_id = job.id AND coalesce(s.outcome, 'unknown') = 'unknown')
    THEN 'money_held'
  WHEN EXISTS (SELECT 1 FROM image i WHERE i.job_id = job.id AND i.state IN ('pending', 'processing', 'ready'))
    THEN 'uncollected'
END AS refused
FROM job WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY job.id
""")
# Replies, unreadable answers and evidence lie under keys that contain the attempt's id.
_KEYS = text("""
SELECT 'submissions/' || s.id || '/' || name AS key
FROM submission s CROSS JOIN (VALUES ('reply'), ('answer'), ('evidence')) AS names (name)
WHERE s.job_id = ANY(CAST(:ids AS uuid[]))
UNION SELECT note FROM job_event
WHERE job_id = ANY(CAST(:ids AS uuid[])) AND code IN ('bought_again', 'result_unverified') AND note LIKE 'unverified/%'
UNION SELECT key FROM image
WHERE job_id = ANY(CAST(:ids AS uuid[])) AND key IS NOT NULL AND (state <> 'stored' OR :results)
""")
# Only what is known to hold no words of a person stays. A wrong row that came by SQL has any text under any key.
_REQUEST = text(f"""
UPDATE job SET request = jsonb_build_object('prompt', CAST(:marker AS text)) || (
  SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(job.request)
  WHERE key = ANY(CAST(:kept AS text[])) AND job.error_code IS DISTINCT FROM '{INVALID}'
), error = NULL
WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_KEPT: Final = ("model", "aspect_ratio", "size", "n", "seed", "output_format")
_METADATA = text("DELETE FROM job_metadata WHERE job_id = ANY(CAST(:ids AS uuid[]))")
_SUBMISSION = text("""
UPDATE submission SET error = NULL, kept_as = NULL, reply_sha256 = NULL WHERE job_id = ANY(CAST(:ids AS uuid[]))
""")
_IMAGE = text("""
UPDATE image SET link = NULL, link_expires_at = NULL, error = NULL,
  bucket = CASE WHEN state = 'stored' AND NOT :results THEN bucket END,
  key = CASE WHEN state = 'stored' THEN key END
WHERE job_id = ANY(CAST(:ids AS uuid[]))
""")
_EVENTS = text(
    "UPDATE job_event SET note = NULL WHERE job_id = ANY(CAST(:ids AS uuid[])) AND code IS DISTINCT FROM :code"
)
_TOLD = text("""
INSERT INTO job_event (job_id, epoch, from_state, to_state, actor, code, note)
SELECT id, epoch, state, state, :actor, :code, :note FROM job WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")
_NOTES: Final = {
    ERASE: "prompt, references, metadata, kept answers, unverified images, links and providers' words",
    RESULTS: "prompt, references, metadata, kept answers, unverified images, links, providers' words and stored images",
}


def plan(connection: Connection, which: Which, *, results: bool) -> BulkPlan:
    """Return the matching jobs that can be erased, and the number of others by reason; changes nothing."""
    free, left = _sorted(connection, which)
    act = RESULTS if results else ERASE
    targets = bulk.describe(connection, [(claim, act) for claim in free])
    return BulkPlan(act, tuple(targets), bulk.now(connection), tuple(sorted(left.items())))


def _matching(connection: Connection, which: Which) -> Iterator[Any]:
    for ids in bulk.pages(connection, which, tuple(JobState)):
        yield from connection.execute(_MATCHING, {"ids": ids}).all()


def carry_out(connection: Connection, shown: Sequence[Target], *, results: bool, actor: str) -> int:
    """Erase the jobs that have not changed since they were shown, and return their number."""
    ids = [target.job_id for target in shown]
    bulk.lock(connection, ids)
    found = bulk.unchanged(shown, plan(connection, Which(ids=ids), results=results).targets)
    _erase(connection, [target.job_id for target in found], results=results, actor=actor)
    return len(found)


def _sorted(connection: Connection, which: Which) -> tuple[list[Claim], Counter[str]]:
    free, left = [], Counter[str]()
    for row in _matching(connection, which):
        if row.refused:
            left[row.refused] += 1
        else:
            free.append(Claim(row.id, row.epoch))
    if which.batch is not None and (waiting := inbox.count_waiting(connection, which.batch)):
        left["unchecked"] = waiting
    return free, left


def _erase(connection: Connection, ids: Sequence[UUID], *, results: bool, actor: str) -> None:
    jobs: dict[str, Any] = {"ids": list(ids)}
    keys = connection.execute(_KEYS, {**jobs, "results": results}).scalars().all()
    doomed.doom(connection, [*keys, *candidates.leave(connection, ids)])
    connection.execute(_REQUEST, {**jobs, "marker": MARKER, "kept": list(_KEPT)})
    connection.execute(_METADATA, jobs)
    connection.execute(_SUBMISSION, jobs)
    connection.execute(_IMAGE, {**jobs, "results": results})
    connection.execute(_EVENTS, {**jobs, "code": CODE})
    note = f"erased: {_NOTES[RESULTS if results else ERASE]}"
    connection.execute(_TOLD, {**jobs, "actor": actor, "code": CODE, "note": note})
