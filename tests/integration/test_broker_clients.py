"""A worker's connections to Redis keep one client each, and its events travel together."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import transport
from kombu.transport import TRANSPORT_ALIASES
from pydantic import SecretStr

from ops.stack import Endpoints
from shared.broker import create_app
from worker.celery_channels import SafeChannel, use_safe_channels
from worker.celery_consumer import SafeConsumer


@pytest.fixture
def app(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    for name in ("redis", "rediss", "sentinel"):
        monkeypatch.setitem(TRANSPORT_ALIASES, name, TRANSPORT_ALIASES[name])
    monkeypatch.setattr(transport, "_transport_cache", {})  # other tests have connected in this process
    made = create_app(SecretStr(endpoints.broker_url))
    use_safe_channels()
    yield made
    made.close()


@pytest.mark.parametrize("opened", ["connection_for_read", "connection_for_write"])
def test_what_reads_and_what_sends_keeps_one_client(app: Celery, opened: str) -> None:
    with getattr(app, opened)() as connection:
        channel = connection.default_channel
        assert isinstance(channel, SafeChannel)
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as again:
            assert first is again
            assert first.ping()


def test_a_pool_that_is_dropped_takes_its_client_along(app: Celery) -> None:
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        before = channel._create_client()
        channel._disconnect_pools()
        after = channel._create_client()
        assert after is not before
        assert after.connection_pool is channel.pool
        assert after.ping()


def test_the_client_of_the_loop_is_another(app: Celery) -> None:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.client.connection_pool is channel.async_pool
        assert channel._create_client().connection_pool is channel.pool


class _Hub:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.later.append((seconds, callback))


@pytest.fixture
def flushed() -> list[str]:
    return []


@pytest.fixture
def consumer(flushed: list[str]) -> SafeConsumer:
    made = SafeConsumer.__new__(SafeConsumer)
    made.hub = _Hub()
    made.event_dispatcher = SimpleNamespace(flush=lambda: flushed.append("events"))  # type: ignore[attr-defined]
    made.blueprint = SimpleNamespace(shutdown=lambda _consumer: flushed.append("end"))  # type: ignore[assignment]
    made.perform_pending_operations = lambda: None  # type: ignore[method-assign]
    return made


def test_events_of_a_second_are_sent_together(consumer: SafeConsumer, flushed: list[str]) -> None:
    for _ in range(3):
        consumer.on_send_event_buffered()
    ((seconds, send),) = consumer.hub.later
    assert (seconds, flushed) == (1.0, [])
    send()
    assert flushed == ["events"]
    consumer.on_send_event_buffered()
    assert len(consumer.hub.later) == 2


def test_the_last_events_are_sent_before_the_end(consumer: SafeConsumer, flushed: list[str]) -> None:
    consumer.on_send_event_buffered()
    consumer.shutdown()
    assert flushed == ["events", "end"]
