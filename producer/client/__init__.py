"""The SDK: enqueue, watch and read results from Python. It needs only the database."""

from producer.client.accounts import AccountsAndWorkers, AfterRestoreError
from producer.client.batches import is_settled
from producer.client.celery_side import CelerySide
from producer.client.connection import NoSuchBatchError
from producer.client.enqueueing import InvalidRowsError
from producer.client.jobs import Jobs, NoSuchJobError
from producer.client.leaving import Leaving
from producer.client.money import Money
from producer.client.singles import BatchBusyError, EnqueuedJob, Order, Singles, checked
from producer.client.steering import Steering
from producer.client.tokens import Tokens
from producer.client.waiting import Waiting
from producer.client.webhooks import Webhooks

__all__ = [
    "AfterRestoreError",
    "BatchBusyError",
    "Client",
    "EnqueuedJob",
    "InvalidRowsError",
    "NoSuchBatchError",
    "NoSuchJobError",
    "Order",
    "checked",
    "is_settled",
]


class Client(CelerySide, Singles, Jobs, Steering, Waiting, Leaving, Money, AccountsAndWorkers, Tokens, Webhooks):
    """A producer's connection to the queue. Settings come from the environment unless given.

    `actor` is the name in `genqueue audit` for commands of this client; default: this process's user and `sdk`.

    Raises `SettingsError`, `DatabaseUnavailableError` or `SchemaError` if the queue cannot be used.
    """
