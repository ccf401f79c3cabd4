"""The `genqueue` command: the producer's commands, and those that run the queue itself.

A command's module is imported only when that command runs. A person who lists batches must not wait for a worker's
libraries.
"""

import gc
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ops.cli import overview, streams, which

_COMMANDS: Final = {
    "demo": "ops.cli.demo",
    "init": "ops.cli.init",
    "up": "ops.cli.up",
    "plan": "producer.cli.plan",
    "enqueue": "producer.cli.enqueue",
    "watch": "producer.cli.watch",
    "batches": "producer.cli.batches",
    "jobs": "producer.cli.jobs",
    "explain": "producer.cli.explain",
    "status": "producer.cli.status",
    "images": "producer.cli.images",
    "results": "producer.cli.results",
    "download": "ops.cli.download",
    "gallery": "ops.cli.gallery",
    "bucket": "ops.cli.bucket",
    "restored": "ops.cli.restored",
    "bill": "producer.cli.bill",
    "audit": "producer.cli.audit",
    "unowned": "producer.cli.unowned",
    "retry": "producer.cli.retry",
    "accept": "producer.cli.accept",
    "resolve": "producer.cli.resolve",
    "look-again": "producer.cli.look_again",
    "cancel": "producer.cli.cancel",
    "cap": "producer.cli.cap",
    "policy": "producer.cli.policy",
    "hold": "producer.cli.steering",
    "release": "producer.cli.steering",
    "priority": "producer.cli.steering",
    "deadline": "producer.cli.steering",
    "prune": "producer.cli.prune",
    "erase": "producer.cli.erase",
    "pause": "producer.cli.account",
    "resume": "producer.cli.account",
    "token": "producer.cli.token",
    "webhook": "producer.cli.webhook",
    "celery-door": "producer.cli.celery_door",
    "providers": "producer.cli.providers",
    "doctor": "ops.cli.doctor",
    "env": "ops.cli.env",
    "api": "ops.cli.api",
    "worker": "ops.cli.worker",
    "migrate": "ops.cli.migrate",
    "health": "ops.cli.health",
    "metrics": "ops.cli.metrics",
    "flower": "ops.cli.flower",
    "dashboard": "ops.cli.dashboard",
    "simulator": "ops.cli.simulator",
}
_OLD_NAMES: Final = {"strays": "unowned"}
"""Old names of commands; they still work."""
_ALONE: Final = frozenset({"bucket", "demo", "init", "up", "providers", "simulator"})
"""The commands that connect to no stack."""
WITH_PARTS: Final = frozenset({"demo", "up", "env", "simulator"})
"""The commands that need the simulator or the embedded servers, which the production image leaves out."""


_HELP_WIDTH: Final = 100
_USAGE: Final = """Usage: genqueue [--trial | --real] COMMAND [ARGUMENTS]

An asynchronous job queue for AI image generation. Every job ends, or is held
with its reason. `genqueue COMMAND --help` explains a command, with an example."""
_OPTIONS: Final = """
Options:
  --trial, --real       use the trial, or the real queue, if both run here
  --version             print the version
  --install-completion  let your shell complete commands and options
  --help                show this"""


class _Commands(TyperGroup):
    """Finds a command by its name, and imports it only then."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - fixed by click
        return offered()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - fixed by click
        """Print the commands in groups, without importing them: a list must not take two seconds."""
        width = min(shutil.get_terminal_size().columns, _HELP_WIDTH)
        typer.echo(_USAGE)
        for line in overview.lines(_COMMANDS, offered(), width):
            typer.echo(line)
        typer.echo(_OPTIONS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of these arguments; for an unknown one, name those that are near."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            question = overview.near(args[0], offered())
            ctx.fail(f"There is no command {args[0]!r}.{question}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        cmd_name = _OLD_NAMES.get(cmd_name, cmd_name)
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in WITH_PARTS and not _has_parts():
            ctx.fail(f"`genqueue {cmd_name}` is not part of this image: build the target `trial` of ops/Dockerfile")
        return _with_option(cmd_name, _made(cmd_name))


def _made(name: str) -> Any:
    """Return a command, or a group of commands where its module has one under that name."""
    with _without_collector():
        found = getattr(import_module(_COMMANDS[name]), name.replace("-", "_"))
    if isinstance(found, typer.Typer):
        return get_command(found)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    single.command(name)(found)
    return get_command(single)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Import without looking for garbage: there is none, and looking took an eighth of a command's start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _with_option(name: str, command: Any) -> Any:
    """Let a command that connects to a stack take `--trial` or `--real`."""
    if name not in _ALONE:
        for one in getattr(command, "commands", {"": command}).values():
            one.params.append(which.option())
    return command


def offered() -> list[str]:
    """Return the commands whose parts are here."""
    return [name for name in _COMMANDS if name not in WITH_PARTS or _has_parts()]


def _has_parts() -> bool:
    return find_spec("ops.simulator") is not None


app = typer.Typer(
    name="genqueue",
    cls=_Commands,
    help="An asynchronous job queue for AI image generation. Every job ends, or is held with its reason.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class _Door:
    """Opens a client for the producer's commands, and imports what it needs only then."""

    @staticmethod
    def open() -> AbstractContextManager[Any]:
        from ops.cli.join import open_client  # noqa: PLC0415 - see the module's docstring

        return open_client()


def _print_version(wanted: bool) -> None:
    if wanted:
        from ops.version import own_version  # noqa: PLC0415 - see the module's docstring

        typer.echo(f"genqueue {own_version()}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    trial: Annotated[
        bool | None,
        typer.Option("--trial/--real", help=which.HELP, show_default=False),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    which.note(trial=trial)
    context.obj = _Door()


def main() -> None:
    """Run the command. A fault of the surroundings is one line and exit code 1, never a traceback."""
    streams.make_safe()
    try:
        app()
    except SystemExit:
        if problem := streams.end_of_output():
            _end(problem)
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if streams.cannot_write(error):
            streams.end_of_output()
            _end(f"standard output: {error.strerror}")  # type: ignore[attr-defined]
        if not _is_foreseen(error):
            raise
        _end(str(error))


def _end(problem: str) -> NoReturn:
    sys.stderr.write(f"error: {problem}\n")
    sys.exit(1)


def _is_foreseen(error: Exception) -> bool:
    """Tell whether the error's message is written for its reader."""
    from ops.stack import StackError  # noqa: PLC0415 - only where something went wrong
    from shared.db.engine import DatabaseUnavailableError  # noqa: PLC0415 - the same
    from shared.db.purpose import PurposeError  # noqa: PLC0415 - the same
    from shared.db.schema import SchemaError  # noqa: PLC0415 - the same
    from shared.settings import SettingsError  # noqa: PLC0415 - the same

    return isinstance(error, (StackError, SettingsError, DatabaseUnavailableError, SchemaError, PurposeError))
