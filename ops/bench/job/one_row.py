"""Measures rows that are enqueued one by one: `python -m ops.bench.job.one_row [ROWS]`, by one thread and by 16."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg

from ops.bench.job import measure
from ops.bench.job.sites import Site, open_site
from producer import Client
from shared.settings import load

_THREADS: Final = 16
_WARM: Final = 30


def main(rows: int) -> None:
    """Print for each number of threads the CPU of client and database for a row, and how long calls took."""
    with open_site() as site, Client(settings=load(database_url=site.stack.endpoints.database_url)) as client:
        _give(client, "warm", _WARM)
        with psycopg.connect(site.admin_url) as connection:
            server = measure.parent_of(connection.info.backend_pid)
        for threads in (1, _THREADS):
            _measure(site, client, server, threads, rows // threads)


def _measure(site: Site, client: Client, server: int, threads: int, rows: int) -> None:
    site.reset()
    cpu = time.process_time(), measure.cpu_seconds(server)
    with ThreadPoolExecutor(threads) as pool:
        given = pool.map(lambda thread: _give(client, f"{threads}-{thread}", rows), range(threads))
        took = [seconds for each in given for seconds in each]
    used = time.process_time() - cpu[0], measure.cpu_seconds(server) - cpu[1]
    print(
        f"{threads:2} thread(s): client {used[0] / len(took) * 1000:.2f} ms, "
        f"PostgreSQL {used[1] / len(took) * 1000:.2f} ms, "
        f"{measure.statements(site.admin_url) / len(took):.2f} statements a row; "
        f"a call took {measure.quantile(took, 0.5) * 1000:.1f} ms, 99 % {measure.quantile(took, 0.99) * 1000:.1f} ms, "
        f"at most {max(took) * 1000:.1f} ms"
    )


def _give(client: Client, name: str, rows: int) -> list[float]:
    """Enqueue rows one by one; return how long each call took."""
    took = []
    for number in range(rows):
        began = time.perf_counter()
        row = {"provider": "bloom", "prompt": "a harbour", "custom_id": f"{name}-{number}"}
        client.enqueue([row], batch="bench")
        took.append(time.perf_counter() - began)
    return took


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_200)
