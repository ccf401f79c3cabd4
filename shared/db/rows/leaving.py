"""The rows that stay when others have left, and the objects that wait for deletion."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Column, Date, Index, Text, Uuid
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import numeric_column, text_column, time_column


def _count_column() -> int:
    return Field(sa_column=Column(BigInteger, nullable=False))  # type: ignore[no-any-return]


class LedgerDay(SQLModel, table=True):
    """The sums of ledger lines of one account, day, kind, unit and batch, for jobs that have left.

    `submissions`, `accepted` and `unpriced` (accepted at an unknown price) count each attempt once, in the kind
    'reserve' of the day of its first line.
    """

    __tablename__ = "ledger_day"
    __table_args__ = (Index("ledger_day_batch", "batch_id"),)

    account: str = text_column(primary_key=True)
    day: date = Field(sa_column=Column(Date, primary_key=True))
    kind: str = text_column(primary_key=True)
    unit: str = text_column(primary_key=True)
    provider: str = text_column(primary_key=True)
    batch_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    lines: int = _count_column()
    reserved: Decimal = numeric_column()
    settled: Decimal = numeric_column()
    held: Decimal = numeric_column()
    elsewhere: Decimal = numeric_column()
    submissions: int = _count_column()
    accepted: int = _count_column()
    unpriced: int = _count_column()
    first_opened_at: datetime = time_column()


class PastBatch(SQLModel, table=True):
    """How a batch's jobs that have left ended; `left_at` is set when the batch itself has left."""

    __tablename__ = "past_batch"
    __table_args__ = (Index("past_batch_name", "name"),)

    batch_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    name: str = text_column()
    created_at: datetime = time_column()
    succeeded: int = _count_column()
    failed: int = _count_column()
    cancelled: int = _count_column()
    left_at: datetime | None = time_column(nullable=True)


class DoomedObject(SQLModel, table=True):
    """An object that nothing names; a worker deletes it, with retries."""

    __tablename__ = "doomed_object"
    __table_args__ = (Index("doomed_object_due", "due_at"),)

    key: str = Field(sa_column=Column(Text, primary_key=True))
    asked_at: datetime = time_column()
    due_at: datetime = time_column()
    tries: int
    error_code: str | None = text_column(nullable=True)
