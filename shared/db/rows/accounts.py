"""Accounts, and what is known of their providers: what models take, their windows, and images of no known call."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import account_column, identity_column, numeric_column, text_column, time_column


class Account(SQLModel, table=True):
    """One named API key at one provider; the key itself is never stored."""

    name: str = text_column(primary_key=True)
    provider: str = text_column()
    unit: str = text_column()
    concurrency: int
    windows: list[dict[str, float]] = Field(sa_column=Column(JSONB, nullable=False))
    daily_cap: Decimal | None = numeric_column(nullable=True)
    fair_position: int = Field(sa_column=Column(BigInteger, nullable=False))
    not_before: datetime | None = time_column(nullable=True)
    doubts: int
    failing: int
    slow_start_limit: int | None
    probe_at: datetime | None = time_column(nullable=True)
    probes: int
    balance_needed: Decimal | None = numeric_column(nullable=True)
    swept_until: datetime | None = time_column(nullable=True)
    sweep_at: datetime | None = time_column(nullable=True)
    paused_at: datetime | None = time_column(nullable=True)
    paused_code: str | None = text_column(nullable=True)
    paused_reason: str | None = text_column(nullable=True)
    action_url: str | None = text_column(nullable=True)
    balance: Decimal | None = numeric_column(nullable=True)
    notes: str | None = text_column(nullable=True)
    seen_at: datetime | None = time_column(nullable=True)
    found_at: datetime | None = time_column(nullable=True)
    looks_failing_since: datetime | None = time_column(nullable=True)
    unfetched: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    largest_reply: int = Field(sa_column=Column(BigInteger, nullable=False))
    terms: dict[str, Any] | None = Field(sa_column=Column(JSONB))


class ModelTimeRow(SQLModel, table=True):
    """How long an account's model took lately, in seconds since the purchase; newest first."""

    __tablename__ = "model_time"

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    model: str = text_column(primary_key=True)
    sooner: list[float] = Field(sa_column=Column(ARRAY(Double), nullable=False))
    later: list[float] = Field(sa_column=Column(ARRAY(Double), nullable=False))
    learned_at: datetime = time_column()


class RequestSlot(SQLModel, table=True):
    """One upstream request in a rate window."""

    __tablename__ = "request_slot"
    __table_args__ = (Index("request_slot_window", "account", "taken_at"),)

    id: int = identity_column()
    account: str = account_column()
    taken_at: datetime = time_column()
    kind: str = text_column()


class UnownedImage(SQLModel, table=True):
    """One image that a provider made and that no submission of ours owns; reported, never adopted by guess."""

    __tablename__ = "unowned_image"

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    upstream_id: str = text_column(primary_key=True)
    made_at: datetime = time_column()
    found_at: datetime = time_column()
    note: str = text_column()


class CandidateRow(SQLModel, table=True):
    """One picture in a provider's list that may be what a lost call bought; `due_at`: when its preview is tried."""

    __tablename__ = "candidate"
    __table_args__ = (
        Index("candidate_due", "account", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("candidate_image", "account", "upstream_id"),
    )

    submission_id: UUID = Field(
        sa_column=Column(Uuid, ForeignKey("submission.id", ondelete="CASCADE"), primary_key=True)
    )
    upstream_id: str = text_column(primary_key=True)
    account: str = account_column()
    made_at: datetime | None = time_column(nullable=True)
    found_at: datetime = time_column()
    due_at: datetime | None = time_column(nullable=True)
    tries: int
    key: str | None = text_column(nullable=True)
