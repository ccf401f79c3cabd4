"""A pipeline that speaks Celery: sends orders through the door, and receives the tasks that it named."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from celery import Celery
from kombu import Connection
from pydantic import SecretStr

from producer import Client
from producer.celery_door import CeleryDoor, open_connection

QUEUE = "genqueue.enqueue"
HEARS = {"task": "shop.image_ready", "queue": "shop"}


class Pipeline:
    """The caller's side of one broker."""

    def __init__(self, url: SecretStr) -> None:
        self.url = url
        with open_connection(url) as connection:
            address = connection.as_uri(include_password=True)
        self.app = Celery("shop", broker=address, set_as_current=False)

    def send(self, *rows: dict[str, Any], batch: str = "shop", **more: Any) -> str:
        kwargs = {"rows": list(rows), "batch": batch, "notify": HEARS, **more}
        return str(self.app.send_task("genqueue.enqueue", kwargs=kwargs, queue=QUEUE).id)

    def hear(self, *, seconds: float = 20) -> tuple[str, dict[str, Any]]:
        """Return the next task for the shop, and its id."""
        with open_connection(self.url) as connection, connection.SimpleQueue("shop") as queue:
            message = queue.get(timeout=seconds)
            message.ack()
        assert message.headers["task"] == HEARS["task"]
        return message.headers["id"], message.payload[1]["event"]

    def hears_nothing(self) -> bool:
        with open_connection(self.url) as connection:
            return self._is_empty(connection, "shop")

    def has_no_orders(self) -> bool:
        with open_connection(self.url) as connection:
            return self._is_empty(connection, QUEUE)

    @staticmethod
    def _is_empty(connection: Connection, name: str) -> bool:
        with connection.SimpleQueue(name) as queue:
            try:
                queue.get(block=False).requeue()
            except Empty:
                return True
        return False


@contextmanager
def open_door(client: Client, url: SecretStr) -> Iterator[CeleryDoor]:
    """Serve until the context ends."""
    door = CeleryDoor(client, url)
    thread = threading.Thread(target=door.run, daemon=True)
    thread.start()
    try:
        yield door
    finally:
        door.stop()
        thread.join(20)
        assert not thread.is_alive()
