"""The producer's commands, mounted by the `genqueue` command."""

import typer

from producer.cli.account import pause, resume
from producer.cli.cancel import cancel
from producer.cli.enqueue import enqueue
from producer.cli.explain import explain
from producer.cli.listings import batches, bill, jobs
from producer.cli.providers import providers
from producer.cli.resolve import resolve
from producer.cli.results import results
from producer.cli.retry import retry
from producer.cli.watch import watch

_COMMANDS = (enqueue, watch, batches, jobs, explain, results, bill, retry, resolve, cancel, providers, pause, resume)


def mount(app: typer.Typer) -> None:
    """Add the producer's commands to `app`, whose context object must be a `Session`."""
    for command in _COMMANDS:
        app.command()(command)
