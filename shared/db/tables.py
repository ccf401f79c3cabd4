"""The rows as types: SQLModel classes that mirror the migrations (a test compares the two)."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Numeric, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

metadata = SQLModel.metadata


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
    turn: int = Field(sa_column=Column(BigInteger, nullable=False))
    not_before: datetime | None = _time(nullable=True)
    paused_at: datetime | None = _time(nullable=True)
    paused_code: str | None = _text(nullable=True)
    paused_reason: str | None = _text(nullable=True)
    action_url: str | None = _text(nullable=True)
    seen_at: datetime | None = _time(nullable=True)


class Batch(SQLModel, table=True):
    """One named bulk request."""

    id: UUID = Field(primary_key=True)
    name: str = _text()
    on_unknown: str = _text()
    created_at: datetime = _time()


class Job(SQLModel, table=True):
    """One generation asked for: one paid submit, one to ten images."""

    id: UUID = Field(primary_key=True)
    batch_id: UUID
    custom_id: str = _text()
    account: str = _text()
    provider: str = _text()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    images: int
    state: str = _text()
    due_at: datetime | None = _time(nullable=True)
    epoch: int
    claimed_by: str | None = _text(nullable=True)
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

    id: UUID = Field(primary_key=True)
    job_id: UUID
    epoch: int
    account: str = _text()
    sender: str = _text()
    sender_lock: int = Field(sa_column=Column(BigInteger, nullable=False))
    opened_at: datetime = _time()
    send_by: datetime = _time()
    outcome: str | None = _text(nullable=True)
    answered_at: datetime | None = _time(nullable=True)
    http_status: int | None
    upstream_id: str | None = _text(nullable=True)
    error_code: str | None = _text(nullable=True)
    error: str | None = _text(nullable=True)
    reserved: Decimal | None = _numeric(nullable=True)
    settled: Decimal | None = _numeric(nullable=True)
    unit: str = _text()


class Image(SQLModel, table=True):
    """One picture of a job, with its own state, link and error."""

    job_id: UUID = Field(primary_key=True)
    index: int = Field(primary_key=True)
    submission_id: UUID
    account: str = _text()
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

    id: int = _identity()
    job_id: UUID
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

    id: int = _identity()
    account: str = _text()
    taken_at: datetime = _time()
    kind: str = _text()


class LedgerLine(SQLModel, table=True):
    """One movement of money or credits, as changes of what is reserved, settled and held."""

    __tablename__ = "ledger"

    id: int = _identity()
    at: datetime = _time()
    submission_id: UUID
    job_id: UUID
    account: str = _text()
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
