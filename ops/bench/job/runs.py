"""Runs one rival once: starts its worker, warms it up, gives it jobs, waits for their results, and counts."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

import psutil
import psycopg

from ops.bench.job import measure, rival
from ops.bench.job.measure import Cost
from ops.bench.job.sites import Site
from producer import Client
from shared.settings import load

_SECONDS: Final = 300.0
Stored = dict[str, float]
"""When each upstream image was stored, by its id."""


class Rival(Protocol):
    """One way to do the same work."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    @property
    def command(self) -> list[str]:
        """What starts its worker."""
        ...

    def give(self, site: Site, numbers: range) -> None:
        """Enqueue jobs."""
        ...

    def stored(self, site: Site) -> Stored:
        """Return what is done."""
        ...


class Genqueue:
    """This queue, through its own client."""

    name: Final = "genqueue"
    command: Final = [sys.executable, "-m", "ops.cli", "worker", "--name", "bench"]

    def __init__(self, site: Site) -> None:
        self._client = Client(settings=load(database_url=site.stack.endpoints.database_url))

    def give(self, _site: Site, numbers: range) -> None:
        """Enqueue the jobs, in one call, as a producer does."""
        rows = [{"provider": "bloom", "prompt": "a harbour", "custom_id": f"{time.time()}-{n}"} for n in numbers]
        self._client.enqueue(rows, batch="bench")

    def stored(self, site: Site) -> Stored:
        """Return what is done."""
        return _read(
            site, "SELECT upstream_id, extract(epoch FROM stored_at) FROM genqueue.image WHERE state = 'stored'"
        )


class Celery:
    """A Celery application of this folder."""

    def __init__(self, module: str, threads: int) -> None:
        self.name = module.replace("_", " ")
        self._module = f"ops.bench.job.{module}"
        pool = ["--pool", "threads", "--concurrency", str(threads), "--loglevel", "warning"]
        self.command = [sys.executable, "-m", "celery", "-A", self._module, "worker", *pool]
        self._app: Any = None
        self._connection: psycopg.Connection[Any] | None = None

    def give(self, site: Site, numbers: range) -> None:
        """Write the rows and send a message for each."""
        app, connection = self._sender(site), self._connected(site)
        for number in numbers:
            job = f"{self.name}-{time.time()}-{number}"
            connection.execute(rival.INSERT, (job,))
            app.send_task(f"{self._module}.start", (job,))

    def _connected(self, site: Site) -> "psycopg.Connection[Any]":
        """Return one connection for all, as a web service keeps it."""
        if self._connection is None:
            self._connection = psycopg.connect(site.admin_url, autocommit=True)
        return self._connection

    def _sender(self, site: Site) -> Any:
        if self._app is None:
            from celery import Celery as App  # noqa: PLC0415 - beside the class of the same name

            self._app = App(broker=site.broker_url)
        return self._app

    def stored(self, site: Site) -> Stored:
        """Return what is done."""
        return _read(site, "SELECT upstream_id, stored_at FROM public.bench_job WHERE state = 'stored'")


def _read(site: Site, statement: str) -> Stored:
    with psycopg.connect(site.admin_url, autocommit=True) as connection:
        return {name: float(at) for name, at in connection.execute(statement)}


def run(site: Site, one: Rival, mode: str, jobs: int, per_second: float) -> Cost:
    """Run one rival with its own worker and return what a job cost."""
    with _worker(site, one) as worker:
        one.give(site, range(1))
        _until(lambda: len(_own(site, one)) >= 1)
        site.reset()
        span = Span.begin(worker, _postgres(site))
        producing = _produce(site, one, jobs, per_second)
        _until(lambda: len(_own(site, one)) >= jobs)
        worker_seconds, postgres_seconds = span.seconds()
        cost = _cost(site, (one.name, mode), _own(site, one), span.began)
        return replace(
            cost,
            worker_ms=worker_seconds / jobs * 1000,
            producer_ms=producing / jobs * 1000,
            postgres_ms=postgres_seconds / jobs * 1000,
            statements=measure.statements(site.admin_url) / jobs,
            rss_mb=measure.rss_mb(worker),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """The time since a moment, in CPU seconds of two processes and their children."""

    pids: tuple[int, int]
    cpu: tuple[float, float]
    began: float

    @classmethod
    def begin(cls, *pids: int) -> Self:
        """Begin now."""
        first, second = pids
        return cls((first, second), (measure.cpu_seconds(first), measure.cpu_seconds(second)), time.time())

    def seconds(self) -> tuple[float, float]:
        """Return the CPU seconds since then."""
        first, second = (measure.cpu_seconds(pid) - cpu for pid, cpu in zip(self.pids, self.cpu, strict=True))
        return first, second


def _own(site: Site, one: Rival) -> Stored:
    """Return what this run has stored."""
    ready = site.provider()["ready"]
    return {name: at for name, at in one.stored(site).items() if name in ready}


def _produce(site: Site, one: Rival, jobs: int, per_second: float) -> float:
    """Give the jobs at once, or one by one at a pace; return the CPU seconds of this thread."""
    cpu, began = time.thread_time(), time.monotonic()
    if not per_second:
        one.give(site, range(jobs))
        return time.thread_time() - cpu
    for number in range(jobs):
        time.sleep(max(began + number / per_second - time.monotonic(), 0))
        one.give(site, range(number, number + 1))
    return time.thread_time() - cpu


def _cost(site: Site, what: tuple[str, str], stored: Stored, began: float) -> Cost:
    """Return what the results themselves show."""
    provider = site.provider()
    lags = [at - provider["ready"][name] for name, at in stored.items()]
    rival_name, mode = what
    return Cost(
        rival_name,
        mode,
        requests=provider["requests"] / len(stored),
        lag_p50=measure.quantile(lags, 0.5),
        lag_p99=measure.quantile(lags, 0.99),
        jobs_per_second=len(stored) / (max(stored.values()) - began),
    )


@contextmanager
def _worker(site: Site, one: Rival) -> Iterator[int]:
    log = (site.directory / f"{one.name}.log").open("a")
    with log, subprocess.Popen(one.command, env=site.environment(), stdout=log, stderr=log) as process:  # noqa: S603
        try:
            yield process.pid
        finally:
            process.terminate()


def _postgres(site: Site) -> int:
    with psycopg.connect(site.admin_url) as connection:
        return measure.parent_of(connection.info.backend_pid)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not reached within {_SECONDS:g} s")
        time.sleep(0.5)


def run_script(site: Site, mode: str, jobs: int, per_second: float) -> Cost:
    """Run the bare script; it is its own producer and keeps no rows."""
    site.reset()
    began, cpu = time.time(), _children_seconds()
    command = [sys.executable, "-m", "ops.bench.job.script", str(jobs), str(per_second)]
    ran = subprocess.run(command, env=site.environment(), capture_output=True, text=True, check=True)  # noqa: S603
    stored = {name: float(at) for name, at in (line.split() for line in ran.stdout.splitlines())}
    cost = _cost(site, ("bare script", mode), stored, began)
    return replace(cost, worker_ms=(_children_seconds() - cpu) / jobs * 1000)


def _children_seconds() -> float:
    times = psutil.Process().cpu_times()
    return times.children_user + times.children_system
