"""The intent: committed before a byte of a paid call leaves, so that every payment is known to us."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db import accounts, rate_windows
from shared.db.accounts import LockedAccount
from shared.db.jobs import claims, steering
from shared.db.jobs.transitions import Claim, Move, give_back, move
from shared.db.payments import caps, ledger
from shared.db.payments.submissions import MISSING, Answer, collect, follow_late, record
from shared.lifecycle import JobState, Outcome
from shared.wait_facts import CAPPED_SECONDS

_WANTED = text(f"""
SELECT job.id, job.epoch, job.batch_id, job.request, job.images, job.tries, {MISSING} AS missing
FROM job JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS a (id, epoch)
  ON job.id = a.id AND job.epoch = a.epoch
WHERE job.state = 'queued' AND job.claimed_by IS NOT NULL AND job.deadline_at > now()
  AND job.due_at > clock_timestamp() AND job.account = :account
ORDER BY job.priority DESC, job.fair_position
""")
_OPEN = text("""
INSERT INTO submission
  (id, job_id, epoch, batch_id, account, key_id, sender, sender_lock, send_by, visible_by, reserved, unit, probe)
SELECT a.id, a.job_id, a.epoch, a.batch_id, account.name, :key_id, :sender, :sender_lock,
  clock_timestamp() + :send_within * interval '1 second', clock_timestamp() + :quiet * interval '1 second',
  a.reserved, account.unit, :probe
FROM unnest(
  CAST(:ids AS uuid[]), CAST(:job_ids AS uuid[]), CAST(:epochs AS integer[]), CAST(:batch_ids AS uuid[]),
  CAST(:reserved AS numeric[])
) AS a (id, job_id, epoch, batch_id, reserved), account WHERE account.name = :account
""")
_EXISTS = text("SELECT 1 FROM submission WHERE id = :id AND account = :account")
_ALL_HERE: Final = "all of its images have arrived: nothing is bought"
_UNSPENT: Final = (JobState.QUEUED,)
_PASSING_SECONDS: Final = 2.0

Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """An open submission: only its sender may now pay for it, once."""

    submission_id: UUID
    claim: Claim
    batch_id: UUID
    request: Request
    missing: tuple[int, ...]
    """The indexes of the images that this payment buys."""
    tries: int
    reserved: Decimal | None = None
    """The price that was set aside for it; None if it is unknown."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pays: the worker, and the session lock whose release proves it gone."""

    name: str
    lock_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentTerms:
    """The terms on which an account pays; times in seconds from the intent.

    `price(request, count)` gives an upper bound in the account's unit, or None if it is unknown. After `quiet_seconds`
    no purchase of the call can still appear at the provider. `key_id` distinguishes keys.
    """

    price: Callable[[Request, int], Decimal | None]
    allow_unknown_price: bool
    send_within_seconds: float
    lease_seconds: float
    quiet_seconds: float
    key_id: str | None = None
    unpriced: Callable[[Request], str] = lambda _request: ""
    """Why nothing bounds a request's price, where that is known."""
    refresh: Callable[[Connection], bool] = lambda _connection: True
    """Loads the provider's present offers before prices are needed; False while they are unknown."""


def open_intents(
    connection: Connection, account: str, wanted: Mapping[Claim, UUID], *, sender: Sender, terms: PaymentTerms
) -> list[Intent]:
    """Write the intents for as many of `wanted` as the account allows now, and release the others unspent.

    In one transaction under the account's lock: `queued` becomes `submitting`, the submission exists, its place in
    the rate windows is taken and the price reserved. A job that lacks no image any more is not paid for: it ends.
    `wanted` gives each claim the id of its new submission. A caller that lost this commit's answer can then `undo`
    exactly its own.
    """
    locked = accounts.lock(connection, account, wait=True)
    if locked is None or not locked.may_pay:
        # Due at once: the dispatcher checks the account first, and nobody overtakes them in the line.
        give_back(connection, wanted, states=_UNSPENT, account=account, due_seconds=0 if locked else 30)
        return []
    prices_are_read = terms.refresh(connection)
    in_the_air = claims.in_hand(connection, account).submitting
    free = min(rate_windows.room(connection, account, locked.windows).free, max(locked.concurrency - in_the_air, 0))
    parameters = {"account": account, "ids": [c.job_id for c in wanted], "epochs": [c.epoch for c in wanted]}
    rows = _still_lacking(connection, connection.execute(_WANTED, parameters).all(), actor=sender.name)
    give_back(connection, [Claim(row.id, row.epoch) for row in rows[free:]], states=_UNSPENT)
    priced = _affordable(connection, locked, rows[:free], terms, actor=sender.name, prices_are_read=prices_are_read)
    moves = [_begin(row, terms.lease_seconds) for row, _ in priced]
    moved = move(connection, moves, actor=sender.name)
    intents = []
    for row, price in priced:
        claim = Claim(row.id, row.epoch)
        if row.id in moved:
            intent = Intent(wanted[claim], claim, row.batch_id, row.request, tuple(row.missing), row.tries, price)
            intents.append(intent)
    _open(connection, locked, intents, sender, terms)
    rate_windows.take(connection, account, "submit", len(intents))
    return intents


def _still_lacking(connection: Connection, rows: Sequence[Any], *, actor: str) -> list[Any]:
    """Return the rows that lack an image. The others end: what a person had bought again has arrived meanwhile."""
    whole = [Claim(row.id, row.epoch) for row in rows if not row.missing]
    steps = [
        Move(claim, JobState.QUEUED, JobState.TRANSFERRING, 0, code="answer_found", note=_ALL_HERE) for claim in whole
    ]
    move(connection, steps, actor=actor)
    return [row for row in rows if row.missing]


def _begin(row: Any, lease_seconds: float) -> Move:
    claim = Claim(row.id, row.epoch)
    return Move(claim, JobState.QUEUED, JobState.SUBMITTING, lease_seconds, tries=row.tries, keep_claim=True)


def _affordable(
    connection: Connection,
    account: LockedAccount,
    rows: Sequence[Any],
    terms: PaymentTerms,
    *,
    actor: str,
    prices_are_read: bool,
) -> list[tuple[Any, Decimal | None]]:
    """Return the rows that fit under every cap, with their prices; the others wait, with the reason."""
    purse = caps.budget(connection, account, (row.batch_id for row in rows), allow_unknown=terms.allow_unknown_price)
    found = []
    for row in rows:
        price = terms.price(row.request, len(row.missing))
        refusal = purse.refusal(row.batch_id, price, unpriced=terms.unpriced(row.request) if price is None else "")
        if refusal is None:
            found.append((row, price))
        elif refusal.code == caps.PRICE_UNKNOWN and not prices_are_read:
            give_back(connection, [Claim(row.id, row.epoch)], states=_UNSPENT, due_seconds=_PASSING_SECONDS)
        else:
            _put_off(connection, account.name, row, refusal, actor=actor)
    return found


def _put_off(connection: Connection, account: str, row: Any, refusal: caps.Refusal, *, actor: str) -> None:
    """Make a job wait for room under a cap; if only a person can make room, put it on hold."""
    claim = Claim(row.id, row.epoch)
    if refusal.passing or refusal.code == caps.DAILY_CAP:
        if not refusal.passing:
            accounts.slow_down(connection, account, CAPPED_SECONDS)
        give_back(connection, [claim], states=_UNSPENT, due_seconds=_PASSING_SECONDS)
        return
    others = caps.in_line(connection, account, row.batch_id) if refusal.code in {caps.BATCH_CAP, steering.HELD} else []
    if refusal.code == steering.HELD:
        steering.put_on_hold(connection, [claim, *others], actor=actor)
        return
    _hold(connection, [claim, *others], refusal, actor=actor)


def _hold(connection: Connection, on_hold: Iterable[Claim], refusal: caps.Refusal, *, actor: str) -> None:
    wait = caps.RECHECK_SECONDS
    moves = [
        Move(claim, JobState.QUEUED, JobState.QUEUED, wait, code=refusal.code, note=refusal.note, on_hold=True)
        for claim in on_hold
    ]
    move(connection, moves, actor=actor)


def _open(
    connection: Connection, account: LockedAccount, intents: Sequence[Intent], sender: Sender, terms: PaymentTerms
) -> None:
    if not intents:
        return
    connection.execute(
        _OPEN,
        {
            "ids": [intent.submission_id for intent in intents],
            "job_ids": [intent.claim.job_id for intent in intents],
            "epochs": [intent.claim.epoch for intent in intents],
            "batch_ids": [intent.batch_id for intent in intents],
            "reserved": [intent.reserved for intent in intents],
            "account": account.name,
            "probe": account.probing,
            "key_id": terms.key_id,
            "sender": sender.name,
            "sender_lock": sender.lock_key,
            "send_within": terms.send_within_seconds,
            "quiet": terms.quiet_seconds,
        },
    )
    ledger.reserve(connection, {intent.submission_id: intent.reserved for intent in intents})


def undo(connection: Connection, account: str, wanted: Mapping[Claim, UUID], *, note: str, actor: str) -> None:
    """Undo intents whose commit was not confirmed. Only their sender knows that nothing left."""
    # A commit whose answer was lost may still be under way; it holds this lock until it is done.
    accounts.lock(connection, account, wait=True)
    give_back(connection, wanted, states=_UNSPENT, account=account, due_seconds=1.0)
    for claim, submission_id in wanted.items():
        if connection.execute(_EXISTS, {"id": submission_id, "account": account}).one_or_none() is None:
            continue
        record(connection, submission_id, Answer(Outcome.NOT_SENT, error_code="provider_unreachable", error=note))
        back = Move(claim, JobState.SUBMITTING, JobState.QUEUED, 1.0, note=note)
        if move(connection, [back], actor=actor):
            # What an earlier attempt bought may have become known meanwhile: it must not be bought again.
            collect(connection, claim.job_id, actor=actor)
        else:
            follow_late(connection, claim.job_id, submission_id, actor=actor)
