"""`genqueue celery-door`: take orders from a queue on your own broker, and send the ends there as tasks."""

import signal
from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail
from shared import log
from shared.broker_url import place
from shared.settings import Settings


def celery_door(
    context: typer.Context,
    queue: Annotated[str, typer.Option(help="the queue that pipelines send to")] = "genqueue.enqueue",
    name: Annotated[
        str, typer.Option(help="its name, if there is more than one broker; the same after each restart")
    ] = "door",
) -> None:
    """Serve pipelines that speak Celery, on their broker: GENQUEUE_DOOR_BROKER_URL (redis:// or amqp://).

    A pipeline sends the task genqueue.enqueue with rows that carry a custom_id,
    and names the task that hears of the end. Run as many as you like.

    Example: GENQUEUE_DOOR_BROKER_URL=amqp://me@host/ genqueue celery-door
    """
    from producer.celery_door import CeleryDoor  # noqa: PLC0415 - Celery takes half a second to import

    with client(context) as opened:
        settings = opened.settings
        log.configure(settings.log_level, settings.log_format)
        if not settings.door_broker_url.get_secret_value():
            fail("GENQUEUE_DOOR_BROKER_URL is not set: give the URL of your pipeline's broker", ExitCode.WRONG_INPUT)
        if _is_our_own(settings):
            why = "is genqueue's own Redis, which may be emptied at any time: give that of your pipelines"
            fail(f"GENQUEUE_DOOR_BROKER_URL {why}", ExitCode.WRONG_INPUT)
        try:
            door = CeleryDoor(opened, settings.door_broker_url, queue=queue, name=name)
        except ValueError as error:
            fail(f"GENQUEUE_DOOR_BROKER_URL: {error}", ExitCode.WRONG_INPUT)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: door.stop())
        errors().print(f"takes orders from the queue {queue}; Ctrl-C stops")
        door.run()


def _is_our_own(settings: Settings) -> bool:
    """Tell whether the door's broker is the one that carries our own messages."""
    door, own = settings.door_broker_url.get_secret_value(), settings.broker_url.get_secret_value()
    try:
        return bool(own) and place(door) == place(own)
    except ValueError:
        return False
