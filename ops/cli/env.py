"""`genqueue env`: how your program reaches the stack that runs in this directory."""

import shlex

import typer

from ops.cli.join import chosen_home
from producer.cli.session import ExitCode, errors, fail, told
from shared import trial


def env() -> None:
    """Print the variables with which your program reaches the running stack; they contain its passwords.

    Example: eval "$(genqueue env)"
    """
    with told():
        running = chosen_home().running()
        if running is None:
            fail("nothing runs in this home: start it with `genqueue up`", ExitCode.BROKEN)
        file = trial.in_force()
        for name, value in running.environment().items():
            typer.echo(f"export {name}={shlex.quote(value)}")
        typer.echo(f"export {trial.VARIABLE}={shlex.quote(str(file))}" if file else f"unset {trial.VARIABLE}")
        errors().print("TRIAL: the simulator's" if file else "REAL: jobs cost money")
