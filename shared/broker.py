"""The Celery application: queues, settings and their reasons. Messages carry ids, never prompts, links or keys."""

import ssl
from pathlib import Path
from typing import Any, Final

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES
from pydantic import SecretStr
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from shared import sentinel
from shared.broker_url import Sentinels, parse
from shared.lifecycle import Stage

_SETTINGS: Final[dict[str, Any]] = {
    # The row is the truth: a lost or repeated message costs a tick, so no late acknowledgement or stored result is
    # needed.
    "task_acks_late": False,
    "task_ignore_result": True,
    "result_backend": None,
    "task_reject_on_worker_lost": False,
    # No un-acked message in a worker's memory: with one, 5.7.0 dies when Redis restarts, and a killed worker loses it.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    "worker_consumer": "worker.celery_consumer:SafeConsumer",
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_enable_remote_control": True,
    "worker_send_task_events": True,
    "task_send_sent_event": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_create_missing_queues": False,
    "task_default_queue": Stage.RECONCILE.value,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_acquire_timeout": 5,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.5},
    # kombu waits forever by default, but a frozen Redis must not freeze a dispatcher. Two tries take six seconds.
    "broker_transport_options": {
        "visibility_timeout": 300,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        # A worker that dies or loses its connection leaves kombu's lock behind. Until it expires, nothing is restored.
        "unacked_mutex_expire": 10,
        "socket_timeout": 3,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 15,
    },
    "visibility_timeout": 300,
    "timezone": "UTC",
    "enable_utc": True,
}


def create_app(broker_url: SecretStr, ca_file: Path | None = None) -> Celery:
    """Return the Celery application on `broker_url`; nothing is connected yet.

    `ca_file` holds the certificates by which the broker's own is verified; None: the system's. Raises `ValueError`
    where the URL is none.
    """
    url = parse(broker_url.get_secret_value())
    app = Celery("genqueue", broker=url.celery, set_as_current=False)
    app.conf.update(_SETTINGS)
    if url.sentinels:
        TRANSPORT_ALIASES[sentinel.NAME] = sentinel.PLACE
        named = {"master_name": url.sentinels.master_name, "sentinels": url.sentinels.urls}
        app.conf.broker_transport_options = {**_SETTINGS["broker_transport_options"], **named}
    if broker_url.get_secret_value().startswith("rediss:"):
        # Celery verifies nothing unless it is told to.
        app.conf.broker_use_ssl = {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            **_authority(ca_file),
        }
    app.conf.task_queues = [
        # A direct exchange with the queue's own name needs no binding, which a wiped Redis could lose.
        Queue(stage.value, Exchange(stage.value, type="direct"), routing_key=stage.value)
        for stage in Stage
    ]
    return app


def plain_redis(broker_url: SecretStr, ca_file: Path | None, seconds: float) -> Redis:
    """Return a client that asks once and waits `seconds` at most for each answer; nothing is connected yet.

    Raises `ValueError` where the URL is none.
    """
    url = parse(broker_url.get_secret_value())
    bounds: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.sentinels:
        return _primary(url.sentinels, bounds)
    secure = _authority(ca_file) if url.plain.startswith("rediss:") else {}
    return Redis.from_url(url.plain, **bounds, **secure)


def _primary(named: Sentinels, bounds: dict[str, Any]) -> Redis:
    """Return a client that asks the Sentinels for the primary when it connects."""
    asked = Sentinel(named.hosts, sentinel_kwargs=bounds, **bounds)  # type: ignore[no-untyped-call] # redis-py
    login = {"username": named.username, "password": named.password, "db": named.db}
    client: Redis = asked.master_for(named.master_name, Redis, **login)  # type: ignore[no-untyped-call] # redis-py
    return client


def _authority(ca_file: Path | None) -> dict[str, str]:
    return {"ssl_ca_certs": str(ca_file)} if ca_file else {}
