"""`genqueue up`: everything in the foreground until Ctrl-C."""

from typing import Annotated

import typer

from ops import trial
from ops.running import Running, RunningOptions
from ops.stack import Home
from producer.cli.session import errors, told
from shared.settings import load


def up(
    workers: Annotated[int, typer.Option(min=0, max=64, help="number of worker processes")] = 2,
    simulator: Annotated[bool, typer.Option("--simulator", help="run the providers' simulator and use it")] = False,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="show the workers in Flower")] = True,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="show jobs, money and pictures in the dashboard")
    ] = True,
    api: Annotated[bool, typer.Option("--api/--no-api", help="serve the HTTP API")] = True,
    time_scale: Annotated[float, typer.Option(min=0.01, help="how much faster the simulator's time runs")] = 20.0,
) -> None:
    """Run PostgreSQL, Redis, S3, workers, the API and, if asked, the simulator, in the foreground until Ctrl-C.

    With --simulator it is a trial: it has its own home and uses none of your
    accounts.

    Example: genqueue up --simulator
    """
    console = errors()
    options = RunningOptions(
        workers=workers,
        simulator=simulator,
        time_scale=time_scale,
        flower=flower,
        dashboard=dashboard,
        api=api,
        remembers=True,
    )
    with told():
        trial.leave()
        real = Home(load().home.absolute())
        running = Running(trial.home_beside(real) if simulator else real, options)
    with told(), running:
        console.print(running.label())
        versions = running.stack.versions()
        for name, url in running.urls().items():
            console.print(f"{name:<11}{url}" + (f"  {versions[name]}" if name in versions else ""))
        if running.dashboard_token:
            console.print(f"{'sign in':<11}to the dashboard with the token {running.dashboard_token}")
        if not simulator and not any(account.api_key for account in load().accounts.values()):
            console.print("no provider has a key: set one, such as GENQUEUE_BLOOM_API_KEY")
        console.print("ready; Ctrl-C stops everything")
        for news in running.stack.watch():
            console.print(str(news))
