"""Measures a worker and Redis while thousands of jobs wait upstream: `python -m ops.bench.pending [JOBS] [SECONDS]`."""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from ops.cli.join import migrate_quietly
from ops.running import simulated_accounts
from ops.simulator import Simulator, SimulatorConfig
from ops.simulator.config import BloomSettings
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from producer import Client
from shared.lifecycle import Stage
from shared.settings import load

_ROOT: Final = Path(__file__).parents[2]
_WORKER: Final = "worker-1"
_SUBMIT_SECONDS: Final = 900.0
_SETTINGS: Final = {
    "GENQUEUE_BLOOM_CONCURRENCY": "100",
    "GENQUEUE_BLOOM_LIMITS": "1000000/minute",
    "GENQUEUE_POLL_FIRST_SECONDS": "15",
    "GENQUEUE_POLL_MAX_SECONDS": "15",
    "PYTHONPATH": str(_ROOT),
}
# No job finishes during the measurement.
_SIMULATED: Final = SimulatorConfig(
    time_scale=1, pixels=64, bloom=BloomSettings(requests_per_minute=None, latency=(36_000.0, 36_000.0))
)


@dataclass(frozen=True, slots=True)
class Look:
    """One measurement of everything; counts since the start."""

    at: float
    rss_mb: float
    cpu_seconds: float
    redis_mb: float
    queued_messages: int
    messages: int
    polls: int


def look(stack: Stack, simulator: Simulator, pid: int) -> Look:
    """Measure the worker process, Redis and the simulator's counters."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    with redis.Redis.from_url(stack.endpoints.broker_url) as client:
        pushed = client.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
        memory = client.info("memory")["used_memory"] / 2**20
        queued = sum(client.llen(stage.value) for stage in Stage)
    polls = sum(
        int(row["count"])
        for row in simulator.counters()["requests"]
        if row["method"] == "GET" and row["route"] != "download"
    )
    cpu = (int(times[11]) + int(times[12])) / 100
    return Look(time.monotonic(), int(status["VmRSS"].split()[0]) / 1024, cpu, memory, queued, pushed, polls)


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition; raises `TimeoutError`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not reached within {seconds:g} s")
        time.sleep(0.2)


def main(jobs: int, seconds: float) -> None:
    """Print the figures of the worker and Redis: before, once all jobs wait upstream, and during the time after."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Simulator(_SIMULATED).serve() as simulator,
        Stack(Home(Path(directory) / "home")) as stack,
    ):
        settings = load(database_url=stack.endpoints.database_url)
        migrate_quietly(load(database_url=stack.endpoints.owner_url), {"worker": APP_ROLE})
        environment = {**simulated_accounts(simulator.url, 1), **_SETTINGS}
        pid = stack.spawn(_WORKER, [sys.executable, "-m", "ops.cli", "worker", "--name", _WORKER], environment).pid
        with Client(settings=settings) as client:
            until(lambda: client.live_workers() == 1, 60)
            before = look(stack, simulator, pid)
            client.enqueue(({"provider": "bloom", "prompt": f"view {n}"} for n in range(jobs)), batch="bench")
            until(lambda: client.totals("bench") == {"pending": jobs}, _SUBMIT_SECONDS)
            submitted = look(stack, simulator, pid)
            most_queued = 0
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                most_queued = max(most_queued, look(stack, simulator, pid).queued_messages)
                time.sleep(0.25)
            after = look(stack, simulator, pid)
            waiting = client.totals("bench")
    report(jobs, waiting, (before, submitted, after), most_queued)


def report(jobs: int, waiting: dict[str, int], looks: tuple[Look, Look, Look], most_queued: int) -> None:
    """Print the table."""
    before, submitted, after = looks
    took, span = submitted.at - before.at, after.at - submitted.at
    print(f"{jobs:,} jobs submitted in {took:.0f} s ({jobs / took:.0f}/s), then watched for {span:.0f} s: {waiting}")
    print(f"{'':20} {'before':>10} {'submitted':>10} {'after':>10}")
    print(f"{'worker RSS, MB':20} {before.rss_mb:10.1f} {submitted.rss_mb:10.1f} {after.rss_mb:10.1f}")
    print(f"{'Redis memory, MB':20} {before.redis_mb:10.2f} {submitted.redis_mb:10.2f} {after.redis_mb:10.2f}")
    print(
        f"{'messages waiting':20} {before.queued_messages:10} {submitted.queued_messages:10} {most_queued:10} at most"
    )
    print(
        f"while waiting: {(after.messages - submitted.messages) / span:.1f} messages/s, "
        f"{(after.polls - submitted.polls) / span * 60:.0f} polls/minute, "
        f"{(after.cpu_seconds - submitted.cpu_seconds) / span:.2f} cores of the worker"
    )


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("10000", "60")[len(sys.argv) - 1 :]]
    main(int(arguments[0]), float(arguments[1]))
