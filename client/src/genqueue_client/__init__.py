"""A client for genqueue's HTTP API: typed, sync and async, with retries that are safe because ids are."""

from genqueue_client.asynchronous import AsyncBatch, AsyncClient, AsyncJob
from genqueue_client.documents import Added, BatchLine, Image, JobLine, Money, Reason
from genqueue_client.errors import (
    ApiError,
    CapReachedError,
    ConflictError,
    GenqueueError,
    NotAllowedError,
    NotEndedError,
    NotFoundError,
    RateLimitedError,
    RowsInvalidError,
    ServerError,
    UnreachableError,
)
from genqueue_client.synchronous import Batch, Client, Job
from genqueue_client.webhooks import Event, WebhookError, verify_webhook

__all__ = [
    "Added",
    "ApiError",
    "AsyncBatch",
    "AsyncClient",
    "AsyncJob",
    "Batch",
    "BatchLine",
    "CapReachedError",
    "Client",
    "ConflictError",
    "Event",
    "GenqueueError",
    "Image",
    "Job",
    "JobLine",
    "Money",
    "NotAllowedError",
    "NotEndedError",
    "NotFoundError",
    "RateLimitedError",
    "Reason",
    "RowsInvalidError",
    "ServerError",
    "UnreachableError",
    "WebhookError",
    "verify_webhook",
]
