"""Producers: the SDK, the command line and prompt files. They need only the database."""

from producer.client import Client, InvalidRowsError, NoSuchBatchError, NoSuchJobError
from producer.in_transaction import enqueue_in, enqueue_in_async
from shared.db.audit import Actor
from shared.db.foreign_connections import HandedIn

__all__ = [
    "Actor",
    "Client",
    "HandedIn",
    "InvalidRowsError",
    "NoSuchBatchError",
    "NoSuchJobError",
    "enqueue_in",
    "enqueue_in_async",
]
