"""The images of a job: which to poll, which to download, and the result of each."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.images import ClaimedImage, ImageChange
from shared.lifecycle import ImageState, JobState
from shared.moves import Claim

_OF: Final = text("""
SELECT job.id, job.epoch, job.state AS job_state, job.tries AS job_tries, job.batch_id,
  job.collect_until <= now() AS given_up, image.index, image.upstream_id, image.state, image.link,
  image.link_expires_at, CAST(extract(epoch FROM image.link_expires_at - now()) AS float8), image.tries,
  image.error_code, image.error,
  image.lacking_looks, CAST(coalesce(extract(epoch FROM now() - image.lacking_since), 0) AS float8),
  to_char(coalesce(image.lacking_since, now()), 'HH24:MI:SS'),
  coalesce(account.found_at >= image.lacking_since, false), image.short_sha256, image.refused_sha256,
  coalesce(job.request ->> 'model', ''),
  CAST(coalesce(extract(epoch FROM now() - submission.answered_at), 0) AS float8), image.submission_id,
  submission.key_id, image.stated_width, image.stated_height
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
JOIN image ON image.job_id = job.id
JOIN account ON account.name = image.account
JOIN submission ON submission.id = image.submission_id
WHERE job.claimed_by IS NOT NULL AND job.state = ANY(CAST(:states AS text[])) AND job.account = :account
ORDER BY image.link_expires_at, job.id, image.index
""")


def _still_kept(code: str, note: str) -> tuple[str, str]:
    """Return the SQL of a failure's code and note. A kept image stays kept, whatever fails later."""
    kept = f"image.key IS NOT NULL AND {code} NOT IN ('result_unverified', 'result_too_large')"
    told = f"concat_ws('; ', left({note}, 250), 'what came before is kept as ' || image.key)"
    return f"CASE WHEN {kept} THEN 'result_unverified' ELSE {code} END", f"CASE WHEN {kept} THEN {told} ELSE {note} END"


_CODE, _NOTE = _still_kept("a.code", "a.note")
_CHANGE: Final = text(f"""
UPDATE image SET state = a.state, link = coalesce(a.link, image.link), tries = a.tries,
  link_expires_at = CASE WHEN a.link IS NULL THEN image.link_expires_at ELSE a.expires END,
  error_code = CASE WHEN a.state = 'failed' THEN {_CODE} ELSE a.code END,
  error = CASE WHEN a.state = 'failed' THEN {_NOTE} ELSE a.note END,
  stated_width = CASE WHEN a.link IS NULL THEN image.stated_width ELSE a.width END,
  stated_height = CASE WHEN a.link IS NULL THEN image.stated_height ELSE a.height END,
  short_sha256 = a.short, lacking_looks = a.looks,
  lacking_since = CASE WHEN a.looks = 1 THEN now() WHEN a.looks > 1 THEN image.lacking_since END
FROM unnest(
  CAST(:jobs AS uuid[]), CAST(:epochs AS integer[]), CAST(:indexes AS integer[]), CAST(:states AS text[]),
  CAST(:links AS text[]), CAST(:expires AS timestamptz[]), CAST(:tries AS integer[]), CAST(:codes AS text[]),
  CAST(:notes AS text[]), CAST(:looks AS integer[]), CAST(:shorts AS bytea[]), CAST(:upstream_ids AS text[]),
  CAST(:widths AS integer[]), CAST(:heights AS integer[])
) AS a (job_id, epoch, index, state, link, expires, tries, code, note, looks, short, upstream_id, width, height), job
WHERE image.job_id = a.job_id AND image.index = a.index AND image.upstream_id IS NOT DISTINCT FROM a.upstream_id
  AND image.state NOT IN ('stored', 'upstream_only', 'failed')
  AND job.id = a.job_id AND job.epoch = a.epoch AND job.claimed_by IS NOT NULL
""")
# Jobs of which looks have found no image for this long, while no other image of their account was found either.
_LACKING = text("""
SELECT count(DISTINCT image.job_id) FROM image JOIN account ON account.name = image.account
WHERE image.account = :account AND image.lacking_looks > 0 AND image.error_code = :code
  AND image.lacking_looks >= :looks AND image.lacking_since <= now() - :seconds * interval '1 second'
  AND coalesce(account.found_at < image.lacking_since, true)
  AND image.state NOT IN ('stored', 'upstream_only', 'failed')
""")
_LOOK_FAILED = text("""
SELECT id FROM job WHERE account = :account AND state IN ('pending', 'processing') AND error_code = 'look_failed'
LIMIT 2
""")
_CODE, _NOTE = _still_kept("'never_finished'", "CAST(:note AS text)")
_GIVE_UP = text(f"""
UPDATE image SET state = 'failed', error_code = {_CODE}, error = {_NOTE}
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND state NOT IN ('stored', 'upstream_only', 'failed')
""")
_BOUND = text("SELECT collect_until <= now() FROM job WHERE id = :job")
_RESULTS = text("""
SELECT job_id, index, state, error_code, error,
  index < (SELECT images FROM job WHERE job.id = image.job_id) AS asked
FROM image WHERE job_id = ANY(CAST(:jobs AS uuid[])) ORDER BY index
""")


@dataclass(frozen=True, slots=True)
class ImageResult:
    """How far one image of a job has come."""

    index: int
    state: ImageState
    error_code: str | None
    error: str | None
    asked: bool
    """Whether the job asked for it; a provider may give more."""


def of_claims(
    connection: Connection, *, account: str, claims: Sequence[Claim], states: Iterable[JobState]
) -> list[ClaimedImage]:
    """Return the images of the account's claimed jobs that are still in `states`, earliest link expiry first."""
    parameters = {
        "account": account,
        "ids": [c.job_id for c in claims],
        "epochs": [c.epoch for c in claims],
        "states": [state.value for state in states],
    }
    return [_claimed(*row) for row in connection.execute(_OF, parameters)]


def _claimed(job_id: UUID, epoch: int, job_state: str, *rest: Any) -> ClaimedImage:
    tries, batch_id, given_up, index, upstream_id, state, *others = rest
    claim = Claim(job_id, epoch)
    return ClaimedImage(
        claim, JobState(job_state), tries, batch_id, given_up, index, upstream_id, ImageState(state), *others
    )


def change(connection: Connection, changes: Sequence[ImageChange]) -> None:
    """Write results for images that are not final yet, if their claims still hold."""
    if not changes:
        return
    connection.execute(
        _CHANGE,
        {
            "jobs": [c.claim.job_id for c in changes],
            "epochs": [c.claim.epoch for c in changes],
            "indexes": [c.index for c in changes],
            "states": [c.state.value for c in changes],
            "links": [c.link for c in changes],
            "expires": [c.link_expires_at for c in changes],
            "tries": [c.tries for c in changes],
            "codes": [c.error_code for c in changes],
            "notes": [c.error for c in changes],
            "looks": [c.lacking_looks for c in changes],
            "shorts": [c.short_sha256 for c in changes],
            "upstream_ids": [c.upstream_id for c in changes],
            "widths": [c.stated and c.stated[0] for c in changes],
            "heights": [c.stated and c.stated[1] for c in changes],
        },
    )


def lacking_jobs(connection: Connection, account: str, *, code: str, looks: int, seconds: float) -> int:
    """Count jobs with an image for which `looks` looks over `seconds` said `code` while no other image was found."""
    parameters = {"account": account, "code": code, "looks": looks, "seconds": seconds}
    return int(connection.execute(_LACKING, parameters).scalar_one())


def refused_jobs(connection: Connection, account: str) -> set[UUID]:
    """Return the jobs of an account whose last look failed; two of them if there are more."""
    return set(connection.execute(_LOOK_FAILED, {"account": account}).scalars())


def give_up(connection: Connection, jobs: Iterable[UUID], note: str) -> None:
    """End the images that never came, of jobs that this transaction has just ended. Their links stay known."""
    connection.execute(_GIVE_UP, {"jobs": list(jobs), "note": note})


def past_bound(connection: Connection, job_id: UUID) -> bool:
    """Tell whether the collection deadline of a job has passed."""
    return bool(connection.execute(_BOUND, {"job": job_id}).scalar_one())


def results(connection: Connection, jobs: Collection[UUID]) -> dict[UUID, list[ImageResult]]:
    """Return how far each image of the jobs has come, by job and index."""
    found: dict[UUID, list[ImageResult]] = {job: [] for job in jobs}
    for job, index, state, code, note, asked in connection.execute(_RESULTS, {"jobs": list(jobs)}):
        found[job].append(ImageResult(index, ImageState(state), code, note, asked))
    return found
