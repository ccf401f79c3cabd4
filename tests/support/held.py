"""Jobs that are held in doubt, or failed after a purchase, written straight into the database: no worker has run."""

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from shared.db import accounts
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.jobs.transitions import Move
from shared.db.payments.intents import Intent
from shared.db.payments.submissions import Answer
from shared.lifecycle import ImageState, JobState, Outcome
from tests.support import rows

UNIT: Final[Mapping[str, str]] = {"bloom": "credit", "getimg": "USD", "openrouter": "USD", "banatie": "unbilled"}
DAY: Final = 86_400.0
_NAMES = itertools.count(1)


def sent(engine: Engine, account: str, batch: str, price: Decimal | None = Decimal(2)) -> Intent:
    """One new job whose paid call is in the air."""
    with transaction(engine) as connection:
        accounts.ensure(connection, [AccountRow(name, name, unit, 10_000, ()) for name, unit in UNIT.items()])
    name = f"c{next(_NAMES)}"
    rows.add(engine, [rows.new_job(name, account=account, prompt=name)], batch=batch, accounts=())
    (claim,) = rows.claim(engine, account=account)
    (intent,) = rows.open_intents(engine, [claim], price=price, account=account)
    return intent


def held(  # noqa: PLR0913 - what tests vary
    engine: Engine,
    count: int = 1,
    *,
    account: str = "bloom",
    batch: str = "b",
    code: str = "answer_lost",
    price: Decimal | None = Decimal(2),
    on_hold: bool = True,
) -> list[UUID]:
    """So many jobs whose call was lost: held for a person, or not `on_hold`: still looked for."""
    found = []
    for _ in range(count):
        intent = sent(engine, account, batch, price)
        lost = Answer(Outcome.UNKNOWN, error_code=code, error="lost")
        step = Move(
            intent.claim, JobState.SUBMITTING, JobState.IN_DOUBT, DAY, code=code, note="lost; unclear", on_hold=on_hold
        )
        assert rows.settle(engine, intent, lost, step)
        found.append(intent.claim.job_id)
    return found


def failed(
    engine: Engine, count: int = 1, *, account: str = "bloom", batch: str = "b", code: str = "generation_failed"
) -> list[UUID]:
    """So many jobs that were bought and whose picture will not come, as its provider said twice."""
    found = []
    for _ in range(count):
        intent = sent(engine, account, batch)
        step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code=code, note="it failed")
        assert rows.settle(engine, intent, rows.accepted(ImageState.FAILED), step)
        rows.asked_again(engine, intent.claim.job_id)
        found.append(intent.claim.job_id)
    return found


def refused(engine: Engine, *, batch: str = "b", code: str = "provider_rejected") -> UUID:
    """One job that the provider refused: nothing was bought."""
    intent = sent(engine, "bloom", batch)
    step = Move(intent.claim, JobState.SUBMITTING, JobState.FAILED, code=code, note="no")
    assert rows.settle(engine, intent, Answer(Outcome.REJECTED, error_code=code, error="no"), step)
    return intent.claim.job_id


def everything(engine: Engine) -> list[Any]:
    """What a command that changes nothing must leave as it was."""
    tables = ("job", "submission", "ledger", "job_event", "image", "batch", "account")
    return [rows.rows(engine, f"SELECT t.* FROM {name} t ORDER BY 1, 2") for name in tables]  # noqa: S608 - our names
