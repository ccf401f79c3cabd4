"""The rows about what a restored database lacks, as types."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import identity_column, time_column


class HighWaterRow(SQLModel, table=True):
    """The ledger line that was last noted outside this database; `lineage` stays the same in every copy of it."""

    __tablename__ = "high_water"

    single: bool = Field(sa_column=Column(Boolean, primary_key=True))
    lineage: UUID
    line: int = Field(sa_column=Column(BigInteger, nullable=False))


class RestorationRow(SQLModel, table=True):
    """A restore or failover that lost rows: from `has_until` to `lacks_until`. A person ends it."""

    __tablename__ = "restoration"

    id: int = identity_column()
    found_at: datetime = time_column()
    has_until: datetime | None = time_column(nullable=True)
    lacks_until: datetime = time_column()
    ended_at: datetime | None = time_column(nullable=True)
