"""kombu's transport over Redis Sentinel, given all Sentinels apart from the URL.

kombu takes several Sentinels only as alternatives to the URL. Each must then repeat the password, and Celery tells the
alternatives to whoever asks a worker, such as Flower.
"""

from typing import Any, Final

from kombu.transport import redis

NAME: Final = "sentinel"
PLACE: Final = "shared.sentinel:Transport"
"""As kombu's list of transports names it."""


class Channel(redis.SentinelChannel):
    """Asks every Sentinel in turn for the primary."""

    from_transport_options = (*redis.SentinelChannel.from_transport_options, "sentinels")
    sentinels: tuple[str, ...] = ()

    connection: Any

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        client = self.connection.client
        before, client.alt = client.alt, list(self.sentinels)
        try:
            return super()._sentinel_managed_pool(asynchronous)  # type: ignore[misc] # celery-types leaves it out
        finally:
            client.alt = before


class Transport(redis.SentinelTransport):
    """Stands in kombu's list in the place of its own."""

    Channel = Channel
