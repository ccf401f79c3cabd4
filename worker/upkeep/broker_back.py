"""Finds out that the broker takes messages again, although nothing is due that would be sent to it."""

import secrets
from typing import Final

import anyio
from redis.exceptions import RedisError

from shared.broker import plain_redis
from shared.lifecycle import Stage
from shared.settings import Settings
from worker.runtime import Runtime
from worker.troubles import BROKER

EVERY_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 2.0


async def await_broker(runtime: Runtime) -> None:
    """Ask the broker every few seconds while this worker says that it is away, until cancelled."""
    while True:
        await look(runtime)
        await anyio.sleep(EVERY_SECONDS)


async def look(runtime: Runtime) -> None:
    """End the trouble if the broker takes messages; while it does not, the trouble lasts, with its first words."""
    said = runtime.troubles.present().get(BROKER)
    if said is None:
        return
    if await runtime.in_thread(takes_messages, runtime.settings):
        runtime.troubles.over(BROKER)
    else:
        runtime.troubles.note(BROKER, said)


def takes_messages(settings: Settings) -> bool:
    """Tell whether the broker takes a message. A PING would say nothing of a full one, or of a replica."""
    # A key that begins like a queue's is within the rights that a worker needs anyway.
    key = f"{Stage.SUBMIT.value}.ask-{secrets.token_hex(8)}"
    try:
        with (
            plain_redis(settings.broker_url, settings.broker_ca_file, _ANSWER_SECONDS) as client,
            client.pipeline(transaction=True) as both,
        ):
            both.lpush(key, "")
            both.delete(key)
            both.execute()
    except (RedisError, OSError, ValueError):
        return False
    return True
