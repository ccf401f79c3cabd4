"""One command for many jobs: they are shown first, and only jobs that have not changed since are acted on."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, text

from shared.db.engine import DatabaseUnavailableError
from shared.db.jobs.transitions import Claim
from shared.lifecycle import JobState

CHUNK: Final = 100
"""Jobs in one transaction: about a second of locks."""
PAGE: Final = 2000
"""Jobs that one statement of a plan reads."""
NIL: Final = UUID(int=0)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_Any = TypeVar("_Any")
_DIGEST_CHARS: Final = 10
_WORDS: Final = {
    "job": "job.id = :job",
    "batch": "job.batch_id = (SELECT id FROM batch WHERE name = :batch)",
    "account": "job.account = :account",
    "code": "job.error_code = :code",
    "ids": "job.id = ANY(CAST(:ids AS uuid[]))",
}
# A batch's index holds each of its parts in the order of ids; any other selection is read once, in that order.
_PAGE_OF_BATCH: Final = """
SELECT part.id FROM unnest(CAST(:states AS text[])) AS a (state) CROSS JOIN (VALUES (false), (true)) AS b (on_hold)
CROSS JOIN LATERAL (
  SELECT id FROM job WHERE state = a.state AND on_hold = b.on_hold AND {which} AND job.id > :after
  ORDER BY id LIMIT :limit
) AS part ORDER BY part.id LIMIT :limit
"""
_PAGE: Final = """
SELECT id FROM job WHERE state = ANY(CAST(:states AS text[])) AND {which} AND job.id > :after ORDER BY id LIMIT :limit
"""
_BY_KEY = text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
# An attempt that is not proved unbought may be bought. Sending the job now can cause a second charge of its size.
_DESCRIBE = text("""
SELECT job.id, job.state, job.account, job.provider, account.unit, job.error_code, newest.id AS newest, newest.outcome,
  coalesce((SELECT max(e.at) FROM job_event e WHERE e.job_id = job.id AND e.from_state <> e.to_state),
    job.created_at) AS since, bought.calls, bought.unpriced, bought.most, bought.lost
FROM job JOIN account ON account.name = job.account
LEFT JOIN LATERAL (
  SELECT s.id, s.outcome FROM submission s WHERE s.job_id = job.id ORDER BY s.opened_at DESC LIMIT 1) newest ON true
CROSS JOIN LATERAL (
  SELECT count(*) AS calls, bool_or(s.reserved IS NULL) AS unpriced, max(greatest(s.reserved, s.settled)) AS most,
    string_agg(CAST(s.id AS text), ',' ORDER BY s.id) FILTER (WHERE coalesce(s.outcome, 'unknown') = 'unknown') AS lost
  FROM submission s WHERE s.job_id = job.id AND coalesce(s.outcome, 'unknown') IN ('unknown', 'accepted')) bought
WHERE job.id = ANY(CAST(:ids AS uuid[]))
""")
_REQUESTS = text("""
SELECT provider, account, CAST(request AS text) AS request FROM job WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")
_NOW = text("SELECT now()")
# Submissions before jobs, the lock order of a sender with late evidence, and both in the same order for all.
_LOCK_SUBMISSIONS = text("""
SELECT id FROM submission WHERE job_id = ANY(CAST(:ids AS uuid[])) ORDER BY job_id, opened_at FOR UPDATE
""")
_LOCK_JOBS = text("SELECT id FROM job WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE")


@dataclass(frozen=True, slots=True)
class Which:
    """The selection of a command: jobs that match every given condition."""

    batch: str | None = None
    account: str | None = None
    code: str | None = None
    job: UUID | None = None
    ids: Sequence[UUID] | None = None

    @property
    def sql(self) -> str:
        """The condition on `job`, with only the given parts, so that an index can serve it."""
        return " AND ".join(word for name, word in _WORDS.items() if getattr(self, name) is not None) or "true"

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `sql`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


EVERYTHING: Final = Which()


@dataclass(frozen=True, slots=True)
class Target:
    """One job that a command would act on, as of the preview."""

    claim: Claim
    act: str
    """The act of the command on it."""
    account: str
    unit: str
    """The unit in which its provider charges; a credit is named with its provider."""
    reason: str
    """Its error code, or its state where it has none."""
    may_be_bought: bool
    """Whether an attempt of the job was bought, or may have been."""
    second_charge: Decimal | None
    """The most that sending it again could cost a second time; None if its price is unknown."""
    mark: str
    """What must be unchanged when the command acts: its state, its attempts to pay, and the act."""
    since: datetime
    """When it came into its state, on the database's clock."""

    @property
    def job_id(self) -> UUID:
        """The job's id."""
        return self.claim.job_id


class SecondCharge(NamedTuple):
    """The most that a command could pay a second time: amounts by unit, and calls of unknown price."""

    amounts: dict[str, Decimal]
    unpriced: int


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """What a command would do with many jobs; `act` names the command and its terms."""

    act: str
    targets: tuple[Target, ...]
    at: datetime
    """When it was made, on the database's clock."""
    left: tuple[tuple[str, int], ...] = ()
    """Matching jobs that are left alone: the reason and the number."""
    which: Which = EVERYTHING
    """The person's selection."""


def chunks(items: Sequence[_Any], size: int = CHUNK) -> Iterator[Sequence[_Any]]:
    """Yield `items` in their order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def page(
    connection: Connection, which: Which, states: Iterable[JobState], *, after: UUID = NIL, limit: int = PAGE
) -> list[UUID]:
    """Return the ids of up to `limit` matching jobs in `states`, in order, beginning after `after`."""
    statement = (_PAGE_OF_BATCH if which.batch is not None else _PAGE).format(which=which.sql)
    parameters = {**which.parameters(), "states": [state.value for state in states], "after": after, "limit": limit}
    return list(connection.execute(text(statement), parameters).scalars())


def pages(connection: Connection, which: Which, states: Collection[JobState]) -> Iterator[list[UUID]]:
    """Yield the ids of all matching jobs, a few thousand at a time, so that no statement covers a whole batch."""
    connection.execute(_BY_KEY)
    ids = page(connection, which, states)
    while ids:
        yield ids
        ids = page(connection, which, states, after=ids[-1]) if len(ids) == PAGE else []


def describe(connection: Connection, acts: Iterable[tuple[Claim, str]]) -> list[Target]:
    """Return each job with what the preview shows of it, in the order of ids."""
    found: list[Target] = []
    for some in chunks(sorted(acts, key=lambda pair: pair[0].job_id), PAGE):
        wanted = {claim.job_id: (claim, act) for claim, act in some}
        rows = connection.execute(_DESCRIBE, {"ids": list(wanted)}).all()
        found += [_target(row, *wanted[row.id]) for row in sorted(rows, key=lambda row: row.id)]
    return found


def _target(row: Any, claim: Claim, act: str) -> Target:
    epoch = claim.epoch if row.state in {"failed", "cancelled"} else ""  # only a look at a held job raises it
    return Target(
        claim=claim,
        act=act,
        account=row.account,
        unit=f"credit of {row.provider}" if row.unit == "credit" else row.unit,
        reason=row.error_code or row.state,
        may_be_bought=row.calls > 0,
        second_charge=None if row.unpriced else row.most,
        mark=f"{act} {row.state} {epoch} {row.newest} {row.outcome} {row.lost}",
        since=row.since,
    )


def requests(connection: Connection, ids: Sequence[UUID]) -> list[tuple[str, str, str]]:
    """Return the provider, the account and the request, as JSON, of each of these jobs."""
    return [(row.provider, row.account, row.request) for row in connection.execute(_REQUESTS, {"ids": list(ids)})]


def now(connection: Connection) -> datetime:
    """Return the time of this transaction on the database's clock."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found


def lock(connection: Connection, ids: Sequence[UUID]) -> None:
    """Lock these jobs and their attempts to pay until this transaction ends."""
    connection.execute(_LOCK_SUBMISSIONS, {"ids": list(ids)})
    connection.execute(_LOCK_JOBS, {"ids": list(ids)})


def locked_out(error: DatabaseUnavailableError) -> bool:
    """Tell whether a transaction failed because others hold the same jobs. Nothing was committed; a retry may pass."""
    return isinstance(getattr(error.__cause__, "orig", None), (DeadlockDetected, LockNotAvailable))


def unchanged(shown: Iterable[Target], found: Iterable[Target]) -> list[Target]:
    """Return those of `found` that have not changed since they were shown."""
    marks = {target.job_id: target.mark for target in shown}
    return [target for target in found if marks.get(target.job_id) == target.mark]


def second_charge(targets: Iterable[Target]) -> SecondCharge:
    """Return the most that sending all of `targets` could pay a second time."""
    amounts: dict[str, Decimal] = {}
    unpriced = 0
    for target in targets:
        if not target.may_be_bought or target.unit == "unbilled":
            continue
        if target.second_charge is None:
            unpriced += 1
        else:
            amounts[target.unit] = amounts.get(target.unit, Decimal(0)) + target.second_charge
    return SecondCharge(amounts, unpriced)


def token(act: str, targets: Sequence[Target], at: datetime) -> str:
    """Return a short word for exactly this act on exactly these jobs: their number, the time, and a digest."""
    digest = hashlib.sha256(act.encode())
    for target in targets:
        digest.update(f"\n{target.job_id} {target.mark}".encode())
    return f"{len(targets)}-{int(at.timestamp() * 1000):x}-{digest.hexdigest()[:_DIGEST_CHARS]}"


def is_of(given: str, act: str, targets: Sequence[Target]) -> bool:
    """Tell whether the token `given` was made for this act on these jobs."""
    return given.rpartition("-")[2] == token(act, targets, _EPOCH).rpartition("-")[2]


def difference(given: str, targets: Sequence[Target]) -> str | None:
    """Say how the jobs differ from the jobs that the token `given` was made for; None if `given` is no token."""
    try:
        count, at, _digest = given.split("-")
        before, seen = int(count), _EPOCH + timedelta(milliseconds=int(at, 16))
    except (ValueError, OverflowError):
        return None
    came = sum(target.since > seen for target in targets)
    gone = before + came - len(targets)
    if came <= 0 and gone <= 0:
        return f"it showed {before:,}; one of them has changed, or it was made for another command"
    return f"it showed {before:,}; since then {came:,} began to match, and {max(gone, 0):,} no longer match"
