"""Celery 5.7.0's consumer and its events, kept alive when Redis restarts and awake when it does not answer."""

import time
import warnings
from typing import Any, Final

from celery.events.dispatcher import EventDispatcher
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer

_AWAY_SECONDS: Final = 10.0


class SafeConsumer(Consumer):
    """Leaves a lost connection collected, not closed.

    Celery 5.7.0 calls `connection.close()` after `collect()` has taken the transport's client away; closing the channel
    then tries to give un-acked messages back through it and ends the worker with an AttributeError. Catching that is
    not enough: a later ack on the half-closed channel raises it again. A regression test restarts Redis under load.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> Any:
        """Reconnect, as Celery does, without closing what is closed already."""
        if self.connection is not None:
            self.connection.close = _already_collected  # type: ignore[method-assign]
        with warnings.catch_warnings():
            # It announces another default for a setting that ours sets.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            return super().on_connection_error_after_connected(exc)


class PromptEvents(EventDispatcher):
    """Tries once to send an event, drops it where that fails, and sends none for a few seconds then.

    Celery repeats a heartbeat for as long as it takes, and at the end sends every event it kept, on the thread that
    also looks for SIGTERM: beside a Redis that takes connections and answers nothing, a worker could then not be
    stopped. Events are for watching; the rows have what happened.
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


def _already_collected() -> None:
    """Do nothing: `collect()` has dropped the sockets."""
