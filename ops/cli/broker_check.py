"""Whether Redis does for this user what a worker asks of it, and what to do where it does not."""

import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - redis's own
)

from shared.broker import plain_redis
from shared.lifecycle import Stage
from shared.settings import Settings

_ANSWER_SECONDS: Final = 2.0
_REMEDIES: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (NoPermissionError, "this user may not {act}", "give it the rights that docs/servers.md lists"),
    (AuthenticationError, "refuses the user or the password", "correct GENQUEUE_BROKER_URL"),
    (ReadOnlyError, "is a replica, and takes no messages", "name the primary in GENQUEUE_BROKER_URL"),
    (OutOfMemoryError, "is full, and takes no messages", "raise its maxmemory, or look who fills it"),
    (TimeoutError, "takes connections and answers nothing", "it is frozen or overloaded: look at its log"),
)


class BrokerState(NamedTuple):
    """What was seen of the broker, and what to do; an empty `do` means that all is well."""

    seen: str
    do: str


class _ActError(Exception):
    """One act failed; the cause says how."""


def look(settings: Settings) -> BrokerState:
    """Return how the broker stands, within five seconds, by doing what a worker does, on keys of our own."""
    try:
        with plain_redis(settings.broker_url, settings.broker_ca_file, _ANSWER_SECONDS) as client:
            _work(client)
            waiting = sum(int(client.llen(stage.value)) for stage in Stage)
            return _by_policy(client, waiting)
    except _ActError as error:
        return _explained(error.__cause__, str(error))
    except (RedisError, ValueError, OSError) as error:
        return _explained(error, "connect")


def _work(client: "Redis") -> None:
    """Do what a worker does; a key that begins like a queue's is within the rights that a worker needs anyway."""
    name = secrets.token_hex(8)
    key, database = f"{Stage.SUBMIT.value}.doctor-{name}", client.get_connection_kwargs().get("db", 0)
    _do("PING", client.ping)
    _do("LPUSH", lambda: client.lpush(key, name))
    taken = _do("BRPOP", lambda: client.brpop([key], timeout=1))
    if taken is None or taken[1] != name.encode():
        raise _ActError("BRPOP what it has pushed") from ResponseError("another value came")
    bound = f"_kombu.binding.doctor-{name}"
    _do("SADD", lambda: client.sadd(bound, name))
    _do("DEL", lambda: client.delete(bound))
    _do("EVAL", lambda: client.eval("return redis.call('TIME')", 0))  # as kombu looks after its bindings
    _do("PUBLISH", lambda: client.publish(f"/{database}.celeryev/doctor-{name}", ""))
    _do("PSUBSCRIBE", lambda: _hear(client, f"/{database}.celery.pidbox"))


def _hear(client: "Redis", channel: str) -> None:
    """Subscribe to where workers are asked; a user needs this very name among its channels."""
    with client.pubsub() as heard:  # type: ignore[no-untyped-call] # redis-py leaves it out
        heard.psubscribe(channel)
        heard.get_message(timeout=1)


def _do(act: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (RedisError, OSError) as error:
        raise _ActError(act) from error


def _by_policy(client: "Redis", waiting: int) -> BrokerState:
    """Say what may be evicted, where this user may ask."""
    try:
        server: dict[str, Any] = client.info()
    except (NoPermissionError, TimeoutError):
        return BrokerState(f"takes messages, {waiting} wait; its settings are not for this user to see", "")
    policy = server.get("maxmemory_policy", "unknown")
    do = "" if policy == "noeviction" else "set maxmemory-policy noeviction: eviction deletes queues"
    return BrokerState(f"Redis {server.get('redis_version')}, {waiting} messages waiting, {policy}", do)


def _explained(error: BaseException | None, act: str) -> BrokerState:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        do = "set GENQUEUE_BROKER_CA_FILE to the certificates of its authority, and name the host as it does"
        return BrokerState("its certificate cannot be verified", do)
    for kind, seen, do in _REMEDIES:
        if isinstance(error, kind):
            return BrokerState(seen.format(act=act), do)
    return BrokerState(f"{type(error).__name__} ({act})", "start Redis, or correct GENQUEUE_BROKER_URL")
