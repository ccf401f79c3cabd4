"""Celery as people write it: a task for each step, a retry for each look, threads, no promises."""

import threading
from typing import Any

import httpx
from celery import Celery

from ops.bench.job import rival

app = Celery("plain", broker=rival.BROKER)
app.conf.update(task_ignore_result=True, worker_send_task_events=False, broker_connection_retry_on_startup=True)
_LOCAL = threading.local()


def _own(name: str, make: Any) -> Any:
    """Return this thread's own client."""
    if not hasattr(_LOCAL, name):
        setattr(_LOCAL, name, make())
    return getattr(_LOCAL, name)


def _http() -> httpx.Client:
    client: httpx.Client = _own("http", lambda: httpx.Client(base_url=rival.URL, follow_redirects=True, timeout=30))
    return client


def _sql(statement: str, *values: Any) -> None:
    _own("sql", rival.database).execute(statement, values)


@app.task
def start(job: str) -> None:
    """Submit one job and look in a second."""
    upstream = _http().post("/images/generations", json=rival.BODY).json()["data"]["ids"][0]
    _sql(rival.PENDING, upstream, job)
    look.apply_async((job, upstream), countdown=1)


@app.task(bind=True, max_retries=None)
def look(self: Any, job: str, upstream: str) -> None:
    """Look once; retry in a second."""
    found = _http().get(f"/images/{upstream}").json()["data"]
    if found["status"] != "completed":
        raise self.retry(countdown=1)
    copy.delay(job, found["imageUrl"])


@app.task
def copy(job: str, link: str) -> None:
    """Copy the result and say so."""
    body = _http().get(link).content
    _own("s3", rival.bucket).put_object(Bucket="genqueue", Key=rival.key_of(job), Body=body, ContentType="image/png")
    _sql(rival.STORED, rival.key_of(job), job)
