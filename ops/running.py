"""Everything of one home at once: the servers, the workers, and the simulator if asked; ends as one."""

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ops.cli.join import adopt, migrate_quietly
from ops.simulator.wires.getimg.models import MODELS as GETIMG
from ops.simulator.wires.openrouter.models import MODELS as OPENROUTER
from ops.stack import Home, Process, Stack, StackError
from ops.stack.ports import free_port
from shared import catalog
from shared.catalog import RateWindow
from shared.settings import load

_READY_SECONDS: Final = 20.0
_KEY: Final = "sim-genqueue"
_PROMPT_TOKENS: Final = 20_000  # more than any prompt has
_PATHS: Final = {
    "banatie": "/banatie",
    "bloom": "/bloom/api/v1",
    "getimg": "/getimg",
    "openrouter": "/openrouter/api/v1",
    "posteverywhere": "/posteverywhere/api/v1",
}
# The documents disagree whether PostEverywhere gives links; with them there is something to look at.
_SIMULATED: Final = {"posteverywhere": {"url": "permanent"}}
_BRAND: Final = "11111111-1111-4111-8111-111111111111"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """What runs beside the servers. `environment` is added to that of the workers."""

    workers: int = 2
    simulator: bool = False
    time_scale: float = 20.0
    seed: int | None = None
    """None = a new one: a simulator that starts again must not give the same ids to other jobs."""
    pixels: int = 512
    worker_stop_seconds: float = 1800.0
    """Longer than the longest paid call with its transfer and its wait for the bucket: a kill leaves a doubt."""
    flower: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class Running:
    """A context manager, for the main thread only; raises `StackError` where something does not come up."""

    def __init__(self, home: Home, options: RunningOptions) -> None:
        self.stack = Stack(home)
        self.simulator: dict[str, Any] = {}
        self._home = home
        self._options = options
        self._workers: list[str] = []
        self._flower_port = 0
        self._python = sys.executable

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.stack)
            adopt(self.stack.endpoints)
            migrate_quietly(load())
            if self._options.simulator:
                self._start_simulator()
            for number in range(1, self._options.workers + 1):
                self._start_worker(f"worker-{number}")
            if self._options.flower:
                self._start_flower()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # All at once: each finishes what it has in the air, and that may take minutes.
        for name in self._workers:
            self.stack.kill(name, signal.SIGTERM)
        self.stack.stop()

    def urls(self) -> dict[str, str]:
        """Return where everything listens, without passwords."""
        endpoints = self.stack.endpoints
        found = {
            "postgres": endpoints.database_url.rpartition("@")[2],
            "redis": endpoints.broker_url.rpartition("@")[2],
            "s3": f"{endpoints.s3_endpoint_url} bucket {endpoints.s3_bucket}",
        }
        found |= {"flower": f"http://127.0.0.1:{self._flower_port}/"} if self._flower_port else {}
        return found | ({"simulator": self.simulator["url"]} if self.simulator else {})

    def _start_simulator(self) -> None:
        ready = self._home.path / "simulator.json"
        ready.unlink(missing_ok=True)
        options = self._options
        config = self._home.path / "simulator-config.json"
        config.write_text(json.dumps(_SIMULATED))
        arguments = {
            "--config": config,
            "--port": free_port(set()),
            "--time-scale": options.time_scale,
            "--seed": secrets.randbits(31) if options.seed is None else options.seed,
            "--pixels": options.pixels,
            "--ready-file": ready,
        }
        command = [self._python, "-m", "ops.simulator", *(str(part) for pair in arguments.items() for part in pair)]
        process = self.stack.spawn("simulator", command, _path())
        self.simulator = _await_json(ready, process)
        os.environ.update(simulated_accounts(self.simulator["url"], options.time_scale))

    def _start_flower(self) -> None:
        self._flower_port = free_port(set())
        command = [self._python, "-m", "ops.cli", "flower", "--port", str(self._flower_port)]
        self.stack.spawn("flower", command, _path())

    def _start_worker(self, name: str) -> None:
        command = [self._python, "-m", "ops.cli", "worker", "--name", name]
        environment = {**_path(), **self._options.environment}
        self.stack.spawn(name, command, environment, stop_seconds=self._options.worker_stop_seconds)
        self._workers.append(name)


def simulated_accounts(url: str, time_scale: float) -> dict[str, str]:
    """Return the settings that make the five providers' accounts speak to the simulator at `url`.

    The simulator's windows shrink with its time scale, so ours must as well.
    """
    settings = {
        "GENQUEUE_BLOOM_BRAND_SESSION_ID": _BRAND,
        "GENQUEUE_GETIMG_PRICES": _listed({model.id: max(model.prices.values()) for model in GETIMG.values()}),
        "GENQUEUE_OPENROUTER_PRICES": _listed(
            {model.id: max(model.prices.values()) + _PROMPT_TOKENS * model.token_price for model in OPENROUTER.values()}
        ),
        "GENQUEUE_ALLOW_PRIVATE_URLS": "127.0.0.1",
    }
    for name in catalog.names():
        # A provider that the simulator does not speak must fail here: its account would pay for real.
        settings[f"GENQUEUE_{name.upper()}_BASE_URL"] = f"{url}{_PATHS[name]}"
        settings[f"GENQUEUE_{name.upper()}_API_KEY"] = _KEY
        windows = [_scaled(window, time_scale) for window in catalog.get(name).windows]
        settings[f"GENQUEUE_{name.upper()}_LIMITS"] = ",".join(windows) or "none"
        settings[f"GENQUEUE_{name.upper()}_QUIET_SECONDS"] = f"{catalog.get(name).quiet_seconds / time_scale:.3f}"
    return settings


def _listed(prices: Mapping[str, Decimal]) -> str:
    """Return upper bounds by model as the setting writes them."""
    return ",".join(f"{model}={price:f}" for model, price in prices.items())


def _scaled(window: RateWindow, time_scale: float) -> str:
    """Return a window as the simulator keeps it: as many requests, in a shorter time."""
    return f"{window.requests}/{window.seconds / time_scale:.6f}s{' (paid)' if window.scope == 'submit' else ''}"


def _path() -> dict[str, str]:
    """Let children import our packages wherever they are started."""
    root = str(Path(__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _await_json(file: Path, process: Process) -> dict[str, Any]:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        time.sleep(0.02)
    raise StackError(f"the simulator did not come up within {_READY_SECONDS:g} s ({process.log}): {process.tail()}")
