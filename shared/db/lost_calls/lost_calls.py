"""Lost calls: which calls may own the images in a provider's list, and whether their senders are gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.payments.intents import Request
from shared.db.payments.submissions import MISSING, SENDER_LOST
from shared.upstream_ids import folded, spellings

_MOST_PURCHASES: Final = 5000
_MOST_BEFORE: Final = 500
_LOST = text(f"""
SELECT s.id, s.job_id, s.key_id, s.outcome, s.error_code, s.sender_lock, s.sender_over, job.request, job.fingerprint,
  {MISSING} AS missing, s.opened_at, s.visible_by AS until, s.visible_by - :quiet * interval '1 second' AS over_at,
  extract(epoch FROM s.visible_by - clock_timestamp()) + :slack AS quiet_in,
  batch.on_unknown = 'resend' OR job.cancel_requested_at IS NOT NULL AS may_close,
  job.cancel_requested_at IS NOT NULL AS cancelled,
  CASE WHEN job.on_hold THEN job.error END AS held_note,
  CASE WHEN job.on_hold THEN job.error_code END AS held_code,
  (SELECT count(*) FROM submission earlier WHERE earlier.job_id = s.job_id AND NOT earlier.probe
    AND earlier.outcome = 'rejected' AND (earlier.error_code = 'not_bought' OR earlier.http_status BETWEEN 200 AND 299)
  ) AS resends
FROM submission s JOIN job ON job.id = s.job_id JOIN batch ON batch.id = s.batch_id WHERE s.id = :id
""")
# Two calls are rivals if the spans in which the provider would have made their images overlap, even if one of them was
# settled without its images being known: by a person, or by an answer that named fewer than were asked for. One key may
# serve several accounts.
_SAME_PROVIDER = "(SELECT a.name FROM account a JOIN account me USING (provider) WHERE me.name = :account)"
_RIVALS = text(f"""
SELECT job.fingerprint, job.request ->> 'prompt' AS prompt, cardinality({MISSING}) AS wanted,
  extract(epoch FROM s.visible_by - clock_timestamp()) + :slack AS quiet_in,
  coalesce(s.outcome = 'accepted', false) AS settled, s.opened_at, s.visible_by AS until
FROM submission s JOIN job ON job.id = s.job_id
WHERE s.account IN {_SAME_PROVIDER} AND s.id <> :id
  AND (s.outcome IS NULL OR s.outcome = 'unknown'
    OR (s.outcome = 'accepted' AND s.inferred AND s.upstream_id IS NULL))
  AND s.opened_at - :reach * interval '1 second' <= :until AND s.visible_by + :reach * interval '1 second' >= :opened
UNION ALL
SELECT job.fingerprint, coalesce(job.request ->> 'prompt', ''), job.images - named.count,
  extract(epoch FROM s.visible_by - clock_timestamp()) + :slack, true, s.opened_at, s.visible_by
FROM submission s JOIN job ON job.id = s.job_id, LATERAL (
  SELECT CAST(count(*) AS integer) AS count FROM image
  WHERE image.submission_id = s.id AND image.error_code IS DISTINCT FROM 'not_delivered'
) AS named
WHERE s.account IN {_SAME_PROVIDER} AND s.id <> :id AND s.outcome = 'accepted' AND NOT s.inferred
  AND job.images > 1 AND named.count < job.images
  AND s.opened_at >= CAST(:opened AS timestamptz) - interval '2 hours' - :reach * interval '1 second'
  AND s.opened_at - :reach * interval '1 second' <= :until AND s.visible_by + :reach * interval '1 second' >= :opened
""")
_OWNED = text(f"""
SELECT upstream_id FROM image WHERE account IN {_SAME_PROVIDER} AND upstream_id = ANY(CAST(:ids AS text[]))
UNION SELECT upstream_id FROM submission
  WHERE account IN {_SAME_PROVIDER} AND upstream_id = ANY(CAST(:ids AS text[]))
""")
# Images that the provider itself said it made, and when: their rows in the list show the provider's clock. Images that
# were only inferred from the list show nothing.
_PURCHASES = text(f"""
SELECT i.upstream_id, s.id, s.opened_at, s.answered_at, s.account = :account AS same, s.key_id,
  i.state = 'failed' AND coalesce(i.error_code = 'upstream_gone', false) AS gone, job.request ->> 'prompt' AS prompt,
  EXISTS (SELECT 1 FROM image extra WHERE extra.submission_id = s.id AND extra.index >= job.images
    AND extra.upstream_id IS NOT NULL) AS named_more
FROM submission s JOIN job ON job.id = s.job_id JOIN image i ON i.submission_id = s.id
WHERE s.account IN {_SAME_PROVIDER} AND s.outcome = 'accepted' AND NOT s.inferred AND i.upstream_id IS NOT NULL
  AND s.opened_at >= :since ORDER BY s.opened_at DESC LIMIT {_MOST_PURCHASES}
""")
_IN_THE_AIR = text(f"""
SELECT min(opened_at) FROM submission WHERE account IN {_SAME_PROVIDER} AND outcome IS NULL
""")
_BOUGHT_SINCE = text("""
SELECT EXISTS (SELECT 1 FROM submission s JOIN image i ON i.submission_id = s.id
  WHERE s.account = :account AND s.key_id = :key_id AND s.outcome = 'accepted' AND NOT s.inferred
    AND s.opened_at >= :since AND i.upstream_id IS NOT NULL)
""")
_BOUGHT_BEFORE = text(f"""
SELECT EXISTS (
  SELECT 1 FROM {_SAME_PROVIDER} AS a, LATERAL (
    SELECT s.id, s.key_id FROM submission s
    WHERE s.account = a.name AND s.opened_at < :before AND s.outcome = 'accepted' AND NOT s.inferred
    ORDER BY s.opened_at DESC LIMIT {_MOST_BEFORE}
  ) AS newest JOIN image i ON i.submission_id = newest.id
  WHERE newest.key_id = :key_id AND i.upstream_id IS NOT NULL
    AND NOT (i.state = 'failed' AND coalesce(i.error_code = 'upstream_gone', false)))
""")
# A purchase that settles may be the presence that a reading lacked.
_AWAIT = text("UPDATE submission SET awaits_purchase = true WHERE id = :id")
_WAKE = text("""
WITH waiting AS (
  UPDATE submission SET awaits_purchase = false
  WHERE account = :account AND outcome = 'unknown' AND awaits_purchase RETURNING job_id
)
UPDATE job SET due_at = least(due_at, now() + :seconds * interval '1 second')
FROM waiting WHERE job.id = waiting.job_id AND job.state = 'in_doubt' AND job.claimed_by IS NULL
""")
_LOCK = text("""
SELECT pg_advisory_xact_lock(hashtextextended('look-up ' || provider, 0)) FROM account WHERE name = :account
""")
# A change of the policy that commits while a decision is written would not stop it.
_LOCK_POLICY = text("""
SELECT 1 FROM batch WHERE id = (SELECT batch_id FROM submission WHERE id = :id) FOR SHARE
""")
_OVER = text("""
UPDATE submission SET sender_over = true,
  visible_by = greatest(visible_by, clock_timestamp() + :quiet * interval '1 second') WHERE id = :id
""")
# A frozen process still holds its lock; a dead or unknown one does not. The lock is shared, so that two processes that
# ask at once do not take each other for the sender.
_GONE = text("SELECT pg_try_advisory_xact_lock_shared(:lock)")


@dataclass(frozen=True, slots=True)
class LostCall:
    """One paid call whose answer is lost, and when, by our clock, the provider can have made its images.

    The call was over at `over_at`; its purchase was made by `until`. `quiet_in`: seconds until all of that shows at the
    provider; 0 or less after that. `may_close`: a call that bought nothing may be closed, because its batch allows it
    or the job was cancelled. `sender_lock`: held by the sender while it lives; None if the call is known to be over.
    """

    submission_id: UUID
    job_id: UUID
    request: Request
    fingerprint: bytes
    missing: tuple[int, ...]
    opened_at: datetime
    over_at: datetime
    until: datetime
    quiet_in: float
    may_close: bool
    cancelled: bool
    """Whether it is never sent again."""
    sender_lock: int | None
    held_note: str | None
    """Why it is held already, if it is."""
    held_code: str | None = None
    resends: int = 0
    """How often the job was sent again automatically after a doubt, or after an error inside a success."""
    key_id: str | None = None
    """The key that paid; None if it is not recorded."""

    @property
    def prompt(self) -> Any:
        """The prompt that it asked for."""
        return self.request.get("prompt")

    def was_made_with(self, key_id: str | None) -> bool:
        """Tell whether this key is known to have paid: only what its own project shows can prove an absence."""
        return self.key_id is not None and self.key_id == key_id


@dataclass(frozen=True, slots=True)
class Purchase:
    """One picture that a provider itself said it made for a call of ours, between `opened_at` and `answered_at`."""

    upstream_id: str
    submission_id: UUID
    opened_at: datetime
    answered_at: datetime
    same_account: bool = True
    key_id: str | None = None
    gone: bool = False
    """Whether it was looked for in vain so often, and for so long, that its job has given it up."""
    prompt: str | None = None
    """What its call asked for."""
    named_more: bool = False
    """Whether the answer that named it named more than its call asked for: some of that may be another call's."""


@dataclass(frozen=True, slots=True)
class OtherCall:
    """Another call of the account, in the air or in doubt at the same time: it may own what the list shows."""

    fingerprint: bytes
    prompt: str
    wanted: int
    """How many pictures it is still to bring."""
    quiet_in: float
    settled: bool = False
    """Whether it is settled although not all of its pictures are known, and so adopts none."""
    opened_at: datetime | None = None
    until: datetime | None = None
    """When, by our clock, the provider can have made its pictures; None = at any time."""


def of_submission(
    connection: Connection, submission_id: UUID, *, slack_seconds: float, quiet_seconds: float = 0.0
) -> LostCall | None:
    """Return the doubt about a submission, None if there is none.

    `slack_seconds` is how far the provider's clock may differ from ours, `quiet_seconds` how long after a call its
    purchase may show for the first time.
    """
    row = connection.execute(_LOST, {"id": submission_id, "slack": slack_seconds, "quiet": quiet_seconds}).one()
    if row.outcome != "unknown":
        return None
    return LostCall(
        submission_id=row.id,
        job_id=row.job_id,
        request=row.request,
        fingerprint=row.fingerprint,
        missing=tuple(row.missing),
        opened_at=row.opened_at,
        over_at=row.over_at,
        until=row.until,
        quiet_in=float(row.quiet_in),
        may_close=row.may_close,
        cancelled=row.cancelled,
        sender_lock=None if row.sender_over or row.error_code != SENDER_LOST else row.sender_lock,
        held_note=row.held_note,
        held_code=row.held_code,
        resends=row.resends,
        key_id=row.key_id,
    )


def other_calls(
    connection: Connection, account: str, lost_call: LostCall, *, slack_seconds: float, reach_seconds: float = 0.0
) -> Sequence[OtherCall]:
    """Return the other calls that may own what the list shows; exact under the account's lock.

    `reach_seconds`: how far apart, beyond `slack_seconds`, two calls may be if their images seem to be of the same
    time.
    """
    reach = slack_seconds + reach_seconds
    span = {"opened": lost_call.opened_at, "until": lost_call.until, "slack": slack_seconds, "reach": reach}
    found = connection.execute(_RIVALS, {"account": account, "id": lost_call.submission_id, **span})
    return [
        OtherCall(row.fingerprint, row.prompt, row.wanted, float(row.quiet_in), row.settled, row.opened_at, row.until)
        for row in found
    ]


def purchases(connection: Connection, account: str, since: datetime) -> dict[str, Purchase]:
    """Return by its folded id at the provider each picture of calls opened since, the newest 5,000."""
    rows = connection.execute(_PURCHASES, {"account": account, "since": since})
    return {
        folded(row.upstream_id): Purchase(
            row.upstream_id,
            row.id,
            row.opened_at,
            row.answered_at,
            row.same,
            row.key_id,
            row.gone,
            row.prompt,
            row.named_more,
        )
        for row in rows
    }


def bought_since(connection: Connection, account: str, since: datetime, *, key_id: str | None) -> bool:
    """Tell whether a call of the account and key that began since has bought a picture that its list should show."""
    asked = {"account": account, "since": since, "key_id": key_id}
    return bool(connection.execute(_BOUGHT_SINCE, asked).scalar_one())


def bought_before(connection: Connection, account: str, key_id: str | None, before: datetime) -> bool:
    """Tell whether a key bought a picture before a moment that is not given up as gone.

    The last 500 calls of each account of the provider are looked at: an older purchase may have left its list.
    """
    asked = {"account": account, "before": before, "key_id": key_id}
    return bool(connection.execute(_BOUGHT_BEFORE, asked).scalar_one())


def in_the_air_since(connection: Connection, account: str) -> datetime | None:
    """Return when the oldest paid call of the account's provider began that has no answer yet; None without any."""
    found: datetime | None = connection.execute(_IN_THE_AIR, {"account": account}).scalar_one()
    return found


def await_purchase(connection: Connection, submission_id: UUID) -> None:
    """Look the call up again once the account's next purchase settles."""
    connection.execute(_AWAIT, {"id": submission_id})


def purchase_settled(connection: Connection, account: str, *, seconds: float) -> None:
    """Make the calls due that wait for a purchase to show in the list, `seconds` from now."""
    connection.execute(_WAKE, {"account": account, "seconds": seconds})


def lock(connection: Connection, account: str) -> None:
    """Let nobody else adopt pictures of the account's provider until this transaction ends."""
    connection.execute(_LOCK, {"account": account})


def lock_policy(connection: Connection, submission_id: UUID) -> None:
    """Keep the policy of a call's batch as it is until this transaction ends."""
    connection.execute(_LOCK_POLICY, {"id": submission_id})


def owned(connection: Connection, account: str, upstream_ids: Collection[str]) -> set[str]:
    """Return those of `upstream_ids` that belong to a submission or picture of the account already, in any case."""
    found: Any = connection.execute(_OWNED, {"account": account, "ids": spellings(upstream_ids)}).scalars()
    taken = {folded(one) for one in found}
    return {one for one in upstream_ids if folded(one) in taken}


def record_sender_gone(connection: Connection, submission_id: UUID, *, quiet_seconds: float) -> None:
    """Record that the sender is proved gone: it received nothing after now.

    Until `quiet_seconds` from now its purchase may still show for the first time.
    """
    connection.execute(_OVER, {"id": submission_id, "quiet": quiet_seconds})


def sender_gone(connection: Connection, lost_call: LostCall) -> bool:
    """Tell whether nobody can send this call any more: its sender said so, or its session lock proves it gone."""
    return lost_call.sender_lock is None or bool(
        connection.execute(_GONE, {"lock": lost_call.sender_lock}).scalar_one()
    )
