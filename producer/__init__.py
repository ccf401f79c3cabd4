"""Producers: the SDK, the command line and prompt files. They need only the database.

A name is imported when it is first asked for: a command needs few of these modules, and each costs CPU as it starts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
_ELSEWHERE: Final = {
    "Actor": "shared.db.audit",
    "HandedIn": "shared.db.foreign_connections",
    "enqueue_in": "producer.in_transaction",
    "enqueue_in_async": "producer.in_transaction",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "producer.client")), name)
