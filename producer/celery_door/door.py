"""Consumes orders and sends events, on a caller's own broker: Redis or RabbitMQ.

An order is acknowledged after its rows are committed. Until then the message is its only copy.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from celery import Celery
from kombu import Connection, Consumer, Exchange, Queue
from kombu.message import Message
from pydantic import SecretStr

from producer.celery_door.messages import TASK, MessageError, MessageOrder, Notify, kwargs_of, read_order
from producer.client import Client
from producer.client.enqueueing import InvalidRowsError
from producer.money import CapError
from producer.prompts import PromptFileError
from shared.broker_url import parse
from shared.db.engine import DatabaseUnavailableError, may_pass
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.webhooks.deliveries import ClaimedDelivery, Reply

_log = structlog.get_logger(__name__)
_DRAIN_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 3.0
_EVENT_SECONDS: Final = 0.5
_FAULTS_TOLD: Final = 50
_NAMED: Final = (MessageError, InvalidRowsError, EnqueueConflictError, CapError, PromptFileError)
# Unacknowledged messages have keys of their own: on a shared Redis, the shortest visibility timeout would otherwise
# send the caller's own long tasks again.
_REDIS: Final[dict[str, Any]] = {
    "visibility_timeout": 60,
    "unacked_key": "genqueue.unacked",
    "unacked_index_key": "genqueue.unacked_index",
    "unacked_mutex_key": "genqueue.unacked_mutex",
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
}
_AMQP: Final[dict[str, Any]] = {"confirm_publish": True, "connect_timeout": 5, "read_timeout": 30, "write_timeout": 30}


def _is_amqp(url: str) -> bool:
    return url.startswith(("amqp://", "amqps://", "pyamqp://"))


def open_connection(url: SecretStr) -> Connection:
    """Return a connection to a caller's broker; raises `ValueError`, whose words contain nothing of the URL."""
    plain = url.get_secret_value()
    if _is_amqp(plain):
        return Connection(plain, transport_options=_AMQP, heartbeat=30)
    return Connection(parse(plain).celery, transport_options=_REDIS)


class CeleryDoor:
    """One door: takes orders from `queue` of the broker at `url`, and sends events to the tasks that callers name.

    `name` distinguishes brokers: events go out through the door that took their order.
    """

    def __init__(self, client: Client, url: SecretStr, *, queue: str = TASK, name: str = "door") -> None:
        self._client = client
        self._url = url
        self._queue = Queue(queue, Exchange(queue), routing_key=queue)
        self._name = name
        self._stop = threading.Event()
        self._refused = 0
        plain = url.get_secret_value()
        self._app = Celery(
            "genqueue door", broker=plain if _is_amqp(plain) else parse(plain).celery, set_as_current=False
        )
        self._app.conf.update(
            task_serializer="json",
            task_ignore_result=True,
            broker_transport_options=_AMQP if _is_amqp(plain) else _REDIS,
        )

    def run(self) -> None:
        """Serve until `stop`. A broker or a database that is away is waited for."""
        sender = threading.Thread(target=self._again_and_again, args=(self.send_events,), name="events", daemon=True)
        sender.start()
        self._again_and_again(self._consume)
        sender.join(_AWAY_SECONDS + _EVENT_SECONDS)

    def stop(self) -> None:
        """Finish the order in hand and end."""
        self._stop.set()

    def _again_and_again(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever ended it, it begins again
                _log.warning("celery_door_waits", work=work.__name__, error=type(error).__name__)
                self._stop.wait(_AWAY_SECONDS)

    def _consume(self) -> None:
        with open_connection(self._url) as connection:
            consumer = Consumer(
                connection,
                queues=[self._queue],
                callbacks=[self._take],
                accept=["json"],
                on_decode_error=_drop,
                prefetch_count=1,
            )
            with consumer:
                _log.info("celery_door_open", queue=self._queue.name)
                while not self._stop.is_set():
                    try:
                        connection.drain_events(timeout=_DRAIN_SECONDS)
                    except TimeoutError:
                        if connection.supports_heartbeats:
                            connection.heartbeat_check()

    def _take(self, body: Any, message: Message) -> None:
        """Commit one order, then acknowledge it. What can never be taken is refused and told."""
        try:
            self._order(body, message)
        except DatabaseUnavailableError as error:
            _log.warning("celery_door_waits", work="order", error=type(error).__name__)
            self._stop.wait(_AWAY_SECONDS)
            message.requeue()
            return
        message.ack()

    def _order(self, body: Any, message: Message) -> None:
        """Commit an order or refuse it. A message that stayed would come back first, and stop all behind it."""
        given: Any = {}
        try:
            given = kwargs_of(body, task=message.headers.get("task", TASK), size=len(message.body or b""))
            self._enqueue(read_order(given))
        except _NAMED as error:
            self._refuse(given, _id_of(message), error)
        except Exception as error:
            if may_pass(error):
                raise
            _log.error("order_not_taken", message=_id_of(message), error=type(error).__name__)
            self._refuse(given, _id_of(message), MessageError("the order cannot be taken as it is written"))

    def _enqueue(self, order: MessageOrder) -> None:
        added = self._client.enqueue_told(
            order.rows,
            batch=order.batch,
            address=order.notify.address(self._name) if order.notify else None,
            provider=order.provider,
            on_unknown=order.on_unknown,
            max_cost=order.max_cost,
        )
        _log.info("order_taken", rows=added.given, added=added.added)

    def _refuse(self, given: Any, message_id: str, error: Exception) -> None:
        """Say in the log that a message was refused, and tell its caller's task why, if it names one."""
        found = error.faults[:_FAULTS_TOLD] if isinstance(error, InvalidRowsError) else []
        faults = [
            {"row": fault.line, "field": _shown(fault.field), "message": _shown(fault.message)} for fault in found
        ]
        self._refused += 1
        said = {"error": type(error).__name__, "faults": len(faults), "refused": self._refused}
        _log.warning("order_refused", message=message_id, **said)
        try:
            notify = Notify.read(given.get("notify"))
        except MessageError:
            return
        if notify is None:
            return
        batch = given.get("batch")
        name = _shown(batch) if isinstance(batch, str) else None
        data = {"message_id": message_id, "batch": name, "error": _shown(str(error))}
        self._client.tell_refused(notify.address(self._name), message_id, data | {"faults": faults})

    def send_events(self) -> None:
        """Send due events until `stop`; one that the broker does not take comes again."""
        while not self._stop.is_set():
            claimed = self._client.claim_events(json.dumps([self._name])[:-1] + ",")
            for one in claimed:
                self._client.event_sent(one, self._send(one))
            if not claimed:
                self._stop.wait(_EVENT_SECONDS)

    def _send(self, one: ClaimedDelivery) -> Reply:
        _, queue, task = json.loads(one.url)
        began, error = time.monotonic(), None
        try:
            # The id is the delivery's: a task that came before is known by it.
            event = {"id": str(one.id), **one.body()}
            self._app.send_task(task, kwargs={"event": event}, queue=queue, task_id=str(one.id), retry=False)
        except Exception as broken:  # noqa: BLE001 - the broker is away, whatever it says
            error = type(broken).__name__
        return Reply(round((time.monotonic() - began) * 1000), None, error)


def _drop(message: Message, error: Exception) -> None:
    """Drop a message that is not JSON: nothing is ever unpickled."""
    _log.warning("order_dropped", message=_id_of(message), error=type(error).__name__)
    message.reject()


def _id_of(message: Message) -> str:
    found = message.headers.get("id") or message.properties.get("correlation_id") or ""
    return _shown(str(found)[:100])


def _shown(text: str) -> str:
    """Return text that the database can store: a NUL or half of a surrogate pair would end the refusal itself."""
    return "".join(char if char.isprintable() else "?" for char in text)
