"""Forged and garbled messages, sent through the real broker to a real worker: they pay nothing and end nobody."""

import contextlib
import json
from typing import Any

import httpx
from celery import Celery
from pydantic import SecretStr

from ops.stack.ports import free_port
from shared.broker import create_app
from shared.db.engine import open_engine
from shared.lifecycle import Stage
from tests.e2e.site import Site
from tests.support import rows

TASK = "worker.submit"


def send(app: Celery, *args: Any, task: str = TASK, queue: Stage = Stage.SUBMIT, **options: Any) -> None:
    app.send_task(task, args=args, kwargs=options, queue=queue.value, ignore_result=True)


def answers(address: str) -> bool:
    """Return whether the worker's metrics are there: a worker ticks a little before."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://{address}/metrics", timeout=10).is_success
    return False


def rejected(address: str) -> int:
    """Return how many jobs of such messages the worker has counted; its log tells the first few alone."""
    lines = httpx.get(f"http://{address}/metrics", timeout=10).text.splitlines()
    counts = [line.rpartition(" ")[2] for line in lines if line.startswith("genqueue_messages_rejected_total{")]
    return int(sum(map(float, counts)))


def envelope(body: str, headers: Any, kind: str = "application/json") -> bytes:
    """Return a message as kombu lays it into Redis, around whatever body and headers."""
    properties = {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": f"{body}{headers}"}
    whole = {"body": body, "content-type": kind, "content-encoding": "utf-8"}
    return json.dumps({**whole, "headers": headers, "properties": properties}).encode()


RAW = [
    *(b"", b"not JSON", b"\xff\xfe", b"[]", b"null", b"7", b"{}", b'{"body": 7}', b"[" * 100_000),
    b'{"body": "e30=", "headers": null, "properties": null}',
    envelope("e30=", None),
    envelope("e30=", {}),
    envelope("W10=", {"task": TASK}),
    envelope("W10=", {"task": TASK, "id": "x"}),
    envelope("W10=", {"task": TASK, "id": "x", "eta": "no time"}),
    envelope("W10=", {"task": TASK, "id": "x", "expires": "no time"}),
    envelope("W10=", {"task": ["a"], "id": {}}),
    envelope("AAAA", {"task": TASK, "id": "x"}, "application/x-python-serialize"),
    envelope("not base64!", {"task": TASK, "id": "x"}),
]


def test_forged_and_garbled_messages_pay_nothing_and_end_no_worker(empty_site: Site) -> None:
    site = empty_site
    batch = "forged"
    site.enqueue(batch, bloom=1)
    engine = open_engine(SecretStr(site.stack.endpoints.database_url), application="tests", pool_size=2)
    (claim,) = rows.claim(engine, lease=600, worker="somebody")
    engine.dispose()
    job = str(claim.job_id)
    app = create_app(SecretStr(site.stack.endpoints.broker_url))
    address = f"127.0.0.1:{free_port(set())}"
    worker = site.start_worker("worker-1", GENQUEUE_LOG_FORMAT="json", GENQUEUE_METRICS_ADDRESS=address)
    site.await_ticking(1)
    site.until(lambda: answers(address), 60)
    before = rejected(address)
    forged: list[tuple[Any, ...]] = [
        ("getimg", [[job, claim.epoch]]),
        ("bloom", [["no uuid", 1]]),
        ("bloom", [[job, str(claim.epoch)]]),
        ("bloom", {job: claim.epoch}),
        (None, [[job, claim.epoch]]),
        (),
        ("bloom", [[job, claim.epoch]] * 100_000),
    ]
    for args in forged:
        send(app, *args)
    for epoch in (claim.epoch - 1, claim.epoch + 1):
        send(app, "bloom", [[job, epoch]])
    send(app, "nobody", [[job, claim.epoch]])
    for task, stage in (("poll", Stage.POLL), ("transfer", Stage.TRANSFER), ("reconcile", Stage.RECONCILE)):
        send(app, "bloom", [[job, claim.epoch]], task=f"worker.{task}", queue=stage)
        send(app, "getimg", [[job, claim.epoch]], task=f"worker.{task}", queue=stage)
    with site.redis() as client:
        for raw in RAW:
            for stage in Stage:
                client.lpush(stage.value, raw)
    # As many as name another account, or are not what a dispatcher sends; of the raw ones Celery itself drops some.
    site.until(lambda: rejected(address) - before >= 11, 60)
    with site.redis() as client:
        site.until(lambda: not any(client.llen(stage.value) for stage in Stage))
    assert worker.poll() is None
    assert site.pids()["worker-1"] == worker.pid
    assert site.accepted() == 0
    assert site.sql("SELECT state, epoch, claimed_by FROM job WHERE id = %s", job) == [
        ("queued", claim.epoch, "somebody")
    ]
    log = site.log("worker-1")
    assert "no uuid" not in log
    assert "not JSON" not in log
    send(app, "bloom", [[job, claim.epoch]])
    assert site.await_settled(batch) == {"succeeded": 1}
    assert site.accepted() == 1
