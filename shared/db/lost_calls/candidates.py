"""Candidates: pictures in a provider's list that may be what a lost call bought, and the preview of each.

They are recorded when a job is held because its provider's list does not settle its call. A person compares them. The
preview is a small picture of ours in the bucket; the provider's own file and its link are not kept.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.leaving import doomed

MOST: Final = 6
"""Candidates of one lost call; more cannot be compared side by side."""
MOST_TRIES: Final = 5
"""Tries to get a preview, over an hour and a half."""
_NAME: Final = re.compile(r"[0-9a-f]{64}")
_NOTE = text("""
INSERT INTO candidate (submission_id, upstream_id, account, made_at, key, due_at)
SELECT CAST(:submission AS uuid), a.upstream_id, :account, a.made_at, known.key,
  CASE WHEN known.key IS NULL THEN clock_timestamp() END
FROM unnest(CAST(:ids AS text[]), CAST(:times AS timestamptz[])) AS a (upstream_id, made_at)
LEFT JOIN LATERAL (
  SELECT key FROM candidate WHERE account = :account AND upstream_id = a.upstream_id AND key IS NOT NULL LIMIT 1
) AS known ON true
ON CONFLICT DO NOTHING
""")
_DUE = text("""
SELECT DISTINCT account FROM candidate WHERE account = ANY(CAST(:accounts AS text[])) AND due_at <= clock_timestamp()
""")
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('previews ' || :account, 0))")
# Taking a picture postpones it, for every call that it may belong to. If the worker dies, it becomes due again.
_TAKE = text(f"""
UPDATE candidate SET tries = tries + 1,
  due_at = CASE WHEN tries < {MOST_TRIES - 1} THEN clock_timestamp() + interval '3 minutes' * 2 ^ tries END
WHERE account = :account AND due_at IS NOT NULL AND upstream_id IN (
  SELECT upstream_id FROM candidate WHERE account = :account AND due_at <= clock_timestamp()
  ORDER BY due_at LIMIT :limit)
RETURNING upstream_id
""")
_MADE = text("""
UPDATE candidate SET key = :key, due_at = NULL WHERE account = :account AND upstream_id = :upstream_id
""")
# A worker that died may have stored a preview without recording it.
_LEAVE = text("""
WITH gone AS (
  DELETE FROM candidate USING submission s
  WHERE s.id = candidate.submission_id AND s.job_id = ANY(CAST(:jobs AS uuid[]))
  RETURNING candidate.account, candidate.upstream_id, candidate.key, candidate.tries
)
SELECT DISTINCT account, upstream_id FROM gone WHERE (key IS NOT NULL OR tries > 0) AND NOT EXISTS (
  SELECT 1 FROM candidate other JOIN submission s ON s.id = other.submission_id
  WHERE other.account = gone.account AND other.upstream_id = gone.upstream_id
    AND s.job_id <> ALL(CAST(:jobs AS uuid[])))
""")
OF_CALL: Final = """
  SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.upstream_id,
    'made_at', to_char(c.made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'key', c.key, 'tries', c.tries)
    ORDER BY c.made_at, c.upstream_id), '[]')
  FROM candidate c WHERE c.submission_id = {submission} AND NOT EXISTS (
    SELECT 1 FROM image i WHERE i.account = c.account
      AND i.upstream_id IN (c.upstream_id, lower(c.upstream_id), upper(c.upstream_id)))
"""
"""SQL: the candidates of `submission` that nobody owns by now, as JSON: `id`, `made_at` (UTC), `key`, `tries`."""
_CHOICES = text("SELECT upstream_id FROM candidate WHERE submission_id = :submission ORDER BY made_at, upstream_id")


class Candidate(NamedTuple):
    """One picture of a list; `made_at` is by the provider's clock, None if the list does not say."""

    upstream_id: str
    made_at: datetime | None


def note(connection: Connection, account: str, submission_id: UUID, found: Sequence[Candidate]) -> None:
    """Record up to `MOST` candidates of a lost call; repeating it does no harm."""
    ids, times = [one.upstream_id for one in found[:MOST]], [one.made_at for one in found[:MOST]]
    connection.execute(_NOTE, {"account": account, "submission": submission_id, "ids": ids, "times": times})


def due(connection: Connection, accounts: Sequence[str]) -> list[str]:
    """Return those of the accounts that have a picture which lacks a preview."""
    found: Any = connection.execute(_DUE, {"accounts": list(accounts)}).scalars()
    return list(found)


def take(connection: Connection, account: str, *, limit: int) -> list[str]:
    """Return pictures that lack a preview, each once, postponed so that nobody else takes them now."""
    if not connection.execute(_TURN, {"account": account}).scalar_one():
        return []
    found: Any = connection.execute(_TAKE, {"account": account, "limit": limit}).scalars()
    return list(dict.fromkeys(found))


def made(connection: Connection, account: str, upstream_id: str, key: str) -> None:
    """Record the preview of a picture, for every call that it may belong to.

    If its calls have left meanwhile, as when their jobs were erased, the preview is deleted.
    """
    if not connection.execute(_MADE, {"account": account, "upstream_id": upstream_id, "key": key}).rowcount:
        doomed.doom(connection, [key])


def choices(connection: Connection, submission_id: UUID) -> list[str]:
    """Return the pictures that a person may choose as what this call bought."""
    found: Any = connection.execute(_CHOICES, {"submission": submission_id}).scalars()
    return list(found)


def leave(connection: Connection, jobs: Sequence[UUID]) -> Sequence[str]:
    """Delete the candidates of these jobs, and return the keys of previews that nothing names any more."""
    gone = connection.execute(_LEAVE, {"jobs": list(jobs)})
    return [preview_key(row.account, row.upstream_id) for row in gone]


def preview_key(account: str, upstream_id: str) -> str:
    """Return the key of a picture's preview in the bucket; the provider's id cannot be read from it."""
    return key_of(preview_name(account, upstream_id))


def key_of(name: str) -> str:
    """Return the key of the preview of this name; raises `ValueError` for what is none."""
    if not _NAME.fullmatch(name):
        raise ValueError("64 lower-case hexadecimal digits are needed")
    return f"submissions/preview-{name}.webp"


def preview_name(account: str, upstream_id: str) -> str:
    """Return a short name for a picture at a provider, of 64 hexadecimal digits."""
    return hashlib.sha256(f"{account}\n{upstream_id}".encode()).hexdigest()
