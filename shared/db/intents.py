"""The intent: what is committed before a byte of a paid call leaves, so that no payment is ever unknown to us."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import accounts, caps, claims, ledger, slots
from shared.db.accounts import LockedAccount
from shared.db.submissions import MISSING, Answer, follow_late, record
from shared.db.transitions import Claim, Move, move, release
from shared.lifecycle import JobState, Outcome

_WANTED = text(f"""
SELECT job.id, job.epoch, job.batch_id, job.request, job.images, job.tries, {MISSING} AS missing
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
WHERE job.state = 'queued' AND job.claimed_by IS NOT NULL AND job.deadline_at > now()
  AND job.due_at > clock_timestamp()
ORDER BY job.priority DESC, job.turn
""")
_OPEN = text("""
INSERT INTO submission
  (id, job_id, epoch, batch_id, account, key_id, sender, sender_lock, send_by, quiet_at, reserved, unit)
SELECT :id, :job_id, :epoch, :batch_id, name, :key_id, :sender, :sender_lock,
  clock_timestamp() + :send_within * interval '1 second', clock_timestamp() + :quiet * interval '1 second',
  :reserved, unit FROM account WHERE name = :account
""")
_EXISTS = text("SELECT 1 FROM submission WHERE id = :id")
_UNSPENT: Final = (JobState.QUEUED,)
_PASSING_SECONDS: Final = 2.0
_CAPPED_SECONDS: Final = 60.0

Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """An open submission: its sender, and nobody else, may now pay for it once."""

    submission_id: UUID
    claim: Claim
    batch_id: UUID
    request: Request
    missing: tuple[int, ...]
    """The indexes of the images that this payment buys."""
    tries: int


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pays: the worker, and the session lock whose release proves it gone."""

    name: str
    lock_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms an account pays; times in seconds from the intent on.

    `price(request, count)` gives an upper bound in the account's unit, or None where nobody knows. After
    `quiet_seconds` nothing that was sent can still appear at the provider. `key_id` tells keys apart.
    """

    price: Callable[[Request, int], Decimal | None]
    allow_unknown_price: bool
    send_within_seconds: float
    lease_seconds: float
    quiet_seconds: float
    key_id: str | None = None


def open_for(
    connection: Connection, account: str, wanted: Mapping[Claim, UUID], *, sender: Sender, terms: Terms
) -> list[Intent]:
    """Write the intents for as many of `wanted` as the account allows now, and release the others unspent.

    In one transaction under the account's lock: `queued` becomes `submitting`, the submission exists, the rate slot is
    taken and the price reserved. `wanted` gives each claim the id of its submission to be, so that whoever lost this
    commit's answer can `take_back` exactly its own.
    """
    locked = accounts.lock(connection, account, wait=True)
    if locked is None or not locked.may_pay:
        # Due at once: the dispatcher looks at the account first, and in line nobody passes them.
        release(connection, wanted, states=_UNSPENT, due_seconds=0 if locked else 30)
        return []
    in_the_air = claims.in_hand(connection, account).submitting
    free = min(slots.room(connection, account, locked.windows).free, max(locked.concurrency - in_the_air, 0))
    parameters = {"ids": [c.job_id for c in wanted], "epochs": [c.epoch for c in wanted]}
    rows = connection.execute(_WANTED, parameters).all()
    release(connection, [Claim(row.id, row.epoch) for row in rows[free:]], states=_UNSPENT)
    priced = _affordable(connection, locked, rows[:free], terms, actor=sender.name)
    moves = [_begin(row, terms.lease_seconds) for row, _ in priced]
    moved = move(connection, moves, actor=sender.name)
    intents = []
    for row, price in priced:
        claim = Claim(row.id, row.epoch)
        if row.id in moved:
            intent = Intent(wanted[claim], claim, row.batch_id, row.request, tuple(row.missing), row.tries)
            _open(connection, account, intent, sender, price, terms)
            intents.append(intent)
    slots.take(connection, account, "submit", len(intents))
    return intents


def _begin(row: Any, lease_seconds: float) -> Move:
    claim = Claim(row.id, row.epoch)
    return Move(claim, JobState.QUEUED, JobState.SUBMITTING, lease_seconds, tries=row.tries, keep_claim=True)


def _affordable(
    connection: Connection, account: LockedAccount, rows: Sequence[Any], terms: Terms, *, actor: str
) -> list[tuple[Any, Decimal | None]]:
    """Return the rows that every cap has room for, with their prices; the others wait, with the reason."""
    purse = caps.budget(connection, account, (row.batch_id for row in rows), allow_unknown=terms.allow_unknown_price)
    found = []
    for row in rows:
        price = terms.price(row.request, len(row.missing))
        refusal = purse.refusal(row.batch_id, price)
        if refusal is None:
            found.append((row, price))
        else:
            _put_off(connection, account.name, row, refusal, actor=actor)
    return found


def _put_off(connection: Connection, account: str, row: Any, refusal: caps.Refusal, *, actor: str) -> None:
    """Have a job wait for room under a cap, and where only a person can make it, out of the line."""
    claim = Claim(row.id, row.epoch)
    if refusal.passing or refusal.code == caps.DAILY_CAP:
        if not refusal.passing:
            accounts.slow_down(connection, account, _CAPPED_SECONDS)
        release(connection, [claim], states=_UNSPENT, due_seconds=_PASSING_SECONDS)
        return
    others = caps.in_line(connection, account, row.batch_id) if refusal.code == caps.BATCH_CAP else []
    _park(connection, [claim, *others], refusal, actor=actor)


def _park(connection: Connection, parked: Iterable[Claim], refusal: caps.Refusal, *, actor: str) -> None:
    wait = caps.RECHECK_SECONDS
    moves = [
        Move(claim, JobState.QUEUED, JobState.QUEUED, wait, code=refusal.code, note=refusal.note, parked=True)
        for claim in parked
    ]
    move(connection, moves, actor=actor)


def _open(
    connection: Connection, account: str, intent: Intent, sender: Sender, reserved: Decimal | None, terms: Terms
) -> None:
    connection.execute(
        _OPEN,
        {
            "id": intent.submission_id,
            "job_id": intent.claim.job_id,
            "epoch": intent.claim.epoch,
            "batch_id": intent.batch_id,
            "account": account,
            "key_id": terms.key_id,
            "sender": sender.name,
            "sender_lock": sender.lock_key,
            "send_within": terms.send_within_seconds,
            "quiet": terms.quiet_seconds,
            "reserved": reserved,
        },
    )
    ledger.reserve(connection, intent.submission_id, reserved)


def take_back(connection: Connection, account: str, wanted: Mapping[Claim, UUID], *, note: str, actor: str) -> None:
    """Undo the intents of an `open_for` whose commit was not confirmed; only their sender knows that nothing left."""
    # A commit whose answer was lost may still be under way; it holds this lock until it is done.
    accounts.lock(connection, account, wait=True)
    release(connection, wanted, states=_UNSPENT, due_seconds=1.0)
    for claim, submission_id in wanted.items():
        if connection.execute(_EXISTS, {"id": submission_id}).one_or_none() is None:
            continue
        record(connection, submission_id, Answer(Outcome.NOT_SENT, error_code="provider_unreachable", error=note))
        back = Move(claim, JobState.SUBMITTING, JobState.QUEUED, 1.0, note=note)
        if not move(connection, [back], actor=actor):
            follow_late(connection, claim.job_id, submission_id, actor=actor)
