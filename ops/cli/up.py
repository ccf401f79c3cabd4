"""`genqueue up`: everything in the foreground until Ctrl-C."""

from typing import Annotated

import typer

from ops.running import Running, RunningOptions
from ops.stack import Home
from producer.cli.session import errors, told
from shared.settings import load


def up(
    workers: Annotated[int, typer.Option(min=0, max=64, help="worker processes")] = 2,
    simulator: Annotated[bool, typer.Option("--simulator", help="run the providers' simulator and use it")] = False,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="show the workers in Flower")] = True,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster the simulator's time runs")] = 20.0,
) -> None:
    """Run everything in the foreground until Ctrl-C: PostgreSQL, Redis, S3, workers, and the simulator if asked.

    Example: genqueue up --simulator
    """
    settings = load()
    console = errors()
    options = RunningOptions(workers=workers, simulator=simulator, time_scale=time_scale, flower=flower)
    with told(), Running(Home(settings.home.absolute()), options) as running:
        for name, url in running.urls().items():
            console.print(f"{name:<11}{url}", markup=False)
        for name, version in running.stack.versions().items():
            console.print(f"{name:<11}{version}", markup=False)
        if not simulator and not any(account.api_key for account in load().accounts.values()):
            console.print("no provider has a key: set one, such as GENQUEUE_BLOOM_API_KEY", markup=False)
        console.print("ready; Ctrl-C stops everything", markup=False)
        for ended in running.stack.watch():
            console.print(str(ended), markup=False)
