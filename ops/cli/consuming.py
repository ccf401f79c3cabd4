"""Whether the workers of a host consume their queues: each is asked over the broker, as Flower asks."""

from collections.abc import Mapping
from typing import Any, Final

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.broker import create_app, plain_redis
from shared.lifecycle import Stage
from shared.settings import Settings

_REPLY_SECONDS: Final = 3.0


class BrokerUnreachableError(Exception):
    """Redis does not answer, so that nobody can be asked."""


def ask(settings: Settings, host: str, workers: int) -> dict[str, set[str]]:
    """Return by node of `host` which queues it consumes, as soon as `workers` nodes have answered, in 3 s at most.

    Raises `BrokerUnreachableError`.
    """
    _require_broker(settings)
    app = create_app(settings.broker_url, settings.broker_ca_file)
    try:
        where: dict[str, Any] = {"pattern": f"*@{host}", "matcher": "glob"}
        replies = app.control.broadcast("active_queues", reply=True, timeout=_REPLY_SECONDS, limit=workers, **where)
        return {node: _names(queues) for reply in replies or () for node, queues in reply.items()}
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnreachableError(type(error).__name__) from None
    finally:
        app.close()


def _require_broker(settings: Settings) -> None:
    """Ask once, and wait two seconds at most: kombu tries for three times as long as a health check may take."""
    try:
        with plain_redis(settings.broker_url, settings.broker_ca_file, 2.0) as client:
            client.ping()
    except (RedisError, ValueError, OSError) as error:
        raise BrokerUnreachableError(type(error).__name__) from None


def _names(queues: Any) -> set[str]:
    """Return the names in an answer; anybody who can write to the broker may have sent it."""
    given = queues if isinstance(queues, list) else []
    return {str(queue["name"]) for queue in given if isinstance(queue, dict) and "name" in queue}


def fault(consumed: Mapping[str, set[str]], workers: int) -> str | None:
    """Return in words what is not consumed by one of `workers` workers, None if all is."""
    for node, queues in sorted(consumed.items()):
        if missing := [stage.value for stage in Stage if stage.value not in queues]:
            return f"{node} does not consume {', '.join(missing)}: restart it"
    if len(consumed) < workers:
        return f"{len(consumed)} of {workers} workers answer over the broker: look at the others' logs, or restart them"
    return None
