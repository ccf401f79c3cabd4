"""Nothing secret leaves: prompts, keys and signed links are in no log, and in nothing that Redis ever hears."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.e2e.site import Site
from tests.e2e.spawning import KEY

MARKER = "xq-marker-81d2"
SIGNED = re.compile(rb"[?&]sig=[0-9a-f]")
BODY = re.compile(rb'"body": ?\\?"([A-Za-z0-9+/=]+)')
TROUBLE = [
    {"match": {"route": "download"}, "times": 2, "fault": "truncate"},
    {"match": {"route": "download"}, "times": 2, "fault": "html_body"},
    {"match": {"route": "submit"}, "times": 2, "fault": "html_body"},
    {"match": {"route": "submit"}, "times": 1, "fault": "reply_lost"},
    {"match": {"route": "submit"}, "times": 1, "fault": {"kind": "error_5xx", "status": 400, "code": "bad_request"}},
]


@contextmanager
def overhearing(client: "redis.Redis") -> Iterator[list[bytes]]:
    """Collect every command that Redis runs, messages and events included."""
    heard: list[bytes] = []
    ready, stop = threading.Event(), threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:
            ready.set()
            while not stop.is_set():
                heard.append(str(monitor.next_command()["command"]).encode())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert ready.wait(5)
    yield heard
    stop.set()
    client.ping()
    listener.join(5)


def readable(heard: list[bytes]) -> bytes:
    """Return what was heard, and what the messages in it carry in base64."""
    said = b"\n".join(heard)
    return said + b"".join(base64.b64decode(body) for body in BODY.findall(said))


def everything_in(client: "redis.Redis") -> bytes:
    return repr([key if client.type(key) == b"string" else values(client, key) for key in client.scan_iter()]).encode()


def values(client: "redis.Redis", key: bytes) -> Any:
    kind = client.type(key)
    if kind == b"list":
        return key, client.lrange(key, 0, -1)
    if kind == b"hash":
        return key, client.hgetall(key)
    if kind == b"zset":
        return key, client.zrange(key, 0, -1)
    return (key, client.smembers(key)) if kind == b"set" else (key, client.get(key))


def logs(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.glob("*.log*")}


def test_no_prompt_key_or_signed_link_is_in_a_log_or_in_redis(site: Site) -> None:
    site.simulator.put_faults(TROUBLE)
    with site.redis() as listening, site.redis() as client, overhearing(listening) as heard:
        site.enqueue(MARKER, getimg=12, bloom=12)
        site.await_paid(12)
        at_rest = everything_in(client)
        site.stack.restart("postgres")  # errors of every kind are logged
        site.await_settled(MARKER, 120)
        at_rest += everything_in(client)
    passed = readable(heard)
    assert b"worker.submit" in passed
    assert json.dumps("getimg").encode() in passed
    found = {"redis": passed + at_rest, **logs(site.stack.home.path)}
    assert {"worker-1.log", "worker-2.log", "postgres.log", "redis.log", "s3.log"} <= set(found)
    for name, text in found.items():
        assert MARKER.encode() not in text, f"a prompt is in {name}"
        assert KEY.encode() not in text, f"a key is in {name}"
        assert not SIGNED.search(text), f"a signed link is in {name}"
