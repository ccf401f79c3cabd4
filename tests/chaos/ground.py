"""The ground of the chaos suite: a site whose simulator and bucket lie behind proxies that can be broken."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from ops.running import simulated_accounts
from ops.simulator import (
    BanatieSettings,
    BloomSettings,
    GetimgSettings,
    OpenRouterSettings,
    PostEverywhereSettings,
    Simulator,
    SimulatorConfig,
)
from ops.stack import Home, Stack
from ops.stack.process import ServerProcess
from shared.lifecycle import Stage
from tests.chaos.points import PROVIDERS, Points
from tests.e2e.site import STOP_SECONDS, Site, migrate, open_site
from tests.e2e.spawning import IMPORTS, hurry
from tests.support.s3_gate import S3Gate
from tests.support.tcp_proxy import TcpProxy

LAUNCHER: Final = Path(__file__).with_name("crashing_worker.py")
TIME_SCALE: Final = 20.0
SIMULATED: Final = SimulatorConfig(
    time_scale=TIME_SCALE,
    pixels=64,
    request_log_size=2_000_000,
    # No link dies of its age and no window binds: what is asked here is what breakage does.
    bloom=BloomSettings(requests_per_minute=None, latency=(4.0, 14.0), link_seconds=36_000),
    getimg=GetimgSettings(requests_per_minute=None, concurrency=None, latency=(4.0, 9.0), link_seconds=36_000),
    openrouter=OpenRouterSettings(latency=(4.0, 14.0)),
    posteverywhere=PostEverywhereSettings(
        requests_per_minute=None, requests_per_hour=None, generations_per_hour=None, url="permanent"
    ),
    banatie=BanatieSettings(requests_per_hour=None, latency=(4.0, 14.0)),
)
POST_SECONDS: Final = 4.0
SETTINGS: Final = {
    "tick_seconds": 0.2,
    "poll_first_seconds": 0.3,
    "poll_max_seconds": 1.0,
    "fetch_tries": 6,
    "fetch_page_tries": 6,
    "believe_seconds": 5,
    "doubts_before_pause": 10,
    "probe_first_seconds": 3,
    "probe_max_seconds": 10,
    "sweep_seconds": 60,
    "account_check_seconds": 5,
    "worker_slots": 16,
}
_OPEN: Final = """
SELECT custom_id, state, error_code, error, claimed_by, epoch, tries, due_at - now() AS due,
  (SELECT string_agg(concat_ws(':', index, image.state, link IS NOT NULL, image.tries, image.error_code), ' ')
   FROM image WHERE job_id = job.id) AS images
FROM job
WHERE state NOT IN ('succeeded', 'failed', 'cancelled') ORDER BY on_hold, due_at LIMIT 30
"""


@dataclass(eq=False)
class ChaosSite(Site):
    """A site with proxies before the simulator and the bucket, and workers that may have a flaw."""

    network: TcpProxy = field(kw_only=True)
    gate: S3Gate = field(kw_only=True)
    points: Points = field(kw_only=True)
    directory: Path = field(kw_only=True)

    def start_worker(self, name: str, **settings: str) -> ServerProcess:
        """Start a worker process through the launcher; the supervisor keeps it alive."""
        spool = self.directory / f"spool-{settings.pop('host', 'one')}"
        spool.mkdir(exist_ok=True)
        environment = {
            **IMPORTS,
            **worker_environment(self.network.url),
            "GENQUEUE_S3_ENDPOINT_URL": self.gate.url,
            "GENQUEUE_SPOOL_DIR": str(spool),
            "CHAOS_DIRECTORY": str(self.directory / "points"),
            **self.settings,
            **settings,
        }
        argv = [sys.executable, str(LAUNCHER), name]
        self.workers[name] = self.stack.spawn(name, argv, environment, stop_seconds=STOP_SECONDS)
        return self.workers[name]

    def process(self, name: str) -> ServerProcess:
        """Return the present process of a worker."""
        return self.stack._children[name].process

    def alive(self, name: str) -> bool:
        """Tell whether the worker's process runs."""
        return self.process(name).poll() is None

    def forgive(self) -> None:
        """Have the supervisor start again at once what dies often: it would wait longer each time."""
        for child in self.stack._children.values():
            child._failures = 0

    def sender(self, pid: int) -> str | None:
        """Return the name under which the process claims and pays; None while it is starting."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "points" / f"sender-{pid}").read_text() or None
        return None

    def describe(self) -> str:
        """Return what a failed wait needs: what every open job waits for, and what lies in the broker."""
        with contextlib.suppress(Exception), self.redis() as broker:
            jobs = [" ".join(map(str, row)) for row in self.sql(_OPEN)]
            queues = {stage.value: broker.llen(stage.value) for stage in Stage}
            pids = {name: (self.process(name).pid, self.alive(name)) for name in self.workers}
            return "\n".join([super().describe(), f"queues {queues}, workers {pids}", *jobs])
        return super().describe()

    def asked(self, statement: str, *values: Any) -> list[Any] | None:
        """Return the rows of one statement, None while the database is away."""
        try:
            return self.sql(statement, *values)
        except psycopg.OperationalError:
            return None


def worker_environment(simulator_url: str) -> dict[str, str]:
    """Return the settings of a hasty worker with five accounts that speak to the simulator."""
    given = {f"GENQUEUE_{name.upper()}": str(value) for name, value in SETTINGS.items()}
    accounts = simulated_accounts(simulator_url, TIME_SCALE)
    for provider in PROVIDERS:
        accounts[f"GENQUEUE_{provider.upper()}_LIMITS"] = "none"
        accounts[f"GENQUEUE_{provider.upper()}_TIMEOUT_SECONDS"] = str(POST_SECONDS)
        accounts[f"GENQUEUE_{provider.upper()}_CONCURRENCY"] = "4"
    return {**hurry(), **accounts, **given}


@contextlib.contextmanager
def open_ground(seed: int = 0, *, keep: bool = False) -> Iterator[ChaosSite]:
    """Yield a running site without workers; its directory is removed afterwards unless `keep`."""
    place = Path(tempfile.mkdtemp(prefix="genqueue-chaos-"))
    with contextlib.ExitStack() as undo:
        simulator = undo.enter_context(Simulator(replace(SIMULATED, seed=seed)).serve())
        stack = undo.enter_context(Stack(Home(place / "home")))
        migrate(stack)
        network = undo.enter_context(TcpProxy(_port(simulator.url)).serve())
        gate = undo.enter_context(S3Gate(_port(stack.endpoints.s3_endpoint_url)).serve())
        (place / "points").mkdir()
        plain = open_site(stack, simulator)
        site = ChaosSite(
            stack,
            simulator,
            plain.client,
            plain.storage,
            network=network,
            gate=gate,
            points=Points(place / "points"),
            directory=place,
        )
        undo.callback(site.close)
        yield site
    if not keep:
        _remove(place)


def _remove(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
