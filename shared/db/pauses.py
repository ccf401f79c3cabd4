"""Pauses of an account: what stops its paid calls, what finds out that the reason is gone, and what lets them start.

A person ends any pause. A pause with a time for its next probe may also end by itself: by a look or a download that
went well, or by one paid call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.late_log import LateLogger
from shared.lifecycle import POLLED, JobState
from shared.notes import short_note

_log = LateLogger(__name__)
BY_HAND: Final = "paused_by_hand"
LOOKS_FAILING: Final = "looks_failing"
ADDRESS_WRONG: Final = "account_address_wrong"
UNREACHABLE: Final = "results_unreachable"
JOBS_BEFORE_UNREACHABLE: Final = 5
"""The number of different jobs in a row that were paid and brought no image, which stops an account's purchases."""

_NEXT_PROBE = "clock_timestamp() + least(:first * 2 ^ least(probes, 20), :most) * interval '1 second'"
_PAUSE = text(f"""
UPDATE account SET paused_at = clock_timestamp(), paused_code = :code, paused_reason = :reason,
  action_url = :action_url, balance_needed = :balance_needed, probe_at = {_NEXT_PROBE}
WHERE name = :name AND (paused_at IS NULL OR (probe_at IS NOT NULL AND CAST(:first AS double precision) IS NULL))
""")
_PROBE = text(f"""
UPDATE account SET probes = probes + 1, probe_at = {_NEXT_PROBE}
WHERE name = :name AND paused_at IS NOT NULL AND probe_at <= clock_timestamp() RETURNING paused_code, balance_needed
""")
_DUE = text("""
SELECT name FROM account WHERE name = ANY(CAST(:names AS text[])) AND paused_at IS NOT NULL
  AND probe_at <= clock_timestamp() ORDER BY name
""")
_DOUBT = text("""
UPDATE account SET doubts = doubts + 1, failing = CASE WHEN :failing THEN failing + 1 ELSE 0 END
WHERE name = :name RETURNING doubts, failing
""")
_TRUST = text("UPDATE account SET doubts = 0, failing = 0 WHERE name = :name AND (doubts > 0 OR failing > 0)")
_BOUGHT = text("""
UPDATE account SET doubts = 0, failing = 0, probes = 0,
  slow_start_limit = CASE WHEN slow_start_limit * 2 < concurrency THEN slow_start_limit * 2 END
WHERE name = :name AND (doubts > 0 OR failing > 0 OR probes > 0 OR slow_start_limit IS NOT NULL)
""")
# A pause that ended automatically is not fully trusted: one paid call at first. One more doubt, or one more job that
# brings no image, pauses the account again.
_RESUME = text("""
UPDATE account SET doubts = CASE WHEN :by_hand THEN 0 ELSE greatest(doubts - 1, 0) END,
  failing = CASE WHEN :by_hand THEN 0 ELSE greatest(failing - 1, 0) END,
  looks_failing_since = CASE WHEN NOT :by_hand THEN looks_failing_since END,
  unfetched = CASE WHEN :by_hand THEN '{}' ELSE unfetched[2:] END,
  probes = CASE WHEN :by_hand THEN 0 ELSE probes END, probe_at = NULL, balance_needed = NULL,
  slow_start_limit = CASE WHEN paused_at IS NULL OR paused_code = 'paused_by_hand' THEN slow_start_limit ELSE 1 END,
  paused_at = NULL, paused_code = NULL, paused_reason = NULL, action_url = NULL, not_before = NULL
WHERE name = :name AND (:by_hand OR paused_code = :code) RETURNING name
""")
_LOOK_FAILED = text("""
UPDATE account SET looks_failing_since = coalesce(looks_failing_since, now()) WHERE name = :name
RETURNING extract(epoch FROM now() - looks_failing_since), to_char(looks_failing_since, 'YYYY-MM-DD HH24:MI')
""")
# Not at each look, because a dispatcher skips an account whose row is locked.
_LOOKED = text("""
UPDATE account SET looks_failing_since = NULL, found_at = CASE WHEN :found THEN now() ELSE found_at END
WHERE name = :name AND (looks_failing_since IS NOT NULL OR paused_code = ANY(CAST(:ends AS text[]))
  OR (:found AND coalesce(found_at < now() - :fresh * interval '1 second', true)))
RETURNING paused_code, probe_at
""")
_UNFETCHED = text("""
UPDATE account SET unfetched = unfetched || CAST(:job AS uuid)
WHERE name = :name AND cardinality(unfetched) < :most AND NOT CAST(:job AS uuid) = ANY(unfetched)
RETURNING cardinality(unfetched)
""")
_FETCHED = text("""
UPDATE account SET unfetched = '{}'
WHERE name = ANY(ARRAY(
    SELECT image.account FROM unnest(CAST(:jobs AS uuid[]), CAST(:indexes AS integer[])) AS a (job_id, index)
    JOIN image ON image.job_id = a.job_id AND image.index = a.index))
  AND (unfetched <> '{}' OR paused_code = :code)
RETURNING name, paused_code
""")
# Jobs whose looks or downloads will show whether the pause is over. Then no paid call must find out.
_WAITING = text("""
SELECT EXISTS (SELECT 1 FROM job WHERE account = :name AND state = ANY(CAST(:states AS text[])))
""")
_TOLD_BY: Final[Mapping[str, Iterable[JobState]]] = {
    LOOKS_FAILING: POLLED,
    ADDRESS_WRONG: POLLED,
    UNREACHABLE: {JobState.TRANSFERRING},
}


@dataclass(frozen=True, slots=True)
class Probing:
    """How often workers probe a paused account: after `first` seconds, then at growing intervals up to `most`."""

    first: float
    most: float


def pause(  # noqa: PLR0913 - the reason, and what would end it
    connection: Connection,
    name: str,
    *,
    code: str,
    reason: str,
    action_url: str | None,
    balance_needed: Decimal | None = None,
    probing: Probing | None = None,
) -> bool:
    """Stop new paid calls until a resume; False if the account was already paused.

    The first reason stays, but a reason that only a person can end replaces one that may pass. With `probing`, workers
    probe whether the reason is gone. `balance_needed` is the price that was refused.
    """
    parameters = {
        "name": name,
        "code": code,
        "reason": reason,
        "action_url": action_url,
        "balance_needed": balance_needed,
    }
    times = {"first": probing.first if probing else None, "most": probing.most if probing else None}
    paused = connection.execute(_PAUSE, {**parameters, **times}).rowcount == 1
    if paused and code != BY_HAND:
        _log.warning("account_paused", account=name, code=code, said=reason, link=action_url)
    return paused


@dataclass(frozen=True, slots=True)
class Probe:
    """A paused account that only this worker may probe now."""

    code: str
    balance_needed: Decimal | None


def due_probes(connection: Connection, names: Iterable[str]) -> list[str]:
    """Return those of the accounts whose probe is due."""
    found: Any = connection.execute(_DUE, {"names": list(names)}).scalars()
    return list(found)


def probe(connection: Connection, name: str, probing: Probing) -> Probe | None:
    """Take the account's probe if it is due, and set the time of the next; None if it is not due."""
    parameters = {"name": name, "first": probing.first, "most": probing.most}
    row = connection.execute(_PROBE, parameters).one_or_none()
    return Probe(row.paused_code, row.balance_needed) if row else None


@dataclass(frozen=True, slots=True)
class FailuresInARow:
    """Paid calls of an account in a row without a readable answer, and how many of the last ones were answered 5xx."""

    doubts: int
    failing: int


def count_failure(connection: Connection, name: str, *, failing: bool) -> FailuresInARow:
    """Count one more paid call in a row whose answer was lost or unreadable; `failing`: the answer was a 5xx."""
    row = connection.execute(_DOUBT, {"name": name, "failing": failing}).one()
    return FailuresInARow(row.doubts, row.failing)


def reset_failures(connection: Connection, name: str, *, bought: bool) -> None:
    """Reset the count after a plain answer. After a purchase, twice as many calls may be in the air."""
    connection.execute(_BOUGHT if bought else _TRUST, {"name": name})


def resume(connection: Connection, name: str, *, ended: str | None = None) -> bool:
    """Let paid calls start again; False if there is no such account. After any pause but one by hand, one call starts.

    A person ends any pause. A probe ends the pause only if `ended` names the pause that is still in force.
    """
    parameters = {"name": name, "by_hand": ended is None, "code": ended}
    resumed = connection.execute(_RESUME, parameters).one_or_none() is not None
    if resumed and ended is not None:
        _log.info("account_resumed", account=name, code=ended)
    return resumed


def record_look(connection: Connection, name: str, *, found: bool, fresh_seconds: float) -> None:
    """Record that the provider answered a look; `found` says that it knew an image of ours.

    It ends the pauses that began because looks failed or found nothing. `found_at` may be `fresh_seconds` late.
    """
    ends = [LOOKS_FAILING, ADDRESS_WRONG] if found else [LOOKS_FAILING]
    row = connection.execute(
        _LOOKED, {"name": name, "found": found, "fresh": fresh_seconds, "ends": ends}
    ).one_or_none()
    # A pause without a time for the next probe was not begun by looks: a person ends it.
    if row is not None and row.paused_code in ends and row.probe_at is not None:
        resume(connection, name, ended=row.paused_code)


def record_failed_look(connection: Connection, name: str) -> tuple[float, str]:
    """Record that a look was not answered; return for how many seconds none was, and since when (UTC)."""
    seconds, since = connection.execute(_LOOK_FAILED, {"name": name}).one()
    return float(seconds), str(since)


def record_undelivered(connection: Connection, name: str, job: UUID, *, reason: str, probing: Probing) -> None:
    """Record that `job` was paid and brings no image; after five jobs without a download in between, purchases stop."""
    parameters = {"name": name, "job": job, "most": JOBS_BEFORE_UNREACHABLE}
    jobs = connection.execute(_UNFETCHED, parameters).scalar_one_or_none()
    if jobs is not None and jobs >= JOBS_BEFORE_UNREACHABLE:
        said = short_note(f"{jobs} jobs in a row were paid and brought no image; the last: {reason}")
        pause(connection, name, code=UNREACHABLE, reason=said, action_url=None, probing=probing)


def record_downloads(connection: Connection, images: Sequence[tuple[UUID, int]]) -> None:
    """Record that images (job, index) were downloaded and verified: a pause of their account for downloads ends."""
    parameters = {"jobs": [job for job, _ in images], "indexes": [index for _, index in images], "code": UNREACHABLE}
    for row in connection.execute(_FETCHED, parameters).all():
        if row.paused_code == UNREACHABLE:
            resume(connection, row.name, ended=UNREACHABLE)


def waiting_work_will_tell(connection: Connection, name: str, code: str) -> bool:
    """Tell whether waiting work will show that the pause `code` is over, so that no paid call is needed."""
    states = [state.value for state in _TOLD_BY.get(code, ())]
    return bool(states and connection.execute(_WAITING, {"name": name, "states": states}).scalar_one())
