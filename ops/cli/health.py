"""`genqueue health`: whether this host's workers make progress, for a container's health check."""

import socket
from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail


def health(
    context: typer.Context,
    within: Annotated[float, typer.Option(min=1, help="seconds since a dispatcher's last tick")] = 30.0,
) -> None:
    """Succeed while a worker of this host dispatches; a process that is up but makes no progress is dead.

    Example: genqueue health --within 60
    """
    host = socket.gethostname()
    with client(context) as opened:
        mine = [worker for worker in opened.workers() if str(worker["name"]).rpartition("-")[0] == host]
    ages = sorted(float(str(worker["tick_age_seconds"])) for worker in mine)
    if not ages:
        fail(f"no worker of {host} has registered", ExitCode.BROKEN)
    if ages[0] > within:
        fail(f"the last tick of a worker of {host} was {ages[0]:.0f} s ago", ExitCode.BROKEN)
    errors().print(f"ticked {ages[0]:.1f} s ago", markup=False)
