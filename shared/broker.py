"""The Celery application: queues, settings and their reasons. Messages carry ids, never prompts, links or keys."""

from enum import StrEnum
from typing import Any, Final

from celery import Celery
from kombu import Exchange, Queue
from pydantic import SecretStr


class Stage(StrEnum):
    """The stages that messages nudge; each has a direct queue of its own."""

    SUBMIT = "submit"
    POLL = "poll"
    TRANSFER = "transfer"
    RECONCILE = "control"


_SETTINGS: Final[dict[str, Any]] = {
    # The row is the truth: a lost or doubled message costs a tick, so nothing needs acknowledging late or storing.
    "task_acks_late": False,
    "task_ignore_result": True,
    "result_backend": None,
    "task_reject_on_worker_lost": False,
    # Nothing un-acked in a worker's memory: 5.7.0 dies of it when Redis restarts, and a killed worker loses it.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    "worker_consumer": "worker.consumer:SafeConsumer",
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
    # kombu waits for ever by default; a frozen Redis must not freeze a dispatcher: two tries are six seconds.
    "broker_transport_options": {
        "visibility_timeout": 300,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 3,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 15,
    },
    "visibility_timeout": 300,
    "timezone": "UTC",
    "enable_utc": True,
}


def create_app(broker_url: SecretStr) -> Celery:
    """Return the Celery application on `broker_url`; nothing is connected yet."""
    app = Celery("genqueue", broker=broker_url.get_secret_value(), set_as_current=False)
    app.conf.update(_SETTINGS)
    app.conf.task_queues = [
        # A direct exchange with the queue's own name needs no binding that a wiped Redis could lose.
        Queue(stage.value, Exchange(stage.value, type="direct"), routing_key=stage.value)
        for stage in Stage
    ]
    return app
