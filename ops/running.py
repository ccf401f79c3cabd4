"""Runs everything of one home: the servers, the workers and, if asked, the simulator. All end together."""

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ops import trial
from ops.cli.join import adopt, prepare_database
from ops.extras import require
from ops.own_token import own_token
from ops.stack import Home, ServerProcess, Stack, StackError, child_environment
from ops.stack.ports import free_port, is_free, usual_port
from shared import catalog
from shared.catalog import DocumentedWindow
from shared.settings import load

_READY_SECONDS: Final = 20.0
_API_READY_SECONDS: Final = 60.0  # it imports for two seconds of a quiet core
_API_PORT: Final = 8470
_DASHBOARD_PORT: Final = 5600
_FLOWER_PORT: Final = 5555
_KEY: Final = "sim-genqueue"
_PATHS: Final = {
    "banatie": "/banatie",
    "bloom": "/bloom/api/v1",
    "getimg": "/getimg",
    "openrouter": "/openrouter/api/v1",
    "posteverywhere": "/posteverywhere/api/v1",
}
# The documents disagree about whether PostEverywhere gives links. With links, the demo has images to show.
SIMULATED: Final = {"posteverywhere": {"url": "permanent"}}
_BRAND: Final = "11111111-1111-4111-8111-111111111111"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """What runs beside the servers. `environment` is added to the workers' environment."""

    workers: int = 2
    simulator: bool = False
    time_scale: float = 20.0
    seed: int | None = None
    """None = a new seed: a restarted simulator must not give the same ids to other jobs."""
    pixels: int = 512
    worker_stop_seconds: float = 1800.0
    """Longer than a paid call, its transfer and its wait for the bucket together: a kill would leave a job in doubt."""
    flower: bool = False
    dashboard: bool = False
    api: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    remembers: bool = False
    """The simulator keeps its bill and its pictures in the home: jobs in the air outlive a stop, as with a provider."""


class Running:
    """A context manager, for the main thread only. Raises `StackError` if something does not start.

    With the simulator it is a trial: `home` must be the trial's own, and no configured account is used.
    """

    def __init__(self, home: Home, options: RunningOptions) -> None:
        self.stack = Stack(home)
        self.simulator: dict[str, Any] = {}
        self.set_aside: list[str] = []
        """The configured accounts that the trial does not use."""
        self._home = home
        self._options = options
        self._workers: list[str] = []
        self._flower_port = 0
        self._dashboard_port = 0
        self.dashboard_token = ""
        """The token that signs in to the dashboard; "" where no dashboard runs."""
        self._api = ""
        self._python = sys.executable

    def __enter__(self) -> Self:
        self._choose_accounts()
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.stack)
            if self._options.simulator:
                # Only the owner of the home's lock may write here: the workers of a trial that runs read this file.
                trial.enter(self._home, accounts={})
            adopt(self.stack.endpoints)
            prepare_database(load(), self._home)
            if self._options.simulator:
                self._start_simulator()
            for number in range(1, self._options.workers + 1):
                self._start_worker(f"worker-{number}")
            if self._options.flower:
                self._start_flower()
            if self._options.dashboard:
                self._start_dashboard()
            if self._options.api:
                self._start_api()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Stop all at once: each finishes its calls in the air, which may take minutes.
        for name in self._workers:
            self.stack.kill(name, signal.SIGTERM)
        self.stack.stop()

    def label(self) -> str:
        """Return one line that says whether real money can be spent, and which accounts were set aside."""
        if not self._options.simulator:
            return "REAL: jobs go to the providers and cost money"
        line = "TRIAL: every account is the simulator's; no real money is paid"
        return f"{line}; set aside: {', '.join(self.set_aside)}" if self.set_aside else line

    def urls(self) -> dict[str, str]:
        """Return where everything listens, without passwords."""
        endpoints = self.stack.endpoints
        found = {
            "postgres": endpoints.database_url.rpartition("@")[2],
            "redis": endpoints.broker_url,
            "s3": f"{endpoints.s3_endpoint_url} bucket {endpoints.s3_bucket}",
        }
        found |= {"api": self._api} if self._api else {}
        found |= {"flower": f"http://127.0.0.1:{self._flower_port}/"} if self._flower_port else {}
        found |= {"dashboard": f"http://127.0.0.1:{self._dashboard_port}/"} if self._dashboard_port else {}
        return found | ({"simulator": self.simulator["url"]} if self.simulator else {})

    def _choose_accounts(self) -> None:
        """Before anything starts: a trial sets every configured account aside, and no real work runs in its home.

        Nothing on the disk changes here: another stack may own the home.
        """
        trial.leave()
        if self._options.simulator:
            require("embedded", "ministack")
            self.set_aside = trial.prepare(load())
        elif trial.is_trials(self._home):
            raise StackError(f"{self._home.path} is a trial's home: real accounts must not pay for its jobs")

    def _start_simulator(self) -> None:
        ready = self._home.path / "simulator.json"
        ready.unlink(missing_ok=True)
        options = self._options
        self._home.write("simulator-config.json", json.dumps(SIMULATED))
        arguments = {
            "--config": self._home.path / "simulator-config.json",
            "--port": free_port(set()),
            "--time-scale": options.time_scale,
            "--seed": secrets.randbits(31) if options.seed is None else options.seed,
            "--pixels": options.pixels,
            "--ready-file": ready,
        }
        if options.remembers:
            arguments["--state-file"] = self._home.path / "simulator-state.json"
        command = [self._python, "-m", "ops.simulator", *(str(part) for pair in arguments.items() for part in pair)]
        process = self.stack.spawn("simulator", command, _path(), needs=child_environment.SIMULATOR)
        self.simulator = _await_json(ready, process)
        simulated = simulated_accounts(self.simulator["url"], options.time_scale)
        trial.enter(self._home, self.simulator["url"], trial.accounts_of(simulated))

    def _start_flower(self) -> None:
        self._flower_port = usual_port(_FLOWER_PORT)
        command = [self._python, "-m", "ops.cli", "flower", "--port", str(self._flower_port)]
        self.stack.spawn("flower", command, _path(), needs=child_environment.FLOWER)

    def _start_dashboard(self) -> None:
        self._dashboard_port = usual_port(_DASHBOARD_PORT)
        self.dashboard_token = load().dashboard_token.get_secret_value() or secrets.token_urlsafe(18)
        command = [self._python, "-m", "ops.cli", "dashboard", "--port", str(self._dashboard_port)]
        environment = {"GENQUEUE_HOME": str(self._home.path), "GENQUEUE_DASHBOARD_TOKEN": self.dashboard_token}
        self.stack.spawn("dashboard", command, {**_path(), **environment})

    def _start_api(self) -> None:
        """Serve the API at its usual port if that is free; in real work, leave a token for it in the home."""
        port = usual_port(_API_PORT)
        command = [self._python, "-m", "ops.cli", "api", "--port", str(port)]
        process = self.stack.spawn("api", command, _path(), needs=child_environment.API)
        self._api = f"http://127.0.0.1:{port}"
        if not self._options.simulator:
            self._api += f" token in {own_token(self._home)}"
        _await_port(port, process)

    def _start_worker(self, name: str) -> None:
        command = [self._python, "-m", "ops.cli", "worker", "--name", name]
        # The spool lies in the home: a worker must not use another home's spool.
        environment = {**_path(), "GENQUEUE_HOME": str(self._home.path), **self._options.environment}
        self.stack.spawn(
            name,
            command,
            environment,
            needs=child_environment.WORKER,
            stop_seconds=self._options.worker_stop_seconds,
        )
        self._workers.append(name)


def simulated_accounts(url: str, time_scale: float) -> dict[str, str]:
    """Return the settings that make the five providers' accounts use the simulator at `url`.

    The simulator's windows shrink with its time scale, so ours must too.
    """
    settings = {
        "GENQUEUE_BLOOM_BRAND_SESSION_ID": _BRAND,
        "GENQUEUE_ALLOW_PRIVATE_URLS": "127.0.0.1",
    }
    for name in catalog.names():
        # A provider that the simulator lacks must fail here: its account would pay real money.
        settings[f"GENQUEUE_{name.upper()}_BASE_URL"] = f"{url}{_PATHS[name]}"
        settings[f"GENQUEUE_{name.upper()}_API_KEY"] = _KEY
        windows = [_scaled(window, time_scale) for window in catalog.get(name).windows]
        settings[f"GENQUEUE_{name.upper()}_LIMITS"] = ",".join(windows) or "none"
        settings[f"GENQUEUE_{name.upper()}_QUIET_SECONDS"] = f"{catalog.get(name).quiet_seconds / time_scale:.3f}"
    return settings


def _scaled(window: DocumentedWindow, time_scale: float) -> str:
    """Return a window as the simulator keeps it: the same number of requests in a shorter time."""
    return f"{window.requests}/{window.seconds / time_scale:.6f}s{' (paid)' if window.scope == 'submit' else ''}"


def _path() -> dict[str, str]:
    """Let child processes import our packages from any directory."""
    root = str(Path(__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _await_port(port: int, process: ServerProcess) -> None:
    end = time.monotonic() + _API_READY_SECONDS
    while is_free(port):
        if time.monotonic() > end or process.poll() is not None:
            raise StackError(f"the API did not come up in {_API_READY_SECONDS:g} s ({process.log}): {process.tail()}")
        time.sleep(0.02)


def _await_json(file: Path, process: ServerProcess) -> dict[str, Any]:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        time.sleep(0.02)
    raise StackError(f"the simulator did not come up within {_READY_SECONDS:g} s ({process.log}): {process.tail()}")
