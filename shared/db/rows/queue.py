"""Batches and jobs, their paid calls and their images, as rows: SQLModel classes that mirror the migrations."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.db.rows.columns import account_column, identity_column, numeric_column, text_column, time_column
from shared.lifecycle import ImageState, JobState, Outcome


class Batch(SQLModel, table=True):
    """One named bulk request."""

    __table_args__ = (UniqueConstraint("name"), Index("batch_created", "created_at", "id"))

    id: UUID = Field(primary_key=True)
    name: str = text_column()
    on_unknown: str = text_column()
    caps: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = time_column()
    held_at: datetime | None = time_column(nullable=True)


class Job(SQLModel, table=True):
    """One requested generation: one paid submit, one to ten images."""

    __table_args__ = (
        UniqueConstraint("custom_id", "batch_id"),
        Index(
            "job_dispatch",
            "account",
            text("priority DESC"),
            "fair_position",
            "due_at",
            postgresql_where=text("state = 'queued' AND NOT on_hold"),
        ),
        Index("job_due", "account", "due_at", postgresql_where=text("state = 'queued' AND NOT on_hold")),
        Index("job_waiting", "account", "created_at", postgresql_where=text("state = 'queued' AND NOT on_hold")),
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
        Index(
            "job_on_hold",
            "account",
            "error_code",
            "batch_id",
            "due_at",
            postgresql_where=text("on_hold AND state = 'queued'"),
        ),
        Index(
            "job_collect",
            "collect_until",
            postgresql_where=text("state IN ('pending', 'processing', 'transferring')"),
        ),
        Index("job_finished", "finished_at", "id", postgresql_where=text("finished_at IS NOT NULL")),
        Index("job_batch_state", "batch_id", "state", "on_hold", "id"),
        Index("job_leaving", "state", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    batch_id: UUID = Field(foreign_key="batch.id")
    custom_id: str = text_column()
    account: str = account_column()
    provider: str = text_column()
    request: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    images: int
    state: JobState = text_column()
    due_at: datetime | None = time_column(nullable=True)
    """When a worker must look at the job next: while `claimed_by` is set, the end of the lease; else the next try."""
    epoch: int
    claimed_by: str | None = text_column(nullable=True)
    begun_together: int | None = Field(sa_column=Column(SmallInteger))
    crashes: int = Field(sa_column=Column(SmallInteger, nullable=False))
    on_hold: bool
    cancel_requested_at: datetime | None = time_column(nullable=True)
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    fair_position: int = Field(sa_column=Column(BigInteger, nullable=False))
    tries: int
    link_expires_at: datetime | None = time_column(nullable=True)
    deadline_at: datetime = time_column()
    collect_until: datetime = time_column()
    error_code: str | None = text_column(nullable=True)
    error: str | None = text_column(nullable=True)
    created_at: datetime = time_column()
    finished_at: datetime | None = time_column(nullable=True)


class JobMetadata(SQLModel, table=True):
    """The caller's own facts about a job; written once, with it."""

    __tablename__ = "job_metadata"
    __table_args__ = (
        Index(
            "job_metadata_search",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
        ),
    )

    job_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True))
    # Not called after its column, because `metadata` is every class's own.
    facts: dict[str, Any] = Field(sa_column=Column("metadata", JSONB, nullable=False))


class Submission(SQLModel, table=True):
    """One attempt to pay: opened by the intent, closed by evidence."""

    __table_args__ = (
        UniqueConstraint("job_id", "epoch"),
        UniqueConstraint("account", "upstream_id"),
        Index("submission_one_open", "job_id", unique=True, postgresql_where=text("outcome IS NULL")),
        Index("submission_day", "account", "opened_at"),
        Index("submission_undecided", "account", postgresql_where=text("outcome IS NULL OR outcome = 'unknown'")),
    )

    id: UUID = Field(primary_key=True)
    job_id: UUID = Field(foreign_key="job.id")
    epoch: int
    batch_id: UUID = Field(foreign_key="batch.id")
    account: str = account_column()
    sender: str = text_column()
    sender_lock: int = Field(sa_column=Column(BigInteger, nullable=False))
    opened_at: datetime = time_column()
    send_by: datetime = time_column()
    visible_by: datetime = time_column()
    outcome: Outcome | None = text_column(nullable=True)
    answered_at: datetime | None = time_column(nullable=True)
    http_status: int | None
    upstream_id: str | None = text_column(nullable=True)
    error_code: str | None = text_column(nullable=True)
    error: str | None = text_column(nullable=True)
    reserved: Decimal | None = numeric_column(nullable=True)
    settled: Decimal | None = numeric_column(nullable=True)
    elsewhere: Decimal = numeric_column()
    inferred: bool
    key_id: str | None = text_column(nullable=True)
    cost_stated: bool
    sender_over: bool
    awaits_purchase: bool
    probe: bool
    unit: str = text_column()
    reply_sha256: bytes | None = Field(sa_column=Column(LargeBinary))
    """The hash of a kept answer, or of the links that an answer gave."""
    reply_images: int | None
    kept_as: str | None = text_column(nullable=True)


class Image(SQLModel, table=True):
    """One image of a job, with its own state, link and error."""

    __table_args__ = (
        UniqueConstraint("account", "upstream_id"),
        Index("image_lacking", "account", postgresql_where=text("lacking_looks > 0")),
        Index("image_submission", "submission_id"),
    )

    job_id: UUID = Field(primary_key=True, foreign_key="job.id")
    index: int = Field(primary_key=True)
    submission_id: UUID = Field(foreign_key="submission.id")
    account: str = account_column()
    upstream_id: str | None = text_column(nullable=True)
    state: ImageState = text_column()
    link: str | None = text_column(nullable=True)
    link_expires_at: datetime | None = time_column(nullable=True)
    tries: int
    error_code: str | None = text_column(nullable=True)
    error: str | None = text_column(nullable=True)
    lacking_looks: int
    lacking_since: datetime | None = time_column(nullable=True)
    short_sha256: bytes | None = Field(sa_column=Column(LargeBinary))
    bucket: str | None = text_column(nullable=True)
    key: str | None = text_column(nullable=True)
    sha256: bytes | None = Field(sa_column=Column(LargeBinary))
    refused_sha256: bytes | None = Field(sa_column=Column(LargeBinary))
    stated_width: int | None
    stated_height: int | None
    bytes: int | None = Field(sa_column=Column(BigInteger))
    content_type: str | None = text_column(nullable=True)
    width: int | None
    height: int | None
    stored_at: datetime | None = time_column(nullable=True)


class JobEvent(SQLModel, table=True):
    """One transition; append-only; what `genqueue explain JOB` prints."""

    __tablename__ = "job_event"
    __table_args__ = (Index("job_event_job", "job_id", "id"),)

    id: int = identity_column()
    job_id: UUID = Field(foreign_key="job.id")
    at: datetime = time_column()
    epoch: int
    from_state: str = text_column()
    to_state: str = text_column()
    actor: str = text_column()
    code: str | None = text_column(nullable=True)
    note: str | None = text_column(nullable=True)


class InboxRow(SQLModel, table=True):
    """One row that SQL's `enqueue` took and that waits to be checked; without its request once it is a job."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("custom_id", "batch", name="inbox_custom_id_batch_key"),
        Index("inbox_waiting", "batch", "id", postgresql_where=text("taken_at IS NULL")),
        Index("inbox_taken", "taken_at", postgresql_where=text("taken_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    batch: str = text_column()
    custom_id: str = text_column()
    request: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    options: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    arrived_at: datetime = time_column()
    taken_at: datetime | None = time_column(nullable=True)
    note: str | None = text_column(nullable=True)
