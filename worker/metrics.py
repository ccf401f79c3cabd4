"""What one worker counts for Prometheus. What the database knows is exported once, by `genqueue metrics`.

No label holds a job, a batch, a prompt or a URL.
"""

import shutil
import time
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_log = structlog.get_logger(__name__)
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class WorkerMetrics:
    """The counters of one worker process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.paid_calls = Counter(
            "genqueue_paid_calls", "Answers to paid calls.", ["account", "outcome"], registry=registry
        )
        self.stage_seconds = Histogram(
            "genqueue_stage_seconds",
            "How long a worker took for one message.",
            ["stage", "account"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.images_stored = Counter("genqueue_images_stored", "Images in the bucket.", ["account"], registry=registry)
        self.images_lost = Counter(
            "genqueue_images_lost", "Bought images that could not be stored.", ["account", "code"], registry=registry
        )
        self.publish_failures = Counter(
            "genqueue_publish_failures", "Messages that the broker did not take.", registry=registry
        )
        self.messages_rejected = Counter(
            "genqueue_messages_rejected", "Jobs in messages that no dispatcher sends.", ["stage"], registry=registry
        )
        self.tick_age = Gauge(
            "genqueue_dispatch_tick_age_seconds", "Seconds since the dispatcher's last tick.", registry=registry
        )
        self.spool_free = Gauge("genqueue_spool_free_bytes", "Room on the disk of the spool.", registry=registry)
        self._ticked_at = time.monotonic()
        self.tick_age.set_function(lambda: time.monotonic() - self._ticked_at)

    def watch_spool(self, directory: Path) -> None:
        """Report the room on the disk of `directory`."""
        self.spool_free.set_function(lambda: float(shutil.disk_usage(directory).free))

    def ticked(self) -> None:
        """Record a tick of the dispatcher."""
        self._ticked_at = time.monotonic()

    def serve(self, address: str) -> None:
        """Serve the metrics on `HOST:PORT`, if an address is given. A port that is taken stops no worker."""
        if not address:
            return
        host, _, port = address.rpartition(":")
        try:
            start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            _log.warning("metrics_not_served", address=address, error=error.strerror)
