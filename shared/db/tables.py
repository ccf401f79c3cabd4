"""The rows as types: SQLModel classes that mirror the migrations (a test compares the two)."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

metadata = SQLModel.metadata


def _account() -> Any:
    return Field(sa_column=Column(Text, ForeignKey("account.name"), nullable=False))


def _text(*, nullable: bool = False, primary_key: bool = False) -> Any:
    return Field(sa_column=Column(Text, nullable=nullable, primary_key=primary_key))


def _time(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(DateTime(timezone=True), nullable=nullable))


def _numeric(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(Numeric, nullable=nullable))


def _identity() -> Any:
    return Field(sa_column=Column(BigInteger, primary_key=True))


class Account(SQLModel, table=True):
    """One named API key at one provider; the key itself is never stored."""

    name: str = _text(primary_key=True)
    provider: str = _text()
    unit: str = _text()
    concurrency: int
    windows: list[dict[str, float]] = Field(sa_column=Column(JSONB, nullable=False))
    daily_cap: Decimal | None = _numeric(nullable=True)
    turn: int = Field(sa_column=Column(BigInteger, nullable=False))
    not_before: datetime | None = _time(nullable=True)
    doubts: int
    ramp: int | None
    probe_at: datetime | None = _time(nullable=True)
    probes: int
    needs: Decimal | None = _numeric(nullable=True)
    swept_until: datetime | None = _time(nullable=True)
    sweep_at: datetime | None = _time(nullable=True)
    paused_at: datetime | None = _time(nullable=True)
    paused_code: str | None = _text(nullable=True)
    paused_reason: str | None = _text(nullable=True)
    action_url: str | None = _text(nullable=True)
    balance: Decimal | None = _numeric(nullable=True)
    notes: str | None = _text(nullable=True)
    seen_at: datetime | None = _time(nullable=True)


class Stray(SQLModel, table=True):
    """One picture that a provider made and that no submission of ours owns; reported, never guessed at."""

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    upstream_id: str = _text(primary_key=True)
    made_at: datetime = _time()
    found_at: datetime = _time()
    note: str = _text()


class Batch(SQLModel, table=True):
    """One named bulk request."""

    __table_args__ = (UniqueConstraint("name"),)

    id: UUID = Field(primary_key=True)
    name: str = _text()
    on_unknown: str = _text()
    caps: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = _time()


class Job(SQLModel, table=True):
    """One generation asked for: one paid submit, one to ten images."""

    __table_args__ = (
        UniqueConstraint("batch_id", "custom_id"),
        Index(
            "job_dispatch",
            "account",
            text("priority DESC"),
            "turn",
            postgresql_where=text("state = 'queued' AND NOT parked"),
        ),
        Index("job_poll", "account", "due_at", postgresql_where=text("state IN ('pending', 'processing')")),
        Index(
            "job_transfer",
            "account",
            "link_expires_at",
            "due_at",
            postgresql_where=text("state = 'transferring'"),
        ),
        Index("job_reconcile", "account", "due_at", postgresql_where=text("state IN ('submitting', 'in_doubt')")),
        Index("job_claimed", "account", "state", postgresql_where=text("claimed_by IS NOT NULL")),
        Index("job_deadline", "deadline_at", postgresql_where=text("state = 'queued'")),
        Index("job_parked", "account", "batch_id", postgresql_where=text("parked")),
        Index("job_batch_state", "batch_id", "state"),
    )

    id: UUID = Field(primary_key=True)
    batch_id: UUID = Field(foreign_key="batch.id")
    custom_id: str = _text()
    account: str = _account()
    provider: str = _text()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    images: int
    state: str = _text()
    due_at: datetime | None = _time(nullable=True)
    epoch: int
    claimed_by: str | None = _text(nullable=True)
    company: int | None = Field(sa_column=Column(SmallInteger))
    crashes: int = Field(sa_column=Column(SmallInteger, nullable=False))
    parked: bool
    cancel_requested_at: datetime | None = _time(nullable=True)
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    turn: int = Field(sa_column=Column(BigInteger, nullable=False))
    tries: int
    link_expires_at: datetime | None = _time(nullable=True)
    deadline_at: datetime = _time()
    collect_until: datetime = _time()
    error_code: str | None = _text(nullable=True)
    error: str | None = _text(nullable=True)
    created_at: datetime = _time()
    finished_at: datetime | None = _time(nullable=True)


class Submission(SQLModel, table=True):
    """One attempt to pay: opened by the intent, closed by evidence."""

    __table_args__ = (
        UniqueConstraint("job_id", "epoch"),
        UniqueConstraint("account", "upstream_id"),
        Index("submission_one_open", "job_id", unique=True, postgresql_where=text("outcome IS NULL")),
        Index("submission_day", "account", "opened_at", postgresql_include=["outcome", "reserved", "settled"]),
        Index("submission_batch", "batch_id", "account", postgresql_include=["outcome", "reserved", "settled"]),
        Index("submission_undecided", "account", postgresql_where=text("outcome IS NULL OR outcome = 'unknown'")),
    )

    id: UUID = Field(primary_key=True)
    job_id: UUID = Field(foreign_key="job.id")
    epoch: int
    batch_id: UUID = Field(foreign_key="batch.id")
    account: str = _account()
    sender: str = _text()
    sender_lock: int = Field(sa_column=Column(BigInteger, nullable=False))
    opened_at: datetime = _time()
    send_by: datetime = _time()
    quiet_at: datetime = _time()
    outcome: str | None = _text(nullable=True)
    answered_at: datetime | None = _time(nullable=True)
    http_status: int | None
    upstream_id: str | None = _text(nullable=True)
    error_code: str | None = _text(nullable=True)
    error: str | None = _text(nullable=True)
    reserved: Decimal | None = _numeric(nullable=True)
    settled: Decimal | None = _numeric(nullable=True)
    inferred: bool
    key_id: str | None = _text(nullable=True)
    stated: bool
    sender_over: bool
    unit: str = _text()


class Image(SQLModel, table=True):
    """One picture of a job, with its own state, link and error."""

    __table_args__ = (UniqueConstraint("account", "upstream_id"),)

    job_id: UUID = Field(primary_key=True, foreign_key="job.id")
    index: int = Field(primary_key=True)
    submission_id: UUID = Field(foreign_key="submission.id")
    account: str = _account()
    upstream_id: str | None = _text(nullable=True)
    state: str = _text()
    link: str | None = _text(nullable=True)
    link_expires_at: datetime | None = _time(nullable=True)
    tries: int
    error_code: str | None = _text(nullable=True)
    error: str | None = _text(nullable=True)
    bucket: str | None = _text(nullable=True)
    key: str | None = _text(nullable=True)
    sha256: bytes | None = Field(sa_column=Column(LargeBinary))
    bytes: int | None = Field(sa_column=Column(BigInteger))
    content_type: str | None = _text(nullable=True)
    width: int | None
    height: int | None
    stored_at: datetime | None = _time(nullable=True)


class JobEvent(SQLModel, table=True):
    """One transition; append-only; what `genqueue explain JOB` prints."""

    __tablename__ = "job_event"
    __table_args__ = (Index("job_event_job", "job_id", "id"),)

    id: int = _identity()
    job_id: UUID = Field(foreign_key="job.id")
    at: datetime = _time()
    epoch: int
    from_state: str = _text()
    to_state: str = _text()
    actor: str = _text()
    code: str | None = _text(nullable=True)
    note: str | None = _text(nullable=True)


class RequestSlot(SQLModel, table=True):
    """One upstream request in a rate window."""

    __tablename__ = "request_slot"
    __table_args__ = (Index("request_slot_window", "account", "taken_at"),)

    id: int = _identity()
    account: str = _account()
    taken_at: datetime = _time()
    kind: str = _text()


class LedgerLine(SQLModel, table=True):
    """One movement of money or credits, as changes of what is reserved, settled and held."""

    __tablename__ = "ledger"
    __table_args__ = (
        Index("ledger_job", "job_id"),
        Index("ledger_submission", "submission_id"),
        Index("ledger_account", "account", "at", postgresql_include=["reserved", "settled", "held"]),
    )

    id: int = _identity()
    at: datetime = _time()
    submission_id: UUID = Field(foreign_key="submission.id")
    job_id: UUID = Field(foreign_key="job.id")
    account: str = _account()
    kind: str = _text()
    unit: str = _text()
    reserved: Decimal = _numeric()
    settled: Decimal = _numeric()
    held: Decimal = _numeric()


class Worker(SQLModel, table=True):
    """One worker process, alive while its tick moves."""

    name: str = _text(primary_key=True)
    lock_key: int = Field(sa_column=Column(BigInteger, nullable=False))
    slots: int
    started_at: datetime = _time()
    last_tick_at: datetime = _time()


class BalanceReading(SQLModel, table=True):
    """What a provider said is left of an account, beside the ledger's sums at that moment."""

    __tablename__ = "balance_reading"
    __table_args__ = (Index("balance_reading_account", "account", "id"),)

    id: int = _identity()
    account: str = _account()
    at: datetime = _time()
    base: bool
    balance: Decimal = _numeric()
    settled: Decimal = _numeric()
    held: Decimal = _numeric()
    held_ever: Decimal = _numeric()
    in_air: Decimal = _numeric()
    just_settled: Decimal = _numeric()
    unpriced_held: int
    unpriced_in_air: int


class UsageReading(SQLModel, table=True):
    """What a provider said that an account's key has used up in all."""

    __tablename__ = "usage_reading"
    __table_args__ = (Index("usage_reading_key", "account", "key_id", "at"),)

    id: int = _identity()
    account: str = _account()
    key_id: str = _text()
    asked_at: datetime = _time()
    at: datetime = _time()
    used: Decimal = _numeric()


class LedgerSum(SQLModel, table=True):
    """What the ledger's lines of one account come to, up to a moment; `held_ever` leaves out what was given back."""

    __tablename__ = "ledger_sum"

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    until: datetime = _time()
    reserved: Decimal = _numeric()
    settled: Decimal = _numeric()
    held: Decimal = _numeric()
    held_ever: Decimal = _numeric()
