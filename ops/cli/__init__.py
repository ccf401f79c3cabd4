"""The `genqueue` command: the producer's commands, and those that run the queue itself."""

import sys

import typer
from rich.console import Console

from ops.cli.demo import demo
from ops.cli.doctor import doctor
from ops.cli.download import download
from ops.cli.flower import flower
from ops.cli.health import health
from ops.cli.join import session
from ops.cli.run import migrate, simulator, up, worker
from ops.stack import StackError
from producer.cli import mount
from producer.cli.session import ExitCode
from shared.db.engine import DatabaseUnavailableError
from shared.db.schema import SchemaError
from shared.settings import SettingsError

app = typer.Typer(
    name="genqueue",
    help="An asynchronous job queue for AI image generation. Every job ends, or is held with its reason.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _command in (demo, up, migrate, worker, flower, health, doctor, simulator, download):
    app.command()(_command)
mount(app)


@app.callback()
def _begin(context: typer.Context) -> None:
    context.obj = session()


def main() -> None:
    """Run the command; what is wrong around us is one line and exit code 1, never a traceback."""
    try:
        app()
    except (StackError, SettingsError, DatabaseUnavailableError, SchemaError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
        sys.exit(ExitCode.BROKEN)
    except KeyboardInterrupt:
        sys.exit(130)
