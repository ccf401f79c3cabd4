"""The rows about who is told what, as types."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ForeignKey, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import identity_column, text_column, time_column


def _of(table: str, *, primary_key: bool = False) -> Any:
    """Return a column that names a row of `table` and goes with it."""
    key = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Field(sa_column=Column(Uuid, key, nullable=False, primary_key=primary_key))


class Endpoint(SQLModel, table=True):
    """Who is told: a URL, or a task of Celery on a caller's broker (`url` is then its name and queue)."""

    id: UUID = Field(primary_key=True)
    kind: str = text_column()
    url: str = text_column()
    types: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    batch_prefix: str = text_column()
    secret_version: int
    rotated_at: datetime | None = time_column(nullable=True)
    created_at: datetime = time_column()
    failures: int
    failing_since: datetime | None = time_column(nullable=True)
    held_until: datetime | None = time_column(nullable=True)
    disabled_at: datetime | None = time_column(nullable=True)
    disabled_code: str | None = text_column(nullable=True)


class Delivery(SQLModel, table=True):
    """One event on its way to one endpoint; `due_at` is set until it was delivered or given up."""

    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_key", name="delivery_once"),
        Index("delivery_due", "endpoint_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("delivery_newest", "endpoint_id", "created_at"),
        Index("delivery_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    endpoint_id: UUID = _of("endpoint")
    event_key: str = text_column()
    type: str = text_column()
    job_id: UUID | None
    data: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = time_column()
    due_at: datetime | None = time_column(nullable=True)
    tries: int
    status: int | None
    error: str | None = text_column(nullable=True)
    milliseconds: int | None
    delivered_at: datetime | None = time_column(nullable=True)
    ended_at: datetime | None = time_column(nullable=True)


class JobNotify(SQLModel, table=True):
    """The endpoint that one job's caller named for it."""

    __tablename__ = "job_notify"
    __table_args__ = (Index("job_notify_endpoint", "endpoint_id"),)

    job_id: UUID = _of("job", primary_key=True)
    endpoint_id: UUID = _of("endpoint")


class BatchNews(SQLModel, table=True):
    """A batch whose jobs ended or were held since somebody last looked whether it is settled."""

    __tablename__ = "batch_news"

    id: int = identity_column()
    batch_id: UUID = Field(sa_column=Column(Uuid, nullable=False))


class BatchSettled(SQLModel, table=True):
    """How often a batch was told to be settled, and with which counts; no counts while it goes on."""

    __tablename__ = "batch_settled"

    batch_id: UUID = _of("batch", primary_key=True)
    revision: int
    counts: dict[str, Any] | None = Field(sa_column=Column(JSONB))
