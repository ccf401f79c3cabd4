"""Flower shows the workers and what they are nudged to do, nothing secret, and lets nobody do anything."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ops.stack.process import ServerProcess
from ops.stack.supervised import Supervised
from tests.e2e.site import Site
from tests.e2e.spawning import COMMAND, IMPORTS, KEY
from tests.support.tcp_proxy import TcpProxy, redis_socket

MARKER = "zq-flower-marker-55e1"
SIGNED = re.compile(r"[?&](amp;)?sig=[0-9a-f]")
OPEN = "0.0.0.0"
STAGES = {"worker.submit", "worker.poll", "worker.transfer", "worker.reconcile"}
JOBS = {"getimg": 8, "bloom": 8}
CONTROLS = [
    "worker/shutdown/{worker}",
    "worker/pool/restart/{worker}",
    "worker/pool/grow/{worker}?n=1",
    "worker/pool/shrink/{worker}?n=1",
    "worker/pool/autoscale/{worker}?min=1&max=2",
    "worker/queue/add-consumer/{worker}?queue=other",
    "worker/queue/cancel-consumer/{worker}?queue=submit",
    "task/apply/worker.submit",
    "task/async-apply/worker.submit",
    "task/send-task/worker.submit",
    "task/abort/{task}",
    "task/timeout/worker.submit?workername={worker}&soft=1",
    "task/rate-limit/worker.submit?workername={worker}&ratelimit=1",
    "task/revoke/{task}?terminate=true",
]


class Watched:
    """A Flower of this site's broker, on a free port of loopback."""

    def __init__(self, site: Site, name: str, *arguments: str, **settings: str) -> None:
        self.site, self.name = site, name
        environment = {**IMPORTS, "GENQUEUE_LOG_FORMAT": "json", **settings}
        self.process: ServerProcess = site.stack.spawn(
            name, [*COMMAND, "flower", "--port", "0", *arguments], environment
        )
        self.url = site.until(lambda: re.search(r"^http://127\.0\.0\.1:\d+(?=/$)", site.log(name), re.MULTILINE))[0]
        self.client = httpx.Client(base_url=self.url, timeout=10)

    def text(self, path: str) -> str:
        reply = self.client.get(path)
        assert reply.status_code == 200, (path, reply.status_code)
        return reply.text

    def seen(self) -> dict[str, Any]:
        """Return the workers that have told Flower of themselves, by name."""
        workers = json.loads(self.text("/workers?json=1"))["data"]
        return {worker["hostname"]: worker for worker in workers if worker["status"]}

    def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text("/api/tasks"))
        return found

    def end(self) -> None:
        self.client.close()
        child: Supervised | None = self.site.stack._children.pop(self.name, None)
        if child:
            child.process.send(signal.SIGKILL)
            child.process.wait()


@pytest.fixture(scope="module")
def watch(ground: Site) -> Iterator[Callable[..., Watched]]:
    """Start a Flower by name, or return the one of that name."""
    started: dict[str, Watched] = {}

    def start(name: str, *arguments: str, **settings: str) -> Watched:
        if name not in started:
            started[name] = Watched(ground, name, *arguments, **settings)
        return started[name]

    yield start
    for watched in started.values():
        watched.end()


@pytest.fixture
def watched(site: Site, watch: Callable[..., Watched]) -> Watched:
    """A Flower that knows both workers."""
    found = watch("flower")
    site.until(lambda: len(found.seen()) >= 2)
    return found


def names(site: Site) -> set[str]:
    return {f"{name}@{os.uname().nodename}" for name in site.workers}


def jobs_nudged(watched: Watched) -> Counter[str]:
    """Return how many jobs the arguments of the tasks speak of, by stage and account."""
    found: Counter[str] = Counter()
    for task in watched.tasks().values():
        account, count = re.fullmatch(r"\((\w+), (\d+) jobs\)", task["args"]).groups()  # type: ignore[union-attr]
        found[f"{task['name']} {account}"] += int(count)
    return found


def every_page(watched: Watched, worker: str) -> dict[str, str]:
    task = next(iter(watched.tasks()))
    table = "draw=1&start=0&length=100&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name&search[value]="
    paths = [
        *("/", "/workers", "/workers?json=1", f"/worker/{worker}", "/tasks", f"/tasks/datatable?{table}"),
        *(f"/task/{task}", "/broker", "/metrics", "/healthcheck", "/api/workers", "/api/workers?refresh=1"),
        *(f"/api/workers?refresh=1&workername={worker}", "/api/tasks", f"/api/task/info/{task}"),
        *("/api/task/types", "/api/queues/length"),
    ]
    return {path: watched.text(path) for path in paths}


def test_the_workers_their_stages_and_how_many_jobs_each_was_nudged_for_are_shown(site: Site, watched: Watched) -> None:
    # A copy that fails once is done later, by a message.
    site.simulator.put_faults([{"match": {"provider": "bloom", "route": "download"}, "fault": "refuse_503"}])
    site.enqueue("flower-counts", **JOBS)
    site.await_settled("flower-counts")
    site.until(lambda: all(jobs_nudged(watched)[f"worker.submit {name}"] >= count for name, count in JOBS.items()))
    assert {task["name"] for task in watched.tasks().values()} >= {
        "worker.submit",
        "worker.poll",
        "worker.transfer",
    }
    inspected = json.loads(watched.text("/api/workers?refresh=1"))
    assert set(inspected) == set(watched.seen()) == names(site)
    for worker in inspected.values():
        assert {task.split(" ")[0] for task in worker["registered"]} >= STAGES
        assert {queue["name"] for queue in worker["active_queues"]} == {"submit", "poll", "transfer", "reconcile"}
    done = sum(sum(worker["stats"]["total"].values()) for worker in inspected.values())
    assert done >= sum(worker["task-succeeded"] for worker in watched.seen().values()) > 0
    assert f'flower_worker_online{{worker="{min(names(site))}"}} 1.0' in watched.text("/metrics")


def test_no_prompt_key_signed_link_or_password_is_on_any_page_even_while_jobs_run(site: Site, watched: Watched) -> None:
    site.simulator.put_faults([{"match": {"route": "download"}, "times": 3, "fault": "truncate"}])
    site.enqueue(MARKER, **JOBS)
    site.await_paid(4)
    pages = every_page(watched, min(names(site)))
    site.await_settled(MARKER)
    pages |= {f"{path} at the end": text for path, text in every_page(watched, max(names(site))).items()}
    pages["its log"] = site.log("flower")
    assert "redis+socket:///" in pages["/workers"] + pages["/broker"]
    assert "submit" in pages["/broker"]
    assert "broker_url" in pages["/api/workers?refresh=1"]
    for path, text in pages.items():
        for secret in (MARKER, KEY):
            assert secret not in text, f"{path} shows what it must not"
        assert not SIGNED.search(text), f"{path} shows a signed link"


def test_the_password_of_the_broker_is_on_no_page(site: Site, watch: Callable[..., Watched]) -> None:
    with site.redis() as client, TcpProxy(redis_socket(site.stack.endpoints.broker_url)).serve() as front:
        client.execute_command("ACL", "SETUSER", "shown", "on", f">{MARKER}", "~*", "&*", "+@all")
        broker = {"GENQUEUE_BROKER_URL": f"redis://shown:{MARKER}@127.0.0.1:{front.port}/0"}
        site.start_worker("worker-shown", **broker)
        watched = watch("shown", **broker)
        site.until(lambda: any(name.startswith("worker-shown@") for name in watched.seen()))
        site.enqueue("flower-shown", getimg=1)
        site.await_settled("flower-shown")
        worker = next(name for name in watched.seen() if name.startswith("worker-shown@"))
        pages = every_page(watched, worker)
        site.stop_workers()
        watched.end()
    assert "redis://shown:**@" in pages["/workers"] + pages["/broker"]
    assert not [path for path, text in pages.items() if MARKER in text]


def test_it_answers_under_its_own_names_alone(watched: Watched) -> None:
    port = httpx.URL(watched.url).port
    for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "10.1.2.3"):
        assert watched.client.get("/api/workers", headers={"Host": name}).status_code == 200, name
    for name in ("rebound.example", f"rebound.example:{port}", "127.0.0.1.rebound.example", ""):
        for path in ("/", "/api/workers", "/metrics", "/static/js/flower.js", "/nothing"):
            reply = watched.client.get(path, headers={"Host": name})
            assert (reply.status_code, "worker-1" in reply.text) == (421, False), (name, path)
    assert "--host NAME" in reply.text


def test_every_control_answers_403_and_does_nothing(site: Site, watched: Watched) -> None:
    worker, before = min(names(site)), site.pids()
    for control in CONTROLS:
        path = "/api/" + control.format(worker=worker, task="11111111-1111-4111-8111-111111111111")
        assert watched.client.post(path, json={"args": ["getimg", []]}).status_code == 403, path
    assert "shutdown" not in watched.text(f"/worker/{worker}").lower()
    site.await_ticking(2)
    assert site.pids() == before


def test_no_page_of_another_site_may_read_its_answers(watched: Watched) -> None:
    for method, path in (("GET", "/api/workers"), ("OPTIONS", "/api/workers"), ("GET", "/workers")):
        reply = watched.client.request(method, path, headers={"Origin": "https://elsewhere.example"})
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


def test_it_starts_beside_a_broker_that_does_not_answer_finds_it_later_and_ends_at_once(
    site: Site, watch: Callable[..., Watched]
) -> None:
    site.stack.kill("redis", signal.SIGSTOP)
    try:
        early = watch("early")
        assert early.text("/healthcheck") == "OK"
        site.until(lambda: "no events from the broker" in site.log("early"))
        site.stack.kill("redis", signal.SIGCONT)
        site.until(lambda: "Connected to redis" in site.log("early"))
        site.stack.kill("redis", signal.SIGSTOP)
        began = time.monotonic()
        early.process.send(signal.SIGTERM)
        assert early.process.wait(10) == 0
        assert time.monotonic() - began < 3
    finally:
        site.stack.kill("redis", signal.SIGCONT)
    site.stack._children.pop("early")


def test_ctrl_c_ends_it_with_exit_code_0(site: Site, watched: Watched) -> None:
    watched.process.send(signal.SIGINT)
    assert watched.process.wait(10) == 0
    site.stack._children.pop("flower")


@pytest.fixture
def guarded(site: Site, watch: Callable[..., Watched]) -> Watched:
    """A Flower with a password, whose controls work."""
    assert site.workers
    return watch("guarded", "--writable", FLOWER_BASIC_AUTH="somebody:planted-password")


def test_with_a_password_nobody_sees_or_does_anything_without_it(site: Site, guarded: Watched) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert guarded.client.get(path).status_code == 401, path
        assert guarded.client.get(path, auth=("somebody", "wrong")).status_code == 401, path
        assert guarded.client.get(path, auth=("somebody", "planted-password")).status_code == 200, path
    before = site.pids()
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}
    stop = f"/api/worker/shutdown/{min(names(site))}"
    assert guarded.client.post(stop).status_code == 401
    forged = guarded.client.post(stop, auth=("somebody", "planted-password"), headers=elsewhere)
    assert forged.status_code == 403
    site.await_ticking(2)
    assert site.pids() == before
    assert "planted-password" not in site.log("guarded")


def test_what_it_refuses_is_one_line_and_exit_code_1(site: Site, guarded: Watched) -> None:
    taken = str(httpx.URL(guarded.url).port)
    refused: dict[str, tuple[list[str], dict[str, str]]] = {
        "choose another with --port": (["--port", taken], {}),
        "stop workers": (["--writable"], {}),
        "FLOWER_BASIC_AUTH must be user:password": ([], {"FLOWER_BASIC_AUTH": "nobody:"}),
        "0.0.0.0 would be open": (["--address", OPEN], {"FLOWER_AUTH_PROVIDER": "flower.views.auth.LoginHandler"}),
    }
    running = {
        words: subprocess.Popen(
            [*COMMAND, "flower", *arguments],
            env={**os.environ, **IMPORTS, **site.stack.endpoints.environment(), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        for words, (arguments, environment) in refused.items()
    }
    for words, process in running.items():
        _, said = process.communicate(timeout=120)
        assert process.returncode == 1, words
        assert words in said
        assert len(said.splitlines()) == 1
