"""Celery 5.7.0's consumer, kept alive when Redis restarts while a message is un-acked."""

from typing import Any

from celery.worker.consumer import Consumer


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
        return super().on_connection_error_after_connected(exc)


def _already_collected() -> None:
    """Do nothing: `collect()` has dropped the sockets."""
