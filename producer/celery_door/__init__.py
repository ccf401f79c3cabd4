"""The Celery door: takes rows from a queue on a caller's own broker, and sends the end of each job there as a task."""

from producer.celery_door.door import CeleryDoor, open_connection
from producer.celery_door.messages import MessageError, MessageOrder, read_order

__all__ = ["CeleryDoor", "MessageError", "MessageOrder", "open_connection", "read_order"]
