"""Running counts and sums as types. Triggers keep them, so that nobody counts a table that grows."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, Numeric, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import identity_column, text_column, time_column


class JobCount(SQLModel, table=True):
    """The number of jobs of one batch in one state, without the remaining deltas; without a batch, of all batches."""

    __tablename__ = "job_count"
    __table_args__ = (
        UniqueConstraint(
            "batch_id",
            "provider",
            "state",
            "on_hold",
            "error_code",
            name="job_count_of",
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: int = identity_column()
    batch_id: UUID | None
    provider: str = text_column()
    state: str = text_column()
    on_hold: bool
    error_code: str | None = text_column(nullable=True)
    jobs: int = Field(sa_column=Column(BigInteger, nullable=False))


class JobCountDelta(SQLModel, table=True):
    """One statement's change of a count, not added up yet."""

    __tablename__ = "job_count_delta"
    __table_args__ = (Index("job_count_delta_batch", "batch_id"),)

    id: int = identity_column()
    batch_id: UUID
    provider: str = text_column()
    state: str = text_column()
    on_hold: bool
    error_code: str | None = text_column(nullable=True)
    jobs: int = Field(sa_column=Column(BigInteger, nullable=False))


def _calls() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default=text("0"))


def _amount() -> Column[Decimal]:
    return Column(Numeric, nullable=False, server_default=text("0"))


class Spending(SQLModel, table=True):
    """The calls and amounts of an account: of one batch, of one UTC day, or (without either) of all.

    Amounts are in `unit`. `gave_back_at` is when a call last cost less than was set aside for it.
    """

    __table_args__ = (
        UniqueConstraint("batch_id", "day", "account", "unit", name="spending_of", postgresql_nulls_not_distinct=True),
    )

    id: int = identity_column()
    batch_id: UUID | None
    day: date | None
    account: str = text_column()
    unit: str = text_column()
    calls: int = Field(sa_column=_calls())
    open: int = Field(sa_column=_calls())
    accepted: int = Field(sa_column=_calls())
    open_unpriced: int = Field(sa_column=_calls())
    settled_unpriced: int = Field(sa_column=_calls())
    held_unpriced: int = Field(sa_column=_calls())
    held: int = Field(sa_column=_calls())
    reserved_amount: Decimal = Field(sa_column=_amount())
    settled_amount: Decimal = Field(sa_column=_amount())
    held_amount: Decimal = Field(sa_column=_amount())
    held_ever_amount: Decimal = Field(sa_column=_amount())
    elsewhere_amount: Decimal = Field(sa_column=_amount())
    gave_back_at: datetime | None = time_column(nullable=True)


class SpendingDelta(SQLModel, table=True):
    """One statement's change of an account's calls and amounts, not added up yet."""

    __tablename__ = "spending_delta"
    __table_args__ = (Index("spending_delta_account", "account"),)

    id: int = identity_column()
    batch_id: UUID
    day: date
    account: str = text_column()
    unit: str = text_column()
    calls: int = Field(sa_column=_calls())
    open: int = Field(sa_column=_calls())
    accepted: int = Field(sa_column=_calls())
    open_unpriced: int = Field(sa_column=_calls())
    settled_unpriced: int = Field(sa_column=_calls())
    held_unpriced: int = Field(sa_column=_calls())
    held: int = Field(sa_column=_calls())
    reserved_amount: Decimal = Field(sa_column=_amount())
    settled_amount: Decimal = Field(sa_column=_amount())
    held_amount: Decimal = Field(sa_column=_amount())
    held_ever_amount: Decimal = Field(sa_column=_amount())
    elsewhere_amount: Decimal = Field(sa_column=_amount())
    gave_back_at: datetime | None = time_column(nullable=True)
