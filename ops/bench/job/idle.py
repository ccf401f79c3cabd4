"""Measures a worker that has nothing to do: `python -m ops.bench.job.idle [SECONDS]`, over five accounts."""

import subprocess
import sys
import time
from typing import Final

import psycopg

from ops.bench.job import measure
from ops.bench.job.sites import Site, open_site
from ops.running import simulated_accounts

_REST_SECONDS: Final = 20.0
"""A worker that has just started asks more; it registers accounts and learns of others."""


def main(seconds: float) -> None:
    """Print how many statements a second an idle worker asks, and what they cost."""
    with open_site() as site, _worker(site) as worker:
        _until_it_ticks(site)
        time.sleep(_REST_SECONDS)
        site.reset()
        began = time.monotonic()
        cpu = measure.cpu_seconds(worker.pid), measure.cpu_seconds(_postgres(site))
        time.sleep(seconds)
        passed = time.monotonic() - began
        used = measure.cpu_seconds(worker.pid) - cpu[0], measure.cpu_seconds(_postgres(site)) - cpu[1]
        print(f"statements a second: {measure.statements(site.admin_url) / passed:.1f}")
        print(f"worker: {used[0] / passed:.1%} of a core, PostgreSQL: {used[1] / passed:.1%}")
        print(f"memory: {measure.rss_mb(worker.pid):.0f} MB")
        for calls, query in measure.most_frequent(site.admin_url, 12):
            print(f"{calls / passed:6.2f} {query[:90]}")
        worker.terminate()


def _worker(site: Site) -> "subprocess.Popen[bytes]":
    environment = {**site.environment(), **simulated_accounts(site.url, 1)}
    command = [sys.executable, "-m", "ops.cli", "worker", "--name", "idle"]
    log = (site.directory / "idle.log").open("ab")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 - our own


def _until_it_ticks(site: Site) -> None:
    end = time.monotonic() + 60
    with psycopg.connect(site.admin_url, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM genqueue.worker").fetchone():
            if time.monotonic() > end:
                raise TimeoutError("the worker did not start")
            time.sleep(0.2)


def _postgres(site: Site) -> int:
    with psycopg.connect(site.admin_url) as connection:
        return measure.parent_of(connection.info.backend_pid)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
