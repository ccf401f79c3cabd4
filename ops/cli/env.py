"""`genqueue env`: how a program of yours reaches the stack that runs in this home."""

import shlex

import typer

from ops.stack import Home
from producer.cli.session import ExitCode, fail, told
from shared.settings import load


def env() -> None:
    """Print the variables by which a program of yours joins the running stack; they hold its passwords.

    Example: eval "$(genqueue env)"
    """
    with told():
        running = Home(load().home.absolute()).running()
        if running is None:
            fail("nothing runs in this home: start it with `genqueue up`", ExitCode.BROKEN)
        for name, value in running.environment().items():
            typer.echo(f"export {name}={shlex.quote(value)}")
