"""Whoever else can write to the broker ends no worker, costs it no memory, and does not stop it in silence."""

import base64
import json
import re
import socket
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.broker import create_app
from shared.lifecycle import Stage
from tests.e2e.site import Site
from tests.support.command import Ran, genqueue

SECRET = "a-neighbours-words"
GIB = 2**30


def envelope(body: str, headers: Any) -> bytes:
    """Return a message as kombu lays it into Redis."""
    properties = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": ""}, "delivery_tag": "t"}
    whole = {"body": body, "content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({**whole, "headers": headers, "properties": properties}).encode()


def bomb() -> bytes:
    """Return a message of a megabyte whose body would be one gigabyte."""
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(bytes(2**20)) for _ in range(1024)), packer.flush()])
    return envelope(base64.b64encode(packed).decode(), {"compression": "zlib", "task": "worker.submit", "id": "x"})


GARBLED = [
    b"not JSON", b"\xff\xfe", b"7", b"null", b"[]", b"{}", b"[" * 100_000, envelope("e30=", None), envelope("AA", {}),
    json.dumps({"method": SECRET, "arguments": [SECRET]}).encode(),
    envelope(base64.b64encode(json.dumps({"method": SECRET}).encode()).decode(), {"clock": SECRET}),
]  # fmt: skip


def health(site: Site, **changes: str) -> Ran:
    return genqueue("health", env={**site.stack.endpoints.environment(), **site.environment(), **changes})


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def await_answers(site: Site) -> None:
    site.until(lambda: health(site).code == 0, 60)


@pytest.fixture
def working(empty_site: Site) -> Site:
    empty_site.sql("DELETE FROM worker")  # those of other tests, which are dead and not yet missed
    empty_site.start_worker("worker-1", GENQUEUE_LOG_FORMAT="json")
    empty_site.await_ticking(1)
    await_answers(empty_site)
    return empty_site


def test_nothing_in_redis_ends_a_worker_or_costs_it_memory(working: Site) -> None:
    pid = working.pids()["worker-1"]
    with working.redis() as client:
        packed = bomb()
        assert [client.publish("/0.celery.pidbox", raw) for raw in (*GARBLED, packed)] == [1] * (len(GARBLED) + 1)
        for stage in Stage:
            client.lpush(stage.value, packed, b"not JSON")
        client.hset("unacked", mapping={"a": b"not JSON", "b": b"[7]", "c": f'["{SECRET}", 1, 2]'})
        client.zadd("unacked_index", {"a": 1, "b": 1, "c": 1})
        working.until(lambda: not any(client.llen(stage.value) for stage in Stage), 60)
        working.until(lambda: not client.hlen("unacked"), 60)
        for key in ("submit", "transfer", "unacked", "unacked_index"):
            client.delete(key)
            client.set(key, SECRET)
    working.enqueue("beside", bloom=1)
    assert working.await_settled("beside") == {"succeeded": 1}
    assert working.pids()["worker-1"] == pid
    assert peak_bytes(pid) < GIB // 2
    assert SECRET not in working.log("worker-1")
    dropped = [json.loads(line) for line in working.log("worker-1").splitlines() if "message_garbled" in line]
    assert dropped[-1]["dropped"] >= len(GARBLED)
    await_answers(working)


def test_a_broadcast_changes_nothing_and_inspection_goes_on(working: Site) -> None:
    app = create_app(SecretStr(working.stack.endpoints.broker_url))
    control = app.control
    pid = working.pids()["worker-1"]
    for stage in Stage:
        cancel = {"queue": stage.value}
        (reply,) = control.broadcast("cancel_consumer", arguments=cancel, reply=True, timeout=5, limit=1) or [{}]
        assert list(reply.values()) == [{"error": "a genqueue worker answers inspection only"}]
    changing: dict[str, dict[str, Any]] = {
        "pool_shrink": {"n": 16}, "rate_limit": {"task_name": "worker.submit", "rate_limit": "1/h"}, "hello": {},
        "autoscale": {"max": 0, "min": 0}, "time_limit": {"task_name": "worker.submit", "hard": 1}, "memdump": {},
        "revoke": {"task_id": SECRET}, "disable_events": {}, "shutdown": {}, SECRET: {},
    }  # fmt: skip
    for command, arguments in changing.items():
        control.broadcast(command, arguments=arguments)
    assert len(control.inspect(timeout=5).ping() or ()) == 1
    for asked in ("active", "reserved", "scheduled", "stats", "conf", "registered", "active_queues", "revoked"):
        (told,) = getattr(control.inspect(timeout=5, limit=1), asked)().values()
        assert "error" not in told
    app.close()
    working.enqueue("after", bloom=1)
    assert working.await_settled("after") == {"succeeded": 1}
    assert working.pids()["worker-1"] == pid
    assert SECRET not in working.log("worker-1")
    assert "all queues are consumed" in health(working).err


def test_health_misses_a_worker_that_ticks_and_does_not_answer_over_the_broker(working: Site) -> None:
    working.sql(
        "INSERT INTO worker (name, lock_key, slots, last_tick_at) VALUES (%s, 1, 1, now() + interval '1 minute')",
        f"{socket.gethostname()}-deaf",
    )
    ran = health(working)
    working.sql("DELETE FROM worker WHERE name LIKE '%%-deaf'")
    assert (ran.code, len(ran.error_lines)) == (1, 1)
    assert "1 of 2 workers answer over the broker" in ran.err


def test_health_does_not_blame_a_worker_for_a_broker_that_is_away(working: Site) -> None:
    ran = health(working, GENQUEUE_BROKER_URL="redis://127.0.0.1:1/0")
    assert ran.code == 0
    assert "Redis cannot be reached" in ran.err
