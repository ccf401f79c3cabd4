"""Celery tuned by hand: one message for a job, one loop that asks for fifty at once, connections kept."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import httpx
from celery import Celery
from celery.signals import worker_ready

from ops.bench.job import rival

app = Celery("tuned", broker=rival.BROKER)
app.conf.update(
    task_ignore_result=True,
    worker_send_task_events=False,
    worker_prefetch_multiplier=8,
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
)
_WAITING: dict[str, str] = {}
_READY: SimpleQueue[tuple[str, str]] = SimpleQueue()
_COPIERS = 8
_PAGE = 50
_LOCAL = threading.local()


def _client() -> httpx.Client:
    if not hasattr(_LOCAL, "http"):
        _LOCAL.http = httpx.Client(base_url=rival.URL, follow_redirects=True, timeout=30)
        _LOCAL.sql = rival.database()
    client: httpx.Client = _LOCAL.http
    return client


@app.task
def start(job: str) -> None:
    """Submit one job; the loop does the rest."""
    upstream = _client().post("/images/generations", json=rival.BODY).json()["data"]["ids"][0]
    _LOCAL.sql.execute(rival.PENDING, (upstream, job))
    _WAITING[upstream] = job


def _pages() -> Iterator[list[str]]:
    names = list(_WAITING)
    return (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))


def _look() -> None:
    while True:
        time.sleep(1)
        for page in _pages():
            answer = _client().get("/images", params={"ids": ",".join(page)}).json()
            for row in answer["data"]["images"]:
                if row["status"] == "completed":
                    _READY.put((_WAITING.pop(row["id"]), row["imageUrl"]))


def _copy() -> None:
    s3 = rival.bucket()
    while True:
        job, link = _READY.get()
        body = _client().get(link).content
        s3.put_object(Bucket="genqueue", Key=rival.key_of(job), Body=body, ContentType="image/png")
        _LOCAL.sql.execute(rival.STORED, (rival.key_of(job), job))


@worker_ready.connect
def begin(**_: Any) -> None:
    """Start the loop and the copiers beside the worker's own threads."""
    for work in (_look, *[_copy] * _COPIERS):
        threading.Thread(target=work, daemon=True).start()
