"""The `genqueue` command: the producer's commands, and those that run the queue itself.

Each command's module is imported only when that command runs: who asks for a list of batches should not wait for the
libraries of a worker.
"""

import sys
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

_COMMANDS: Final = {
    "demo": "ops.cli.demo",
    "up": "ops.cli.up",
    "plan": "producer.cli.plan",
    "enqueue": "producer.cli.enqueue",
    "watch": "producer.cli.watch",
    "batches": "producer.cli.listings",
    "jobs": "producer.cli.listings",
    "explain": "producer.cli.explain",
    "results": "producer.cli.results",
    "download": "ops.cli.download",
    "bill": "producer.cli.listings",
    "strays": "producer.cli.listings",
    "retry": "producer.cli.retry",
    "resolve": "producer.cli.resolve",
    "cancel": "producer.cli.cancel",
    "cap": "producer.cli.cap",
    "pause": "producer.cli.account",
    "resume": "producer.cli.account",
    "providers": "producer.cli.providers",
    "doctor": "ops.cli.doctor",
    "env": "ops.cli.env",
    "worker": "ops.cli.worker",
    "migrate": "ops.cli.migrate",
    "health": "ops.cli.health",
    "flower": "ops.cli.flower",
    "simulator": "ops.cli.simulator",
}


class _Commands(TyperGroup):
    """Finds a command by its name, and imports it then."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - fixed by click
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - fixed by click
        if cmd_name not in _COMMANDS:
            return None
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        single.command(cmd_name)(getattr(import_module(_COMMANDS[cmd_name]), cmd_name))
        return get_command(single)


app = typer.Typer(
    name="genqueue",
    cls=_Commands,
    help="An asynchronous job queue for AI image generation. Every job ends, or is held with its reason.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class _Door:
    """Opens a client for the producer's commands, importing what that takes only then."""

    @staticmethod
    def open() -> AbstractContextManager[Any]:
        from ops.cli.join import open_client  # noqa: PLC0415 - see the module's docstring

        return open_client()


@app.callback()
def _begin(context: typer.Context) -> None:
    context.obj = _Door()


def main() -> None:
    """Run the command; what is wrong around us is one line and exit code 1, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _is_foreseen(error):
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


def _is_foreseen(error: Exception) -> bool:
    """Tell whether the error's message is written for the one who reads it."""
    from ops.stack import StackError  # noqa: PLC0415 - only where something went wrong
    from shared.db.engine import DatabaseUnavailableError  # noqa: PLC0415 - the same
    from shared.db.schema import SchemaError  # noqa: PLC0415 - the same
    from shared.settings import SettingsError  # noqa: PLC0415 - the same

    return isinstance(error, (StackError, SettingsError, DatabaseUnavailableError, SchemaError))
