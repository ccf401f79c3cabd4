"""`genqueue health`: whether this host's workers make progress, for a container's health check."""

import socket
from typing import Annotated

import typer

from ops.cli import consuming
from producer.cli.session import ExitCode, client, errors, fail
from shared.db.workers import ALIVE_SECONDS, STUCK_SECONDS
from shared.settings import Settings


def health(
    context: typer.Context,
    within: Annotated[float, typer.Option(min=1, help="longest time in seconds since a dispatcher's last tick")] = 30.0,
) -> None:
    """Succeed while the workers of this host dispatch, consume their queues, and record the results of their calls.

    A process that runs without progress counts as dead.

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
    living = [worker for worker in mine if float(str(worker["tick_age_seconds"])) <= within]
    stuck = max(float(str(worker["stuck_seconds"])) for worker in living)
    if stuck > STUCK_SECONDS:
        fail(f"a worker of {host} holds answers that PostgreSQL has not accepted for {stuck:.0f} s", ExitCode.BROKEN)
    alive = sum(float(str(worker["tick_age_seconds"])) < ALIVE_SECONDS for worker in mine)
    errors().print(f"ticked {ages[0]:.1f} s ago{_consumed(opened.settings, host, alive)}")


def _consumed(settings: Settings, host: str, workers: int) -> str:
    """Return what is to be said of the queues; ends the command where a worker does not consume them.

    A broker that is away is no fault of a worker: a restart would not help.
    """
    if not settings.broker_url.get_secret_value():
        return "; GENQUEUE_BROKER_URL is not set here, so that no worker was asked for its queues"
    try:
        found = consuming.ask(settings, host, workers)
    except consuming.BrokerUnreachableError as error:
        return f"; Redis cannot be reached ({error}), so that no worker was asked for its queues"
    if words := consuming.fault(found, workers):
        fail(words, ExitCode.BROKEN)
    return ", all queues are consumed"
