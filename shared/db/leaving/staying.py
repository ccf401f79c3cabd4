"""Why an ended job's rows are still needed.

A provider's list shows purchases of months ago. An image that no row of ours owns seems to be a stranger's or a lost
call's. So a row stays for as long as a look-up may still read the list at its time.
"""

from typing import Final

READINGS_DAYS: Final = 32
"""Days: usage and cost figures are kept for 30 days and compared with the calls of their span; clocks may differ."""
_MARGIN: Final = "interval '2 days'"
"""How far beyond its span a search reads a provider's list, with a margin."""
HELD: Final = "held"
MONEY: Final = "money_held"
UNCOLLECTED: Final = "uncollected"
DOUBT_BESIDE: Final = "doubt_beside"
NOT_SWEPT: Final = "not_swept"
IN_FIGURES: Final = "in_figures"
REASONS: Final = {
    HELD: "held for a person: genqueue explain JOB says how it ends",
    MONEY: "a call of it has no known end, and its money is set aside: genqueue resolve JOB --fail --charged AMOUNT",
    UNCOLLECTED: "a purchase of it is not collected: genqueue retry JOB",
    DOUBT_BESIDE: "an older call at its provider is in doubt, and is looked for in a list that shows this job's "
    "pictures too: genqueue jobs BATCH --state in_doubt, then genqueue resolve JOB",
    NOT_SWEPT: "its provider's list was not yet searched up to its time: a worker will do that",
    IN_FIGURES: f"its calls stand in figures of the provider that are still compared, {READINGS_DAYS} days at least",
}
"""Why an old job stays -> what that means, and the command that ends it."""
# Up to when calls of an account must have been over. Look-ups and searches go by provider: one key may serve several
# accounts. Of accounts that nobody serves any more, only their own search counts.
FLOORS: Final = f"""
floors AS (
  SELECT me.name AS account,
    (SELECT min(s.opened_at) FROM submission s JOIN account a ON a.name = s.account
      WHERE a.provider = me.provider AND (s.outcome IS NULL OR s.outcome = 'unknown')) - {_MARGIN} AS doubt,
    (SELECT min(coalesce(a.swept_until, '-infinity')) FROM account a
      WHERE a.provider = me.provider AND a.sweep_at IS NOT NULL
        AND (a.name = me.name OR a.seen_at > now() - interval '7 days')) - {_MARGIN} AS swept,
    least(now() - interval '{READINGS_DAYS} days',
      (SELECT min(r.asked_at) FROM usage_reading r WHERE r.account = me.name) - {_MARGIN}) AS read
  FROM account me
)
"""
"""SQL: `floors` for a WITH, one row for each account."""
WHY: Final = f"""CASE
  WHEN job.on_hold THEN '{HELD}'
  WHEN calls.open THEN '{MONEY}'
  WHEN EXISTS (SELECT 1 FROM image i WHERE i.job_id = job.id AND i.state IN ('pending', 'processing', 'ready'))
    THEN '{UNCOLLECTED}'
  WHEN calls.doubt THEN '{DOUBT_BESIDE}' WHEN calls.unswept THEN '{NOT_SWEPT}' WHEN calls.read THEN '{IN_FIGURES}'
END"""
"""SQL: why `job` stays, NULL where it may leave; needs `CALLS`."""
CALLS: Final = """
CROSS JOIN LATERAL (
  SELECT coalesce(bool_or(s.outcome IS NULL OR s.outcome = 'unknown'), false) AS open,
    coalesce(bool_or(over.at >= floors.doubt), false) AS doubt,
    coalesce(bool_or(over.at >= floors.swept), false) AS unswept,
    coalesce(bool_or(over.at >= floors.read), false) AS read
  FROM submission s JOIN floors ON floors.account = s.account, LATERAL (
    SELECT greatest(s.opened_at, s.visible_by, s.answered_at,
      (SELECT max(l.at) FROM ledger l WHERE l.submission_id = s.id)) AS at) AS over
  WHERE s.job_id = job.id
) AS calls
"""
"""SQL: a join that says of `job` whether its attempts to pay are open, and which floors they lie above."""
