"""`genqueue up`, `worker`, `migrate` and `simulator`: what runs in the foreground."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.join import joined, migrate_quietly
from ops.running import Running, RunningOptions
from ops.stack import Home
from producer.cli.session import ExitCode, errors, fail, told
from shared import log
from shared.settings import load
from worker.tasks import run_worker, worker_app


def up(
    workers: Annotated[int, typer.Option(min=0, max=64, help="worker processes")] = 2,
    simulator: Annotated[bool, typer.Option("--simulator", help="run the providers' simulator and use it")] = False,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster the simulator's time runs")] = 20.0,
) -> None:
    """Run everything in the foreground until Ctrl-C: PostgreSQL, Redis, S3, workers, and the simulator if asked.

    Example: genqueue up --simulator
    """
    settings = load()
    console = errors()
    options = RunningOptions(workers=workers, simulator=simulator, time_scale=time_scale)
    with told(), Running(Home(settings.home.absolute()), options) as running:
        for name, url in running.urls().items():
            console.print(f"{name:<11}{url}", markup=False)
        for name, version in running.stack.versions().items():
            console.print(f"{name:<11}{version}", markup=False)
        if not simulator and not any(account.api_key for account in load().accounts.values()):
            console.print("no provider has a key: set GENQUEUE_BLOOM_API_KEY or GENQUEUE_GETIMG_API_KEY", markup=False)
        console.print("ready; Ctrl-C stops everything", markup=False)
        for ended in running.stack.watch():
            console.print(str(ended), markup=False)


def worker(
    name: Annotated[str, typer.Option(help="shown in Flower; one for each process on a host")] = "",
) -> None:
    """Run one worker process until SIGTERM; what is in the air is finished first."""
    with told(), joined() as settings:
        log.configure(settings.log_level, settings.log_format)
        if not settings.broker_url.get_secret_value():
            fail("no broker: set GENQUEUE_BROKER_URL, or start everything with `genqueue up`", ExitCode.BROKEN)
        if not any(account.api_key for account in settings.accounts.values()):
            errors().print("no account has an API key: this worker can pay for nothing", markup=False)
        app = worker_app(settings, access_key=None, secret_key=None)
        run_worker(app, settings, name=name or f"worker-{os.getpid()}")


def migrate() -> None:
    """Bring the database's schema to what this code needs; safe to run by many at once."""
    with told(), joined() as settings:
        migrate_quietly(settings)
    errors().print("the schema is current", markup=False)


def simulator(
    port: Annotated[int, typer.Option(help="0 = a free one")] = 0,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster than real time")] = 20.0,
    seed: Annotated[int, typer.Option(help="of pictures, latencies and drawn faults")] = 0,
    faults: Annotated[Path | None, typer.Option(help="JSON file with a fault plan")] = None,
) -> None:
    """Run the providers' simulator by itself; it prints the base URLs to set."""
    from ops.simulator.__main__ import main as simulate  # noqa: PLC0415 - needs the `embedded` extra

    arguments = ["--port", str(port), "--time-scale", str(time_scale), "--seed", str(seed)]
    raise typer.Exit(simulate([*arguments, *(["--faults", str(faults)] if faults else [])]))
