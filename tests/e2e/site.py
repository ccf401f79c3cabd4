"""A site to break: one home's real servers, real worker processes, and a simulator that keeps the bill."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from pydantic import SecretStr

from ops.simulator import Simulator
from ops.stack import Stack
from ops.stack.config import APP_ROLE
from ops.stack.process import ServerProcess
from producer import Client
from producer.client import is_settled
from shared.db import migrating
from shared.db.engine import open_engine
from shared.db.roles import grant
from shared.db.workers import ALIVE_SECONDS
from shared.settings import load
from tests.e2e.spawning import COMMAND, IMPORTS, worker_environment
from worker.transport.storage import Storage

STOP_SECONDS = 30.0


@dataclass(eq=False)
class Site:
    """Everything one test needs; `until` is the only way to wait, and keeps the supervisor at work meanwhile."""

    stack: Stack
    simulator: Simulator
    client: Client
    storage: Storage
    settings: dict[str, str] = field(default_factory=dict)
    workers: dict[str, ServerProcess] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)
    """Names, in the table, of workers that were killed: for a while they look alive."""

    def environment(self) -> dict[str, str]:
        """Return what each worker is told; its spool lies in this home, where no other test's evidence is."""
        home = {"GENQUEUE_HOME": str(self.stack.home.path)}
        return {**IMPORTS, **worker_environment(self.simulator.url), **home}

    def start_worker(self, name: str, **settings: str) -> ServerProcess:
        """Start a worker process that the supervisor keeps alive; further settings by their names."""
        environment = {**self.environment(), **self.settings, **settings}
        argv = [*COMMAND, "worker", "--name", name]
        self.workers[name] = self.stack.spawn(name, argv, environment, stop_seconds=STOP_SECONDS)
        return self.workers[name]

    def stop_workers(self) -> None:
        """Kill what still runs and forget it: a test that wants a clean stop asks for one itself."""
        with contextlib.suppress(psycopg.Error):  # the database may be away; then no worker ticks
            self.killed |= {name for (name,) in self.sql("SELECT name FROM worker")}
        for name in self.workers:
            with contextlib.suppress(KeyError):
                child = self.stack._children.pop(name)
                child.process.send(9)
                child.process.wait()
        self.workers.clear()

    def close(self) -> None:
        """End the workers and give the database back."""
        self.stop_workers()
        self.client.close()

    def pids(self) -> dict[str, int]:
        """Return the present process id of each worker; it changes where the supervisor had to start one again."""
        return {name: self.stack._children[name].process.pid for name in self.workers}

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait for a condition and return its value, tending the children; fail with what is known at the end."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s; {self.describe()}"
            self.stack.tend()
            time.sleep(0.05)
        return value

    def await_ticking(self, count: int) -> None:
        """Wait until so many workers tick that were not killed."""
        self.until(lambda: len(self.ticking()) >= count, 60)

    def ticking(self) -> set[str]:
        """Return the names, in the table, of the workers that tick."""
        alive = "SELECT name FROM worker WHERE last_tick_at > now() - make_interval(secs => %s)"
        rows = self.sql(alive, ALIVE_SECONDS)
        return {name for (name,) in rows} - self.killed

    def await_paid(self, count: int) -> None:
        """Wait until the simulator has accepted so many paid requests."""
        self.until(lambda: self.accepted() >= count)

    def await_settled(self, batch: str, seconds: float = 60.0) -> dict[str, int]:
        """Wait until every job of the batch has ended or is held, and return how many did what."""

        def settled() -> dict[str, int] | None:
            with contextlib.suppress(Exception):  # the database may be away just now
                totals = self.client.totals(batch)
                return totals if is_settled(totals) else None
            return None

        totals: dict[str, int] = self.until(settled, seconds)
        return totals

    def enqueue(self, batch: str, *, getimg: int = 0, bloom: int = 0) -> int:
        """Enqueue so many jobs, each with a prompt of its own; return how many."""
        rows: list[dict[str, Any]] = [
            {"provider": "getimg", "model": "seedream-5-lite", "prompt": f"{batch} getimg {number}"}
            for number in range(getimg)
        ]
        rows += [{"provider": "bloom", "prompt": f"{batch} bloom {number}"} for number in range(bloom)]
        return self.client.enqueue(rows, batch=batch).added

    def accepted(self) -> int:
        """Return how many paid requests the simulator has accepted since it was reset."""
        return len(self.simulator.world.bill.lines)

    def times_paid(self) -> Counter[str]:
        """Return how often each request was bought: bodies differ, as every prompt does."""
        return Counter(line["body_sha256"] for line in self.simulator.bill()["lines"])

    def stored(self, batch: str) -> list[Any]:
        """Return the batch's images that are in the bucket, with the length that the row says."""
        rows = [row for row in self.client.results(batch) if row["state"] == "stored"]
        for row in rows:
            found = self.storage.head(row["key"])
            assert found is not None, f"{row['key']} is not in the bucket"
            assert found.length == row["bytes"]
        return rows

    def events(self, batch: str, code: str) -> int:
        """Return how many transitions of the batch gave this reason."""
        question = "SELECT count(*) FROM job_event e JOIN job j ON j.id = e.job_id JOIN batch b ON b.id = j.batch_id"
        return int(self.sql(f"{question} WHERE b.name = %s AND e.code = %s", batch, code)[0][0])

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement on a connection of its own and return its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> "psycopg.Connection[Any]":
        """Return an autocommit connection to this site's database."""
        url = self.stack.endpoints.admin_url
        return psycopg.connect(url, autocommit=True, options="-c search_path=genqueue")

    @contextlib.contextmanager
    def redis(self) -> Iterator["redis.Redis"]:
        """Yield a client of this site's broker."""
        with redis.Redis.from_url(self.stack.endpoints.broker_url) as client:
            yield client

    def log(self, name: str) -> str:
        """Return everything that a child wrote."""
        return self.stack.home.log(name).read_text(errors="replace")

    def describe(self) -> str:
        """Return what a failed wait needs to be understood."""
        with contextlib.suppress(Exception):
            totals = {row["name"]: self.client.totals(str(row["name"])) for row in self.client.batches()}
            return f"batches {totals}, accepted {self.accepted()}, logs in {self.stack.home.path}"
        return f"the database does not answer; logs in {self.stack.home.path}"


def migrate(stack: Stack) -> None:
    """Bring the stack's database to the schema, and let its workers use it."""
    engine = open_engine(SecretStr(stack.endpoints.owner_url), application="tests", pool_size=1)
    migrating.migrate(engine)
    grant(engine, {"worker": APP_ROLE})
    engine.dispose()


def open_site(stack: Stack, simulator: Simulator) -> Site:
    """Return a site on a running stack whose schema is current."""
    endpoints = stack.endpoints
    settings = load(database_url=endpoints.database_url)
    storage = Storage(
        bucket=endpoints.s3_bucket,
        endpoint_url=endpoints.s3_endpoint_url,
        region="us-east-1",
        access_key=SecretStr(endpoints.s3_access_key).get_secret_value(),
        secret_key=SecretStr(endpoints.s3_secret_key).get_secret_value(),
        connect_seconds=5,
        read_seconds=10,
        max_connections=4,
    )
    return Site(stack, simulator, Client(settings=settings), storage)


def delete_redis_data(home: Path) -> None:
    """Take away everything a stopped Redis would load at its next start."""
    for directory in home.glob("redis[0-9]*"):
        for file in sorted(directory.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
