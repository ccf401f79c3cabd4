"""Celery 5.7.0's consumer, changed to survive a Redis restart, malformed messages and a silent Redis."""

import itertools
import logging
import time
import warnings
from functools import partial
from queue import Empty
from typing import Any, Final

import structlog
from celery.events.dispatcher import EventDispatcher
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import (
    ReadOnlyError,
    ResponseError,
)

from shared import sentinel

_log = structlog.get_logger(__name__)
_AWAY_SECONDS: Final = 10.0
_REFUSED_SECONDS: Final = 1.0
_EVENTS_SECONDS: Final = 0.5
INSPECTION: Final = frozenset(
    {
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked",
        "scheduled", "stats",
    }
)  # fmt: skip
"""What a worker answers; Flower asks no more. `hello` takes in revocations, and the memory dumps cost memory."""
_QUOTING: Final = ("celery.worker.pidbox", "kombu.pidbox", "kombu.transport.redis")  # their lines quote messages
_dropped = itertools.count(1)
_refused = itertools.count(1)


class CompressedError(ValueError):
    """A message says that it is compressed; none of ours is."""


class PlainMessage(virtual.Message):
    """Refuses a compressed body before it is decompressed: two megabytes can become twelve gigabytes."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if (payload.get("headers") or {}).get("compression"):
            raise CompressedError
        super().__init__(payload, channel=channel, **options)


class SafeQoS(redis.QoS):
    """Forgets what lies among the un-acked messages and cannot be read."""

    channel: Any
    _remove_from_indices: Any  # celery-types leaves it out

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        """Give a message back to its queue, as kombu does, or drop it."""
        try:
            return super().restore_by_tag(tag, client=client, leftmost=leftmost)
        except Exception as error:
            if isinstance(error, self.channel.connection_errors):
                raise
            _require_primary(error)
            _tell_garbled(error)
            self._remove_from_indices(tag).execute()


class SafeChannel(redis.Channel):
    """Drops a message that cannot be read, whichever way it came.

    kombu 5.7.0 parses messages from Redis outside any handler. Bytes that are not JSON, or an incomplete envelope, end
    the whole worker. Anyone who can write to the broker could do that.
    """

    # celery-types leaves these out.
    connection_errors: tuple[type[Exception], ...]
    Message = PlainMessage
    QoS = SafeQoS
    active_queues: set[str]
    conn_or_acquire: Any
    unacked_key: str
    unacked_index_key: str
    unacked_mutex_key: str
    pool: Any
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        """Keep one client for as long as its pool: kombu makes one for each command, with a table of 600 callbacks."""
        if asynchronous:  # kombu keeps these itself
            return super()._create_client(asynchronous)  # type: ignore[misc] # celery-types leaves it out
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc] # celery-types leaves it out
        except ResponseError as error:
            if isinstance(error, self.connection_errors):
                raise
            self._mend(error)
            raise Empty from None
        except Exception as error:
            # No parse error may end the worker.
            if isinstance(error, (Empty, *self.connection_errors)):
                raise
            _tell_garbled(error)
            raise Empty from None

    def _receive_one(self, client: Any) -> Any:
        """Take one broadcast; what cannot be read counts as nothing, and the next is read."""
        try:
            return super()._receive_one(client)  # type: ignore[misc] # celery-types leaves it out
        except ResponseError as error:
            if isinstance(error, self.connection_errors):
                raise
            self._mend(error)
            return False
        except Exception as error:
            if isinstance(error, (Empty, *self.connection_errors)):
                raise
            _tell_garbled(error)
            return False

    def _mend(self, error: ResponseError) -> None:
        """Remove keys of ours that hold another type of value: no queue can be read while one exists."""
        _require_primary(error)
        if not str(error).startswith("WRONGTYPE"):
            # Such as a right that was taken away: asked again, but not as fast as Redis answers.
            _log.warning("broker_refuses", error=str(error).partition(" ")[0])
            time.sleep(_REFUSED_SECONDS)
            return
        kinds = {self._q_for_pri(queue, step): b"list" for queue in self.active_queues for step in self.priority_steps}  # type: ignore[attr-defined]
        kinds |= {self.unacked_key: b"hash", self.unacked_index_key: b"zset", self.unacked_mutex_key: b"string"}
        with self.conn_or_acquire() as client:
            for key, kind in kinds.items():
                if client.type(key) not in (kind, b"none"):
                    _tell_garbled(f"a key of another type: {key}")
                    client.delete(key)

    def basic_consume(self, queue: Any, no_ack: Any, callback: Any, consumer_tag: Any, **options: Any) -> Any:
        """Consume as kombu does. A message that its consumer cannot read is acknowledged, and so dropped."""

        def take(message: Any) -> Any:
            try:
                return callback(message)
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001 - the same of what an envelope holds
                _require_primary(error)
                _tell_garbled(error)
                message.ack()

        return super().basic_consume(queue, no_ack, take, consumer_tag, **options)


class SafeSentinelChannel(SafeChannel, sentinel.Channel):
    """The same where Sentinels name the primary."""


class SafeTransport(redis.Transport):
    """kombu's transport with these channels, for what is read and for what is sent."""

    Channel = SafeChannel


class SafeSentinelTransport(sentinel.Transport):
    """The same where Sentinels name the primary."""

    Channel = SafeSentinelChannel


def use_safe_channels() -> None:
    """Have every connection of this process to a broker use them; call it before the first is made."""
    here = f"{__name__}:"
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{here}{SafeTransport.__name__}"))
    TRANSPORT_ALIASES[sentinel.NAME] = f"{here}{SafeSentinelTransport.__name__}"


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
        """Send events half a second later, with those that came meanwhile: each message cost more than a poll's rows.

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
        _tell_garbled(reason)
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
        time.sleep(_REFUSED_SECONDS)
        return True
    return False


def _require_primary(error: Exception) -> None:
    """Raise the error if it says that Redis has become a replica: the worker connects again, perhaps to another."""
    if isinstance(error, ReadOnlyError):
        raise error


def _tell_garbled(error: Exception | str) -> None:
    """Count and log a dropped message, without its content."""
    name = error if isinstance(error, str) else type(error).__name__
    _log.warning("message_garbled", error=name, dropped=next(_dropped))


def _already_collected() -> None:
    """Do nothing: `collect()` has dropped the sockets."""
