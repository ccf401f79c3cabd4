"""Jobs that ended long ago, written straight into the database: every way in which a call's money can have gone."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from shared.db.engine import Engine, transaction
from shared.db.jobs.resolve import resolve
from shared.db.jobs.transitions import Move, move
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome
from tests.support import held, rows

_TIMES: Final = {
    "job": ("created_at", "finished_at"),
    "submission": ("opened_at", "send_by", "visible_by", "answered_at"),
    "ledger": ("at",),
    "job_event": ("at",),
}
KINDS: Final = ("bought", "refused", "never_sent", "lost_then_charged", "unpriced", "elsewhere", "cancelled", "twice")


def ended(
    engine: Engine,
    kind: str = "bought",
    *,
    account: str = "bloom",
    batch: str = "b",
    price: Decimal | None = Decimal("0.035"),
    days: float = 400,
) -> UUID:
    """One job that ended in this way `days` ago."""
    job_id: UUID = _ENDINGS[kind](engine, account, batch, price)
    age(engine, job_id, days)
    return job_id


def age(engine: Engine, job_id: UUID, days: float) -> None:
    """Have everything of a job be so many days older."""
    for table, columns in _TIMES.items():
        changes = ", ".join(f"{column} = {column} - :days * interval '1 day'" for column in columns)
        name = "id" if table == "job" else "job_id"
        rows.rows(engine, f"UPDATE {table} SET {changes} WHERE {name} = :id", id=job_id, days=days)  # noqa: S608 - our names


def _bought(engine: Engine, account: str, batch: str, price: Decimal | None, **answer: Any) -> UUID:
    intent = held.sent(engine, account, batch, price)
    said = rows.accepted(ImageState.UPSTREAM_ONLY)
    settled = Answer(said.outcome, upstream_id=said.upstream_id, images=said.images, **{"settled": price, **answer})
    assert rows.settle(engine, intent, settled, Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0))
    return _end(engine, intent.claim.job_id, JobState.TRANSFERRING, JobState.SUCCEEDED)


def _refused(engine: Engine, account: str, batch: str, price: Decimal | None) -> UUID:
    intent = held.sent(engine, account, batch, price)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="content_refused", note="no such harbour")
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED, error_code="content_refused"), step)
    return intent.claim.job_id


def _never_sent(engine: Engine, account: str, batch: str, price: Decimal | None) -> UUID:
    intent = held.sent(engine, account, batch, price)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code="deadline_passed")
    assert rows.settle(engine, intent, Answer(Outcome.NOT_SENT), step)
    return intent.claim.job_id


def _lost_then_charged(engine: Engine, account: str, batch: str, price: Decimal | None) -> UUID:
    (job_id,) = held.held(engine, account=account, batch=batch, price=price)
    with transaction(engine) as connection:
        resolve(connection, job_id, resend=False, charged=(price or Decimal(1)) / 2, actor="person")
    return job_id


def _cancelled(engine: Engine, account: str, batch: str, price: Decimal | None) -> UUID:
    intent = held.sent(engine, account, batch, price)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 0)
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED), step)
    return _end(engine, intent.claim.job_id, JobState.QUEUED, JobState.CANCELLED)


def _twice(engine: Engine, account: str, batch: str, price: Decimal | None) -> UUID:
    """Refused once and bought then."""
    intent = held.sent(engine, account, batch, price)
    back = Move(intent.claim, JobState.SUBMITTING, JobState.QUEUED, 0)
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED), back)
    (claim,) = rows.claim(engine, account=account)
    (again,) = rows.open_intents(engine, [claim], price=price, account=account)
    step = Move(again.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0)
    assert rows.settle(engine, again, rows.accepted(ImageState.UPSTREAM_ONLY), step)
    return _end(engine, claim.job_id, JobState.TRANSFERRING, JobState.SUCCEEDED)


def _end(engine: Engine, job_id: UUID, before: JobState, after: JobState) -> UUID:
    claim = rows.claim_of(engine, job_id)
    with transaction(engine) as connection:
        assert move(connection, [Move(claim, before, after)], actor="a-worker")
    return job_id


_ENDINGS: Final[Mapping[str, Any]] = {
    "bought": _bought,
    "refused": _refused,
    "never_sent": _never_sent,
    "lost_then_charged": _lost_then_charged,
    "unpriced": lambda engine, account, batch, _price: _bought(engine, account, batch, None, settled=None),
    "elsewhere": lambda engine, account, batch, price: _bought(
        engine, account, batch, price, settled=Decimal(0), elsewhere=price
    ),
    "cancelled": _cancelled,
    "twice": _twice,
}
