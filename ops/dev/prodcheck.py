"""Checks that the production lock is enough: `python -m ops.dev.prodcheck PYTHON`, where PYTHON has only that lock.

Every command must print its help there, and a worker must finish a batch of all five providers. This process runs the
servers and the simulator from the development environment, and ends everything that it starts.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from ops.running import simulated_accounts
from ops.simulator import PostEverywhereSettings, Simulator, SimulatorConfig
from ops.stack import Home, Stack
from ops.stack.config import APP_ROLE
from ops.stack.endpoints import Endpoints
from shared import catalog

_ROOT: Final = Path(__file__).parents[2]
_TIME_SCALE: Final = 100.0
_COMMAND_SECONDS: Final = 60.0
_HELPS_SECONDS: Final = 300.0
_BATCH_SECONDS: Final = 90.0
# Each command starts in a process that has imported the slow packages and, of our own modules, only the program's list.
# The command must find everything else itself.
_HELPS: Final = """
import json, os, sys
import psycopg, pydantic_settings, rich, sqlalchemy, sqlmodel, typer
from ops.cli import app, main
from typer.main import get_command

def names(command, path=()):
    yield path
    for name in getattr(command, "list_commands", lambda _: ())(None):
        yield from names(command.get_command(None, name), (*path, name))

def explain(path):
    sys.argv = ["genqueue", *path, "--help"]
    main()

listed = os.fork()
if not listed:
    # In a child, because listing every command imports every command.
    with open(sys.argv[1], "w") as file:
        json.dump([list(path) for path in names(get_command(app))], file)
    os._exit(0)
if os.waitpid(listed, 0)[1]:
    sys.exit("the commands cannot be listed")
with open(sys.argv[1]) as file:
    paths = json.load(file)
for path in paths:
    child = os.fork()
    if not child:
        explain(path)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"`genqueue {' '.join(path)} --help` failed")
print(len(paths), "commands printed their help")
"""
_MODELS: Final = {"getimg": "seedream-5-lite", "openrouter": "bytedance-seed/seedream-4.5"}
_HASTE: Final = {
    "GENQUEUE_TICK_SECONDS": "0.1",
    "GENQUEUE_POLL_FIRST_SECONDS": "0.2",
    "GENQUEUE_POLL_MAX_SECONDS": "0.5",
    "GENQUEUE_RETRY_FIRST_SECONDS": "0.2",
}


def main(python: Path) -> int:
    """Check and return 0; each fault is one line, and 1."""
    began = time.monotonic()
    for name in [name for name in os.environ if name.upper().startswith(("GENQUEUE_", "AWS_", "PYTHON"))]:
        del os.environ[name]
    os.environ |= {"PYTHONPATH": str(_ROOT), "PYTHONNOUSERSITE": "1"}
    with tempfile.TemporaryDirectory(prefix="genqueue-prod-") as place:
        os.chdir(place)  # a developer's genqueue.toml must not count here
        faults = _broken_helps(python, Path(place)) or _broken_batch(python, Path(place))
        os.chdir(_ROOT)
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    if not faults:
        sys.stdout.write(f"the production lock is enough ({time.monotonic() - began:.0f} s)\n")
    return 1 if faults else 0


def _broken_helps(python: Path, place: Path) -> list[str]:
    """Return a line for each command that cannot print its help."""
    ran = _run(python, "-c", _HELPS, str(place / "commands.json"), seconds=_HELPS_SECONDS)
    if ran.returncode:
        return [ran.stderr]
    sys.stdout.write(f"{ran.stdout.splitlines()[-1]}\n")
    return []


def _broken_batch(python: Path, place: Path) -> list[str]:
    """Return what is wrong with one job of each provider that a worker of that environment ran."""
    simulated = SimulatorConfig(
        time_scale=_TIME_SCALE, pixels=64, posteverywhere=PostEverywhereSettings(url="permanent")
    )
    prompts = place / "prompts.jsonl"
    rows = [
        {"provider": name, "prompt": f"a harbour by {name}"} | ({"model": _MODELS[name]} if name in _MODELS else {})
        for name in catalog.names()
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Simulator(simulated).serve() as simulator, Stack(Home(place / "home")) as stack:
        environment = {**_HASTE, **simulated_accounts(simulator.url, _TIME_SCALE)}
        os.environ.update(stack.endpoints.environment())
        migrated = _migrate(python, stack.endpoints)
        if migrated.returncode:
            return [f"`genqueue migrate` ended with {migrated.returncode}: {_last(migrated)}"]
        worker = stack.spawn("worker", [str(python), "-m", "ops.cli", "worker"], environment)
        enqueued = _run(python, "-m", "ops.cli", "enqueue", str(prompts), "--wait", seconds=_BATCH_SECONDS)
        results = _run(python, "-m", "ops.cli", "results", "prompts")
        stored = [row["provider"] for row in map(json.loads, results.stdout.splitlines()) if row["state"] == "stored"]
        if enqueued.returncode or sorted(stored) != sorted(catalog.names()):
            return [f"only {', '.join(stored) or 'nothing'} came ({_last(enqueued)}); the worker: {worker.tail()}"]
    sys.stdout.write(f"a worker brought {len(stored)} pictures, one of each provider\n")
    return []


def _migrate(python: Path, endpoints: Endpoints) -> "subprocess.CompletedProcess[str]":
    """Migrate as the tables' owner, as production does: the worker's role may not make a schema."""
    owner = {**os.environ, "GENQUEUE_DATABASE_URL": endpoints.owner_url}
    return _run(python, "-m", "ops.cli", "migrate", "--grant", f"worker={APP_ROLE}", environment=owner)


def _run(
    python: Path, *arguments: str, seconds: float = _COMMAND_SECONDS, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [str(python), *arguments]
    try:
        return subprocess.run(  # noqa: S603 - our own commands, by full path
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not over within {seconds:g} s")


def _last(ran: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
