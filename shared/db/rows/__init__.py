"""The rows as types, and the metadata that the migrations are compared with in a test."""

from typing import TypeVar

from sqlalchemy import RowMapping
from sqlmodel import SQLModel

from shared.db.rows.accounts import Account, CandidateRow, ModelTimeRow, RequestSlot, UnownedImage
from shared.db.rows.leaving import DoomedObject, LedgerDay, PastBatch
from shared.db.rows.money import (
    BalanceReading,
    CostReading,
    LedgerLine,
    OfferChange,
    OfferReading,
    OfferRow,
    UsageReading,
)
from shared.db.rows.people import AuditRow, TokenRow, TokenSpending
from shared.db.rows.queue import Batch, Image, InboxRow, Job, JobEvent, JobMetadata, Submission
from shared.db.rows.restored import HighWaterRow, RestorationRow
from shared.db.rows.sums import JobCount, JobCountDelta, Spending, SpendingDelta
from shared.db.rows.webhooks import BatchNews, BatchSettled, Delivery, Endpoint, JobNotify
from shared.db.rows.workers import PurposeRow, TroubleRow, Worker

__all__ = [
    "Account",
    "AuditRow",
    "BalanceReading",
    "Batch",
    "BatchNews",
    "BatchSettled",
    "CandidateRow",
    "CostReading",
    "Delivery",
    "DoomedObject",
    "Endpoint",
    "HighWaterRow",
    "Image",
    "InboxRow",
    "Job",
    "JobCount",
    "JobCountDelta",
    "JobEvent",
    "JobMetadata",
    "JobNotify",
    "LedgerDay",
    "LedgerLine",
    "ModelTimeRow",
    "OfferChange",
    "OfferReading",
    "OfferRow",
    "PastBatch",
    "PurposeRow",
    "RequestSlot",
    "RestorationRow",
    "Spending",
    "SpendingDelta",
    "Submission",
    "TokenRow",
    "TokenSpending",
    "TroubleRow",
    "UnownedImage",
    "UsageReading",
    "Worker",
    "as_noun",
    "metadata",
]

metadata = SQLModel.metadata
Noun = TypeVar("Noun", bound=SQLModel)


def as_noun(kind: type[Noun], row: RowMapping) -> Noun:
    """Return a whole row of a query as its class: with enums for states, and every column checked."""
    return kind.model_validate(row)
