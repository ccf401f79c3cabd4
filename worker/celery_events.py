"""Celery 5.7.0's sender of events, changed: a Redis that answers nothing cannot keep a worker from ending."""

import time
from typing import Any, Final

from celery.events.dispatcher import EventDispatcher

_AWAY_SECONDS: Final = 10.0


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
