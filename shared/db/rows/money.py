"""The rows about money as types: the ledger, and what providers said of balances, usage, costs and prices."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import account_column, identity_column, numeric_column, text_column, time_column


class LedgerLine(SQLModel, table=True):
    """One movement of money or credits, as changes of what is reserved, settled and held."""

    __tablename__ = "ledger"
    __table_args__ = (
        Index("ledger_job", "job_id"),
        Index("ledger_submission", "submission_id"),
        Index("ledger_account", "account", "at", postgresql_include=["submission_id", "settled"]),
    )

    id: int = identity_column()
    at: datetime = time_column()
    submission_id: UUID = Field(foreign_key="submission.id")
    job_id: UUID = Field(foreign_key="job.id")
    account: str = account_column()
    kind: str = text_column()
    unit: str = text_column()
    reserved: Decimal = numeric_column()
    settled: Decimal = numeric_column()
    held: Decimal = numeric_column()
    elsewhere: Decimal = numeric_column()


class BalanceReading(SQLModel, table=True):
    """What a provider said is left of an account, beside the ledger's sums at that moment."""

    __tablename__ = "balance_reading"
    __table_args__ = (Index("balance_reading_account", "account", "id"),)

    id: int = identity_column()
    account: str = account_column()
    at: datetime = time_column()
    base: bool
    balance: Decimal = numeric_column()
    settled: Decimal = numeric_column()
    held: Decimal = numeric_column()
    held_ever: Decimal = numeric_column()
    in_air: Decimal = numeric_column()
    just_settled: Decimal = numeric_column()
    unpriced_held: int
    unpriced_in_air: int
    unpriced_settled: int


class UsageReading(SQLModel, table=True):
    """What a provider said that an account's key has used up in all."""

    __tablename__ = "usage_reading"
    __table_args__ = (Index("usage_reading_key", "account", "key_id", "at"),)

    id: int = identity_column()
    account: str = account_column()
    key_id: str = text_column()
    asked_at: datetime = time_column()
    at: datetime = time_column()
    used: Decimal = numeric_column()
    elsewhere: Decimal | None = numeric_column(nullable=True)


class CostReading(SQLModel, table=True):
    """What a provider said that one UTC day of an account cost."""

    __tablename__ = "cost_reading"
    __table_args__ = (Index("cost_reading_day", "account", "key_id", "day", "at"),)

    id: int = identity_column()
    account: str = account_column()
    key_id: str = text_column()
    day: date
    asked_at: datetime = time_column()
    at: datetime = time_column()
    cost: Decimal = numeric_column()


class OfferReading(SQLModel, table=True):
    """When an account's provider is asked next what it offers, and what came of the last time."""

    __tablename__ = "offer_reading"

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    due_at: datetime = time_column()
    read_at: datetime | None = time_column(nullable=True)
    source: str = text_column()
    whole: bool
    note: str | None = text_column(nullable=True)


class OfferRow(SQLModel, table=True):
    """One model as a provider offers it to an account: what it accepts, and its rates."""

    __tablename__ = "offer"

    account: str = Field(sa_column=Column(Text, ForeignKey("account.name"), primary_key=True))
    model: str = text_column(primary_key=True)
    read_at: datetime = time_column()
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class OfferChange(SQLModel, table=True):
    """A price that a provider changed: of one image, the highest; None where it states no upper bound."""

    __tablename__ = "offer_change"
    __table_args__ = (Index("offer_change_account", "account", "id"),)

    id: int = identity_column()
    account: str = account_column()
    model: str = text_column()
    at: datetime = time_column()
    before: Decimal | None = numeric_column(nullable=True)
    after: Decimal | None = numeric_column(nullable=True)
