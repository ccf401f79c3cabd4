"""Rows of results as every face shows them: the same columns, the same words for values."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

COLUMNS: Final = (
    "custom_id",
    "job_id",
    "index",
    "state",
    "provider",
    "model",
    "s3_uri",
    "sha256",
    "bytes",
    "content_type",
    "width",
    "height",
    "cost",
    "currency",
    "cost_elsewhere",
    "error_code",
    "error",
)
"""The columns of results; `Client.results` yields some more."""


def as_json(value: Any) -> Any:
    """Return a value as JSON has it: money as text, so that no digit is lost."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
