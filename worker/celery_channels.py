"""kombu 5.7.0's channels over Redis, changed: what cannot be read is dropped, and each keeps one client."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any, Final

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import (
    ReadOnlyError,
    ResponseError,
)

from shared import sentinel

_log = structlog.get_logger(__name__)
REFUSED_SECONDS: Final = 1.0
"""How long to wait for a Redis that answers, and refuses."""
_dropped = itertools.count(1)


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
            tell_garbled(error)
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
        """Take one message; one that cannot be read counts as none."""
        with self._dropping():
            return super()._brpop_read(**options)  # type: ignore[misc] # celery-types leaves it out
        raise Empty

    def _receive_one(self, client: Any) -> Any:
        """Take one broadcast; what cannot be read counts as nothing, and the next is read."""
        with self._dropping():
            return super()._receive_one(client)  # type: ignore[misc] # celery-types leaves it out
        return False

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Drop what cannot be read: no parse error may end the worker. A lost connection is kombu's to see."""
        try:
            yield
        except Exception as error:
            if isinstance(error, (Empty, *self.connection_errors)):
                raise
            if isinstance(error, ResponseError):
                self._mend(error)
            else:
                tell_garbled(error)

    def _mend(self, error: ResponseError) -> None:
        """Remove keys of ours that hold another type of value: no queue can be read while one exists."""
        _require_primary(error)
        if not str(error).startswith("WRONGTYPE"):
            # Such as a right that was taken away: asked again, but not as fast as Redis answers.
            _log.warning("broker_refuses", error=str(error).partition(" ")[0])
            time.sleep(REFUSED_SECONDS)
            return
        kinds = {self._q_for_pri(queue, step): b"list" for queue in self.active_queues for step in self.priority_steps}  # type: ignore[attr-defined]
        kinds |= {self.unacked_key: b"hash", self.unacked_index_key: b"zset", self.unacked_mutex_key: b"string"}
        with self.conn_or_acquire() as client:
            for key, kind in kinds.items():
                if client.type(key) not in (kind, b"none"):
                    tell_garbled(f"a key of another type: {key}")
                    client.delete(key)

    def basic_consume(self, queue: Any, no_ack: Any, callback: Any, consumer_tag: Any, **options: Any) -> Any:
        """Consume as kombu does. A message that its consumer cannot read is acknowledged, and so dropped."""

        def take(message: Any) -> Any:
            try:
                return callback(message)
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001 - a defect in an envelope must not end the worker either
                _require_primary(error)
                tell_garbled(error)
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


def _require_primary(error: Exception) -> None:
    """Raise the error if it says that Redis has become a replica: the worker connects again, perhaps to another."""
    if isinstance(error, ReadOnlyError):
        raise error


def tell_garbled(error: Exception | str) -> None:
    """Count and log a dropped message, without its content."""
    name = error if isinstance(error, str) else type(error).__name__
    _log.warning("message_garbled", error=name, dropped=next(_dropped))
