"""What waits for a person: lost calls, one decision each, and jobs on hold, counted by batch and reason."""

from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from shared.db.jobs import bulk, resolve
from shared.db.jobs.bulk import SecondCharge
from shared.db.jobs.transitions import Claim
from shared.db.lost_calls.candidates import OF_CALL
from shared.db.read.pages import Row

MOST_OF_ACCOUNT: Final = 50
"""Held jobs of one account that a page shows; those that have waited longest come first."""
_NEAR_SECONDS: Final = 600
# The index of jobs in doubt holds them by account and due time. A held job is due a day after it was put on hold, so
# that this order is the order in which they began to wait.
_LOST: Final = text(f"""
SELECT job.id, job.epoch, job.custom_id, batch.name AS batch, batch.on_unknown, job.account, job.provider,
  account.unit, job.error_code, job.error, job.request ->> 'prompt' AS prompt, job.request ->> 'model' AS model,
  job.images AS wanted, job.cancel_requested_at, held.since, now() AS now, lost.opened_at, lost.visible_by,
  lost.http_status, lost.kept_as, lost.error AS lost_error, seen.unowned,
  ({OF_CALL.format(submission="lost.id")}) AS candidates
FROM account CROSS JOIN LATERAL (
  SELECT id FROM job WHERE account = account.name AND state = 'in_doubt' AND on_hold ORDER BY due_at LIMIT :limit
) AS page
JOIN job ON job.id = page.id JOIN batch ON batch.id = job.batch_id
CROSS JOIN LATERAL (
  SELECT coalesce(max(at), job.created_at) AS since FROM job_event
  WHERE job_id = job.id AND from_state <> to_state
) AS held
LEFT JOIN LATERAL (
  SELECT * FROM submission WHERE job_id = job.id AND coalesce(outcome, 'unknown') = 'unknown'
  ORDER BY opened_at DESC LIMIT 1
) AS lost ON true
CROSS JOIN LATERAL (
  SELECT coalesce(jsonb_agg(jsonb_build_object('id', upstream_id, 'made_at', made_at, 'note', note)), '[]') AS unowned
  FROM (
    SELECT upstream_id, to_char(made_at, 'YYYY-MM-DD HH24:MI:SS') AS made_at, note FROM unowned_image AS image
    WHERE image.account = job.account AND image.made_at BETWEEN lost.opened_at - :near * interval '1 second'
      AND lost.visible_by + :near * interval '1 second' ORDER BY image.made_at LIMIT 6
  ) AS near
) AS seen
ORDER BY held.since
""")
_ON_HOLD = text("""
SELECT batch.name AS batch, part.provider, part.error_code, part.jobs FROM (
  SELECT batch_id, provider, error_code, CAST(sum(jobs) AS bigint) AS jobs FROM (
    SELECT batch_id, provider, error_code, jobs FROM job_count
    WHERE batch_id IS NOT NULL AND on_hold AND state <> 'in_doubt'
    UNION ALL SELECT batch_id, provider, error_code, jobs FROM job_count_delta WHERE on_hold AND state <> 'in_doubt'
  ) AS counted GROUP BY 1, 2, 3 HAVING sum(jobs) > 0
) AS part JOIN batch ON batch.id = part.batch_id
ORDER BY part.jobs DESC, batch.name, part.error_code LIMIT 100
""")


class LostCallHeld(NamedTuple):
    """One job whose paid call is lost, with what a person needs to decide, and the worst second charge."""

    facts: Row
    may_be_bought: bool
    second_charge: Decimal | None
    """The most that sending it again could cost a second time, in the account's unit; None if unknown."""


class HeldJobs(NamedTuple):
    """What waits for a person now."""

    lost: list[LostCallHeld]
    worst: SecondCharge
    """The most that sending all of `lost` again could pay a second time."""
    on_hold: list[Row]
    """Jobs on hold, by batch, provider and reason."""


def held(connection: Connection, *, limit: int = MOST_OF_ACCOUNT) -> HeldJobs:
    """Return what waits for a person, up to `limit` lost calls of each account, in three statements."""
    on_hold = connection.execute(_ON_HOLD).all()
    rows = [row._asdict() for row in connection.execute(_LOST, {"limit": limit, "near": _NEAR_SECONDS})]
    claims = [(Claim(row["id"], row["epoch"]), resolve.RESEND) for row in rows]
    targets = {target.job_id: target for target in bulk.describe(connection, claims)}
    lost = [_judged(row, targets.get(row["id"])) for row in rows]
    return HeldJobs(lost, bulk.second_charge(targets.values()), [row._asdict() for row in on_hold])


def _judged(row: Row, target: Any) -> LostCallHeld:
    if target is None:  # it has left the line since the first statement
        return LostCallHeld(row, may_be_bought=True, second_charge=None)
    return LostCallHeld(row, target.may_be_bought, target.second_charge)
