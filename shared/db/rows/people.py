"""The rows about what people did, as types."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import numeric_column, text_column, time_column


class AuditRow(SQLModel, table=True):
    """One command of a person: who, what, on which jobs, how many, and what it could pay a second time."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_newest", "at", "id"),)

    id: UUID = Field(primary_key=True)
    at: datetime = time_column()
    actor: str = text_column()
    door: str = text_column()
    act: str = text_column()
    terms: str = text_column()
    batch: str | None = text_column(nullable=True)
    account: str | None = text_column(nullable=True)
    error_code: str | None = text_column(nullable=True)
    job: UUID | None
    changed: int
    worst_cost: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    unpriced: int


class TokenRow(SQLModel, table=True):
    """A token of the HTTP API and the dashboard; its secret stands here only as a hash.

    `caps` holds the most that it may order within 24 hours, by provider in the provider's unit; None = no cap.
    """

    __tablename__ = "token"

    id: str = text_column(primary_key=True)
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    name: str = text_column()
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    batch_prefix: str = text_column()
    caps: dict[str, Any] | None = Field(sa_column=Column(JSONB, nullable=True))
    posts_per_second: int
    purse: str = Field(sa_column=Column(Text, ForeignKey("token.id"), nullable=False))
    created_at: datetime = time_column()
    expires_at: datetime | None = time_column(nullable=True)
    revoked_at: datetime | None = time_column(nullable=True)
    last_used_at: datetime | None = time_column(nullable=True)


class TokenSpending(SQLModel, table=True):
    """What the tokens of one purse ordered from a provider in ten minutes, at upper-bound prices."""

    __tablename__ = "token_spending"

    purse: str = Field(sa_column=Column(Text, ForeignKey("token.id"), primary_key=True))
    provider: str = text_column(primary_key=True)
    began_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    amount: Decimal = numeric_column()
