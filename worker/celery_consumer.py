"""Celery 5.7.0's consumer, changed to survive a Redis restart, malformed messages and a silent Redis.

It reads from the Redis channels of `celery_channels`. `celery_events` sends its events, `celery_control` answers
control commands, and `celery_log` cleans its lines.
"""

import logging
import time
import warnings
from typing import Any, Final

import structlog
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from redis.exceptions import ReadOnlyError

from worker.celery_channels import REFUSED_SECONDS, tell_garbled
from worker.celery_control import refuse_control
from worker.celery_log import quote_no_message

_log = structlog.get_logger(__name__)
_EVENTS_SECONDS: Final = 1.0


class SafeConsumer(Consumer):
    """Collects a lost connection without closing it.

    Celery 5.7.0 calls `connection.close()` after `collect()` has removed the transport's client. Closing the channel
    then tries to return un-acked messages through it, and an AttributeError ends the worker. Catching that error is not
    enough: a later ack on the half-closed channel raises it again. A regression test restarts Redis under load.
    """

    connection_errors: tuple[type[Exception], ...]
    hub: Any
    _events_wait = False

    def __init__(self, *args: Any, **options: Any) -> None:
        refuse_control()
        quote_no_message()
        super().__init__(*args, **options)
        # Which server is the primary changes: a worker connects again, and does not end.
        self.connection_errors = (*self.connection_errors, ReadOnlyError)

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # celery-types gives it a result
        """Send events a second later, together. A message for each cost more than the database rows of a poll.

        Celery sends them at once, each in a message of its own.
        """
        if self.hub and not self._events_wait:
            self._events_wait = True
            self.hub.call_later(_EVENTS_SECONDS, self._flush_events)

    def _flush_events(self) -> None:
        self._events_wait = False
        super()._flush_events()  # type: ignore[misc] # celery-types leaves it out

    def shutdown(self) -> None:
        """Send the last events, and end."""
        self._flush_events()
        super().shutdown()

    # Celery logs what these hold, in full.

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        """Drop a message of another protocol."""
        self._drop(message, "unknown message")

    def on_unknown_task(self, _body: Any, message: Any, _exc: Any) -> None:
        """Drop a message for a task that we do not have."""
        self._drop(message, "unknown task")

    def on_invalid_task(self, _body: Any, message: Any, _exc: Any) -> None:
        """Drop a message that is not a task, or of a kind that is not accepted."""
        self._drop(message, "invalid task")

    def on_decode_error(self, message: Any, _exc: Any) -> None:
        """Drop a message whose body cannot be read."""
        self._drop(message, "undecodable body")

    def _drop(self, message: Any, reason: str) -> None:
        tell_garbled(reason)
        message.ack_log_error(logging.getLogger(__name__), self.connection_errors)

    def on_connection_error_after_connected(self, exc: Exception) -> Any:
        """Reconnect as Celery does, without closing the connection a second time."""
        _wait_for_primary(exc)
        if self.connection is not None:
            self.connection.close = _already_collected  # type: ignore[method-assign]
        with warnings.catch_warnings():
            # It warns of a new default for a setting that we set.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            return super().on_connection_error_after_connected(exc)

    def on_connection_error_before_connected(self, exc: Exception) -> Any:
        """Wait where a replica took the connection; otherwise report the error as Celery does."""
        return _wait_for_primary(exc) or super().on_connection_error_before_connected(exc)


def _wait_for_primary(error: Exception) -> bool:
    """Wait a second if Redis has become a replica: it takes connections, so that the next try would begin at once."""
    if isinstance(error, ReadOnlyError):
        _log.warning("broker_is_replica")
        time.sleep(REFUSED_SECONDS)
        return True
    return False


def _already_collected() -> None:
    """Do nothing: `collect()` has dropped the sockets."""
