"""Measures what one POST of one job costs: `python -m ops.bench.api [POSTS]`.

First as fast as it goes, then 50 a second while a file of 100,000 rows is uploaded, into another batch and into the
same one. CPU is that of the API's process: that of PostgreSQL, and of the process that checks a file, is not counted.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import httpx

from ops.bench.enqueue import cost_of, write_rows
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from ops.stack.ports import free_port
from producer import Client
from shared.db.tokens import TokenTerms
from shared.settings import load
from shared.tokens import BACKEND

_ROOT: Final = Path(__file__).parents[2]
_CONNECTIONS: Final = 16
_ROWS: Final = 100_000
_YARDSTICK_TURNS: Final = 20_000
_PACE_SECONDS: Final = 1 / 50
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main(posts: int) -> None:
    """Print one line for each way to send."""
    with tempfile.TemporaryDirectory() as directory, _served(Path(directory)) as (http, pid):
        print(f"{posts:,} posts, {_CONNECTIONS} connections, {os.cpu_count()} cores; yardstick {_yardstick():.1f} us")
        print(f"{'':32} {'posts/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'cpu ms':>7} {'MB':>5}")
        _measured("warm", http, pid, lambda post: _flat_out(post, 200))
        _measured("as fast as it goes", http, pid, lambda post: _flat_out(post, posts))
        file = Path(directory) / "rows.jsonl"
        write_rows(file, _ROWS)
        for batch in ("another", "paced same"):
            name = "paced other" if batch == "another" else batch
            _measured(name, http, pid, lambda post, batch=batch: _beside_upload(post, http, file, batch))  # type: ignore[misc]
        print(f"yardstick {_yardstick():.1f} us")


def _yardstick() -> float:
    """Return the CPU of one small piece of work, in microseconds: busy neighbours raise it as they raise the rest."""
    began = time.process_time()
    for _ in range(_YARDSTICK_TURNS):
        json.loads(json.dumps({"numbers": [1, 2, 3], "text": "x" * 50}))
    return (time.process_time() - began) / _YARDSTICK_TURNS * 1e6


@contextmanager
def _served(directory: Path) -> Iterator[tuple[httpx.Client, int]]:
    with Stack(Home(directory / "home"), ("postgres", "s3")) as stack:
        environment = {**stack.endpoints.environment(), "PYTHONPATH": str(_ROOT)}
        owner = {**environment, "GENQUEUE_DATABASE_URL": stack.endpoints.owner_url}
        cost_of([sys.executable, "-m", "ops.cli", "migrate", "--grant", f"worker={APP_ROLE}"], owner)
        with Client(settings=load(database_url=stack.endpoints.database_url)) as client:
            terms = TokenTerms("bench", frozenset(BACKEND), {"bloom": Decimal(10**9)}, posts_per_second=10_000)
            token = client.create_token(terms)[1].get_secret_value()
        port = free_port(set())
        command = [sys.executable, "-m", "ops.cli", "api", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        header = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=header, timeout=300) as http:
            try:
                _await(http)
                yield http, process.pid
            finally:
                process.terminate()
                process.wait()


def _await(http: httpx.Client) -> None:
    while True:
        try:
            http.get("/readyz").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return


def _measured(name: str, http: httpx.Client, pid: int, send: Callable[[Callable[[int], float]], list[float]]) -> None:
    def post(number: int) -> float:
        row = {"provider": "bloom", "prompt": "a quiet harbour", "custom_id": f"{name} {number}", "batch": name}
        began = time.monotonic()
        http.post("/v1/jobs", json=row).raise_for_status()
        return time.monotonic() - began

    before, began = _cpu(pid), time.monotonic()
    took = send(post)
    seconds, cpu = time.monotonic() - began, _cpu(pid) - before
    p50, p99 = statistics.median(took) * 1000, statistics.quantiles(took, n=100)[98] * 1000
    print(f"{name:32} {len(took) / seconds:8.0f} {p50:7.1f} {p99:7.1f} {cpu / len(took) * 1000:7.2f} {_mb(pid):5.0f}")


def _flat_out(post: Callable[[int], float], posts: int) -> list[float]:
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return list(pool.map(post, range(posts)))


def _beside_upload(post: Callable[[int], float], http: httpx.Client, file: Path, batch: str) -> list[float]:
    """Send at the pace while another process uploads the file; a thread of this one would slow what it measures."""
    upload = get_context("spawn").Process(target=_upload, args=(str(http.base_url), dict(http.headers), file, batch))
    upload.start()
    sent: list[Future[float]] = []
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        while upload.is_alive():
            sent.append(pool.submit(post, len(sent)))
            time.sleep(_PACE_SECONDS)
        upload.join()
        if upload.exitcode:
            raise RuntimeError("the upload failed")
        return [one.result() for one in sent]


def _upload(url: str, headers: dict[str, str], file: Path, batch: str) -> None:
    with httpx.Client(base_url=url, headers=headers, timeout=600) as http, file.open("rb") as rows:
        path, kind = f"/v1/batches/{batch}/rows", {"content-type": "application/x-ndjson"}
        http.post(path, content=rows, headers=kind).raise_for_status()


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def _mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
