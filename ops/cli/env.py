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
        trials = "TRIAL: this leads to the trial; every account is the simulator's, and no real money is paid"
        errors().print(trials if file else "REAL: jobs go to the providers and cost money")
