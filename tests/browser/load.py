"""Measures the dashboard on a large database: `python -m tests.browser.load [JOBS] [PAIRS]`.

It prints how long each page takes, and what one viewer and twenty viewers of a live page cost, in interleaved pairs:
the work of the dashboard's process and of its database sessions.
"""

import http.client
import math
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
from pydantic import SecretStr
from sqlalchemy import text

from ops.cli.join import migrate_quietly
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from ops.stack.ports import free_port
from shared.db.engine import Engine, open_engine, transaction
from shared.settings import load
from tests.support.counted import add_up
from tests.support.waiting import until

_TOKEN: Final = "a-token-of-the-measurement"
_LOOKS: Final = 60
_ANEW: Final = 20
_SECONDS: Final = 4.0
_VIEWERS: Final = 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ROOT: Final = str(Path(__file__).parents[2])
PAGES: Final = {
    "Now": "/",
    "Batches": "/batches",
    "a batch of 800": "/batch?name=b500",
    "its failed jobs": "/batch?name=b500&state=failed",
    "a batch of a fifth of all": "/batch?name=large",
    "its search, found": "/batch?name=large&q=harbour+77",
    "its search, in vain": "/batch?name=large&q=nobody",
    "Held": "/held",
    "Failures": "/failures",
    "Money": "/money",
    "find a job": "/find?job=row-77777",
}
_BATCHES = text("""
INSERT INTO batch (id, name, on_unknown) SELECT gen_random_uuid(), name, 'hold'
FROM (SELECT 'large' AS name UNION ALL SELECT 'b' || number FROM generate_series(0, 999) AS number) AS named
""")
_JOBS = text("""
INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images, state, on_hold,
  fair_position, due_at, deadline_at, collect_until, error_code, finished_at)
SELECT CAST(lpad(to_hex(number), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(number), 12, '0') AS uuid), batch.id,
  'row-' || number, 'bloom', 'bloom', jsonb_build_object('n', 1, 'prompt', 'a harbour ' || number), '', 1, kind.state,
  kind.state = 'in_doubt', number, CASE WHEN kind.finished THEN NULL ELSE now() + interval '1 day' END,
  now() + interval '1 day', now() + interval '7 days',
  CASE kind.state WHEN 'failed' THEN 'provider_rejected' WHEN 'in_doubt' THEN 'answer_lost' END,
  CASE WHEN kind.finished THEN now() - number * interval '0.01 second' END
FROM generate_series(CAST(:first AS integer), :last) AS number
CROSS JOIN LATERAL (SELECT state, state IN ('succeeded', 'failed') AS finished FROM (
  SELECT CASE WHEN number % 10007 = 0 THEN 'in_doubt' WHEN number % 50 = 0 THEN 'failed'
    WHEN number % 20 = 1 THEN 'queued' ELSE 'succeeded' END AS state) AS one) AS kind
JOIN batch ON batch.name = CASE WHEN number % 5 = 0 THEN 'large' ELSE 'b' || number / 5 % 1000 END
""")
_CALLS = text("""
INSERT INTO submission (id, job_id, epoch, batch_id, account, key_id, sender, sender_lock, opened_at, send_by,
  visible_by, outcome, answered_at, upstream_id, reserved, settled, unit)
SELECT id, id, 1, batch_id, account, 'k', 'w', 1, now() - interval '2 hours', now(), now(),
  CASE state WHEN 'in_doubt' THEN 'unknown' ELSE 'accepted' END, now(), 'up-' || custom_id, 2,
  CASE state WHEN 'in_doubt' THEN NULL ELSE 2 END, 'credit'
FROM job WHERE state IN ('succeeded', 'in_doubt') AND id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)
""")
_IMAGES = text("""
INSERT INTO image (job_id, index, submission_id, account, upstream_id, state, bucket, key, sha256, stored_at)
SELECT job_id, 0, id, account, upstream_id, 'stored', 'b', CAST(id AS text), '', now() FROM submission
WHERE outcome = 'accepted' AND job_id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)
""")


def fill(engine: Engine, jobs: int) -> None:
    """Write so many jobs with their calls and images; a superuser's engine, so that foreign keys are not checked."""
    with transaction(engine) as connection:
        connection.execute(text("INSERT INTO account (name, provider, unit, concurrency, windows) "
                                "VALUES ('bloom', 'bloom', 'credit', 8, '[]')"))  # fmt: skip
        connection.execute(_BATCHES)
    for first in range(1, jobs + 1, 100_000):
        last = min(first + 99_999, jobs)
        with transaction(engine) as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL synchronous_commit = off"))
            connection.execute(_JOBS, {"first": first, "last": last})
            ids = {"low": _id(first), "high": _id(last)}
            connection.execute(_CALLS, ids)
            add_up(connection)
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(_IMAGES, ids)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def _id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-{number:012x}"


@dataclass
class Measured:
    """A dashboard's process, a signed-in cookie, and a connection that looks at its sessions."""

    port: int
    pid: int
    cookie: str
    watching: "psycopg.Connection[Any]"
    streams: list[http.client.HTTPConnection] = field(default_factory=list)

    def get(self, path: str) -> float:
        """Return the seconds that a page took."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status in {200, 303}, (path, answer.status)
        return time.perf_counter() - began

    @contextmanager
    def viewers(self, count: int, page: str) -> Iterator[None]:
        """Hold so many live streams of a page open, and read what they bring."""
        opened = [http.client.HTTPConnection("127.0.0.1", self.port, timeout=60) for _ in range(count)]
        threads = [threading.Thread(target=self._follow, args=(one, page), daemon=True) for one in opened]
        for thread in threads:
            thread.start()
        time.sleep(1.0)  # the first reading, which is not measured
        yield
        for one in opened:
            if one.sock is not None:
                one.sock.shutdown(2)
        for thread in threads:
            thread.join()

    def _follow(self, connection: http.client.HTTPConnection, page: str) -> None:
        connection.request("GET", page, headers={"Cookie": self.cookie})
        answer = connection.getresponse()
        with suppress(http.client.HTTPException, OSError):  # the end of the measurement cuts it off
            while answer.read1(65_536):
                pass

    def work(self) -> tuple[float, float, int]:
        """Return CPU seconds of the process and of its database sessions, and the database's transactions so far."""
        question = "SELECT pid FROM pg_stat_activity WHERE application_name = 'genqueue dashboard'"
        sessions = sum(_cpu(row[0]) for row in self.watching.execute(question).fetchall())
        (count,) = self.watching.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchall()[0]
        return _cpu(self.pid), sessions, int(count)


def _cpu(pid: int) -> float:
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / _TICKS


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fill a database, then measure and print."""
    given = [int(each) for each in sys.argv[1:]]
    jobs, pairs = (*given, *(1_000_000, 10)[len(given) :])
    with ExitStack() as ending:
        home = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="genqueue-load-")))
        stack = ending.enter_context(Stack(Home(home)))
        os.environ |= {**stack.endpoints.environment(), "GENQUEUE_HOME": str(home)}
        owner = load().model_copy(update={"database_url": SecretStr(stack.endpoints.owner_url)})
        migrate_quietly(owner, {"worker": APP_ROLE})
        engine = open_engine(SecretStr(stack.endpoints.admin_url), application="load", pool_size=1)
        began = time.monotonic()
        fill(engine, jobs)
        _say(f"{jobs:,} jobs in {time.monotonic() - began:.0f} s")
        measured = _start(stack, ending)
        _pages(measured)
        for name, page in (("Now", "/live?page=now"), ("a large batch", "/live?page=batch&name=large")):
            _pairs(measured, name, page, pairs)


def _start(stack: Stack, ending: ExitStack) -> Measured:
    port = free_port(set())
    environment = {"PYTHONPATH": _ROOT, "GENQUEUE_DASHBOARD_TOKEN": _TOKEN}
    process = stack.spawn("dashboard", [sys.executable, "-m", "ops.cli", "dashboard", "--port", str(port)], environment)
    cookie = until(lambda: _signed_in(port), 60)
    url = stack.endpoints.admin_url
    watching = ending.enter_context(psycopg.connect(url, autocommit=True))
    return Measured(port, process.pid, str(cookie), watching)


def _signed_in(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    try:
        connection.request("POST", "/sign-in", urllib.parse.urlencode({"token": _TOKEN}), headers)
        return (connection.getresponse().getheader("set-cookie") or "").partition(";")[0] or None
    except OSError:
        return None


def _pages(measured: Measured) -> None:
    for name, path in PAGES.items():
        measured.get(path)
        shared = sorted(measured.get(path) for _ in range(_LOOKS))
        anew = sorted(_after(2.1 if name == "Now" else 1.1, partial(measured.get, path)) for _ in range(_ANEW))
        _say(
            f"{name:28} p95 {_p95(shared):5.0f} ms; read anew: median {statistics.median(anew) * 1000:4.0f} ms, "
            f"p95 {_p95(anew):4.0f} ms"
        )


def _p95(times: list[float]) -> float:
    return times[math.ceil(len(times) * 0.95) - 1] * 1000


def _after(seconds: float, look: Callable[[], float]) -> float:
    time.sleep(seconds)  # until the answer that viewers share is old
    return look()


def _pairs(measured: Measured, name: str, page: str, pairs: int) -> None:
    found: dict[int, list[tuple[float, float]]] = {1: [], _VIEWERS: []}
    for _ in range(pairs):
        for count, results in found.items():
            with measured.viewers(count, page):
                before = measured.work()
                time.sleep(_SECONDS)
                after = measured.work()
            cpu = (after[0] - before[0] + after[1] - before[1]) / _SECONDS
            results.append((cpu * 100, (after[2] - before[2]) / _SECONDS))
    for count, results in found.items():
        cpus, transactions = ([each[index] for each in results] for index in (0, 1))
        _say(f"{name}, {count:2} live: {_spread(cpus)} % of a core, {_spread(transactions)} transactions a second")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
