"""Celery 5.7.0's consumer, changed to survive a Redis restart, malformed messages and a silent Redis.

`celery_channels` has the Redis channels that it reads from.
"""

import itertools
import logging
import time
import warnings
from functools import partial
from typing import Any, Final

import structlog
from celery.events.dispatcher import EventDispatcher
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from redis.exceptions import ReadOnlyError

from worker.celery_channels import REFUSED_SECONDS, tell_garbled

_log = structlog.get_logger(__name__)
_AWAY_SECONDS: Final = 10.0
_EVENTS_SECONDS: Final = 0.5
INSPECTION: Final = frozenset(
    {
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked",
        "scheduled", "stats",
    }
)  # fmt: skip
"""What a worker answers; Flower asks no more. `hello` takes in revocations, and the memory dumps cost memory."""
_QUOTING: Final = ("celery.worker.pidbox", "kombu.pidbox", "kombu.transport.redis")  # their lines quote messages
_refused = itertools.count(1)


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
        super().__init__(*args, **options)
        # Which server is the primary changes: a worker connects again, and does not end.
        self.connection_errors = (*self.connection_errors, ReadOnlyError)

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # celery-types gives it a result
        """Send events half a second later, together. A message for each cost more than the database rows of a poll.

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


class PromptEvents(EventDispatcher):
    """Tries once to send an event. If that fails, drops it and sends no event for a few seconds.

    Celery repeats a heartbeat without end, and at the end sends every event it kept, on the thread that also handles
    SIGTERM. With a Redis that accepts connections and answers nothing, such a worker could not be stopped. Events are
    only for watching; the rows hold the facts.
    """

    # celery-types leaves the buffer and `_publish` out.
    _outbound_buffer: Any
    _away_until = float("-inf")

    def _publish(self, event: Any, producer: Any, routing_key: str, **options: Any) -> None:
        if time.monotonic() < self._away_until:
            return
        super()._publish(event, producer, routing_key, **{**options, "retry": False})  # type: ignore[misc]
        if self._outbound_buffer:
            self._outbound_buffer.clear()
            self._away_until = time.monotonic() + _AWAY_SECONDS


_OF_FLOWER: Final = "enable_events"
"""Flower sends it every few seconds, to workers whose events are on anyway: refused without a word."""


def refuse_control() -> None:
    """Have this process answer inspection, and refuse every command that would change what it does.

    Otherwise anyone who can write to the broker could stop all work with one broadcast, for good and without a trace.
    """
    for name in set(Panel.data) - INSPECTION:
        Panel.data[name] = partial(_refuse, name)
    for name in _QUOTING:
        logger = logging.getLogger(name)
        if _without_values not in logger.filters:
            logger.addFilter(_without_values)


def _refuse(command: str, _state: Any, **_arguments: Any) -> dict[str, str]:
    if command != _OF_FLOWER:
        _log.warning("control_refused", command=command, refused=next(_refused))
    return {"error": "a genqueue worker answers inspection only"}


def _without_values(record: logging.LogRecord) -> bool:
    """Keep what a line says and the kind of its error, and nothing of the message that it quotes."""
    error = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] else ""
    record.msg, record.args, record.exc_info = str(record.msg).partition("%")[0].rstrip(" :") + error, (), None
    return True


def _wait_for_primary(error: Exception) -> bool:
    """Wait a second if Redis has become a replica: it takes connections, so that the next try would begin at once."""
    if isinstance(error, ReadOnlyError):
        _log.warning("broker_is_replica")
        time.sleep(REFUSED_SECONDS)
        return True
    return False


def _already_collected() -> None:
    """Do nothing: `collect()` has dropped the sockets."""
