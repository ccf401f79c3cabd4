"""Workers, what troubles them, and whether they work for real money."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
)
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import text_column, time_column


class PurposeRow(SQLModel, table=True):
    """The purpose of the database, `trial` or `real`; one row, never changed."""

    __tablename__ = "purpose"

    one: bool = Field(primary_key=True)
    kind: str = text_column()
    decided_at: datetime = time_column()


class TroubleRow(SQLModel, table=True):
    """Something wrong around one worker, as it last said."""

    __tablename__ = "trouble"

    worker: str = text_column(primary_key=True)
    kind: str = text_column(primary_key=True)
    said: str = text_column()
    since: datetime = time_column()
    seen_at: datetime = time_column()


class Worker(SQLModel, table=True):
    """One worker process, alive while its tick moves."""

    name: str = text_column(primary_key=True)
    lock_key: int = Field(sa_column=Column(BigInteger, nullable=False))
    slots: int
    started_at: datetime = time_column()
    last_tick_at: datetime = time_column()
    stuck_since: datetime | None = time_column(nullable=True)
