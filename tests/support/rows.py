"""Rows for tests of the SQL layer: accounts, batches and jobs, and a job brought to wherever a test begins."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text

from shared.account_settings import RateWindow
from shared.db import accounts
from shared.db.accounts import AccountRow
from shared.db.engine import Engine, transaction
from shared.db.jobs import claims, stored_images
from shared.db.jobs.enqueue import BatchTerms, Enqueued, NewJob, enqueue
from shared.db.jobs.stored_images import StoredImage, StoredObject
from shared.db.jobs.transitions import Claim, Move, move
from shared.db.payments import intents, submissions
from shared.db.payments.intents import Intent, PaymentTerms, Sender
from shared.db.payments.submissions import Answer, BoughtImage
from shared.ids import new_id
from shared.lifecycle import ImageState, JobState, Outcome, Stage

SENDER = Sender("a-worker", 4711)
_NUMBERS = itertools.count(1)


def account_row(name: str = "bloom", *, concurrency: int = 8, windows: tuple[RateWindow, ...] = ()) -> AccountRow:
    return AccountRow(name, name, "credit", concurrency, windows)


def new_job(
    custom_id: str, *, prompt: str = "a harbour", account: str = "bloom", priority: int = 0, n: int = 1
) -> NewJob:
    request = f'{{"n":{n},"prompt":"{prompt}"}}'
    fingerprint = hashlib.sha256(request.encode()).digest()
    return NewJob(custom_id, account, request, fingerprint, priority)


def add(  # noqa: PLR0913 - what tests vary
    engine: Engine,
    jobs: Iterable[NewJob],
    *,
    batch: str = "b",
    deadline: float = 3600,
    collect: float = 7200,
    accounts: Iterable[str] = ("bloom", "getimg"),
    on_unknown: Literal["hold", "resend"] | None = None,
    caps: Mapping[str, Decimal] | None = None,
) -> Enqueued:
    """Enqueue, with every account that the tests use."""
    known = [account_row(name) for name in accounts]
    with transaction(engine) as connection:
        return enqueue(connection, batch, jobs, known, BatchTerms(deadline, collect, on_unknown, caps))


def register(engine: Engine, *rows: AccountRow) -> None:
    with transaction(engine) as connection:
        accounts.register(connection, rows)


def claim(
    engine: Engine,
    stage: str = "submit",
    *,
    account: str = "bloom",
    count: int = 1,
    lease: float = 60,
    worker: str = "a",
) -> list[Claim]:
    with transaction(engine) as connection:
        found = claims.claim(connection, Stage(stage), account, count=count, worker=worker, lease_seconds=lease)
        return [*found.together, *(one.claim for one in found.suspects)]


def open_intents(  # noqa: PLR0913 - what tests vary
    engine: Engine,
    found: Iterable[Claim],
    *,
    price: Decimal | None = Decimal(2),
    sender: Sender = SENDER,
    lease: float = 60,
    quiet: float = 60,
    account: str = "bloom",
    allow_unknown_price: bool = True,
) -> list[Intent]:
    terms = PaymentTerms(
        price=lambda _request, _count: price,
        allow_unknown_price=allow_unknown_price,
        send_within_seconds=20,
        lease_seconds=lease,
        quiet_seconds=quiet,
    )
    with transaction(engine) as connection:
        wanted = {claim: new_id() for claim in found}
        return intents.open_intents(connection, account, wanted, sender=sender, terms=terms)


def one_intent(engine: Engine, *, n: int = 1, lease: float = 60) -> Intent:
    """Enqueue, claim and open one new job of `n` images."""
    add(engine, [new_job(f"c{next(_NUMBERS)}", n=n)])
    (intent,) = open_intents(engine, claim(engine), lease=lease)
    return intent


def accepted(*states: ImageState, link: str | None = "https://example.com/i") -> Answer:
    """An answer that bought one picture for each of `states`."""
    number = next(_NUMBERS)
    pictures = tuple(
        BoughtImage(
            index,
            state,
            f"up-{number}-{index}",
            link if state is ImageState.READY else None,
            datetime.now(UTC) + timedelta(hours=1) if state is ImageState.READY else None,
            "generation_failed" if state is ImageState.FAILED else None,
        )
        for index, state in enumerate(states or (ImageState.READY,))
    )
    return Answer(Outcome.ACCEPTED, http_status=200, upstream_id=f"up-{number}-0", images=pictures)


def settle(engine: Engine, intent: Intent, answer: Answer, step: Move) -> bool:
    """Record an answer and try the transition, as a sender does; False where it lost."""
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, answer)
        return bool(move(connection, [step], actor="a-worker"))


def transferring(engine: Engine, *states: ImageState, link: str | None = "https://example.com/i") -> Claim:
    """Bring one new job with pictures in `states` to where the transfer finds it, unclaimed and due."""
    intent = one_intent(engine, n=max(len(states), 1))
    step = Move(intent.claim, JobState.SUBMITTING, JobState.TRANSFERRING, 0)
    assert settle(engine, intent, accepted(*states, link=link), step)
    return intent.claim


def rows(engine: Engine, statement: str, **parameters: Any) -> list[Any]:
    with transaction(engine) as connection:
        result = connection.execute(text(statement), parameters)
        return list(result.all()) if result.returns_rows else []


def job(engine: Engine, job_id: UUID) -> Any:
    return rows(engine, "SELECT *, due_at <= now() AS due FROM job WHERE id = :id", id=job_id)[0]


def states(engine: Engine) -> dict[str, int]:
    return dict(tuple(row) for row in rows(engine, "SELECT state, count(*) FROM job GROUP BY state"))


def claim_of(engine: Engine, job_id: UUID) -> Claim:
    """The claim that whoever has this job in hand now holds."""
    return Claim(job_id, job(engine, job_id).epoch)


def bytes_of(engine: Engine, job_id: UUID, index: int, name: str = "k") -> StoredImage:
    """The bytes of the image that is at `index` now, as a worker that has put them in the bucket tells of them."""
    statement = "SELECT submission_id, upstream_id FROM image WHERE job_id = :job AND index = :index"
    (row,) = rows(engine, statement, job=job_id, index=index)
    place = StoredObject("b", name, name.encode().ljust(32, b"0"), 1, "image/png", 1, 1)
    return StoredImage(job_id, index, row.submission_id, row.upstream_id, place)


def store(engine: Engine, image: StoredImage) -> None:
    with transaction(engine) as connection:
        stored_images.store(connection, [image])


def keep(engine: Engine, image: StoredImage) -> None:
    with transaction(engine) as connection:
        stored_images.keep(connection, image)


def id_of(engine: Engine, job_id: UUID, index: int = 0) -> str | None:
    """The id at the provider of the image that is at `index` now."""
    return bytes_of(engine, job_id, index).upstream_id


def asked_again(engine: Engine, job_id: UUID) -> None:
    """Write down that a person had a failed job's provider asked once more, in vain."""
    statement = """
      INSERT INTO job_event (job_id, epoch, from_state, to_state, actor)
      SELECT id, epoch, before, after, 'person' FROM job,
        (VALUES (1, 'failed', 'pending'), (2, 'pending', 'failed')) AS a (nth, before, after)
      WHERE id = :job ORDER BY nth
    """
    rows(engine, statement, job=job_id)
