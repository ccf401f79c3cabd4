"""How a command reaches the queue, and how it reports faults."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from typing import NoReturn, Protocol

import typer
from rich.text import Text

from producer.cli.terminal import Terminal, styled, visible
from producer.client import Client, InvalidRowsError, NoSuchBatchError, NoSuchJobError
from producer.money import CapError
from producer.prompts import PromptFileError
from shared.db.engine import DatabaseUnavailableError
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.jobs.resolve import NotHeldError
from shared.db.purpose import PurposeError
from shared.db.schema import SchemaError
from shared.db.tokens import NoSuchTokenError
from shared.db.webhooks.endpoints import NoSuchEndpointError
from shared.notes import counted
from shared.prompt_rows.ways import COMMAND_LINE
from shared.settings import SettingsError

_FAULTS_SHOWN = 50
_LINES_NAMED = 3
_WRONG_INPUT = (
    PromptFileError,
    CapError,
    NoSuchBatchError,
    NoSuchJobError,
    NoSuchEndpointError,
    NoSuchTokenError,
    NotHeldError,
)


class ExitCode(IntEnum):
    """The meanings of a command's exit codes."""

    DONE = 0
    BROKEN = 1
    """The queue or its surroundings are broken."""
    WRONG_INPUT = 2
    """The input is wrong; nothing was enqueued."""
    INCOMPLETE = 3
    """Finished, but some jobs failed, were cancelled or are held."""
    INTERRUPTED = 130
    """Ctrl-C ended the wait; the batch goes on."""


class Door(Protocol):
    """How each command opens a client; the `genqueue` command passes it on."""

    def open(self) -> AbstractContextManager[Client]:
        """Open a client; raises what the search for servers raises."""
        ...


def errors() -> Terminal:
    """Return the console of messages: standard error, so that output can be piped."""
    return Terminal(stderr=True, soft_wrap=True)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print one clear line and end the command."""
    errors().print(_error(message))
    raise typer.Exit(code)


@contextmanager
def client(context: typer.Context) -> Iterator[Client]:
    """Open a client for a command; every foreseeable fault becomes one line and an exit code."""
    with told():
        door: Door = context.obj
        with door.open() as opened:
            yield opened


@contextmanager
def told() -> Iterator[None]:
    """Turn every foreseeable fault into one line and an exit code."""
    try:
        yield
    except InvalidRowsError as error:
        _tell_faults(error)
        raise typer.Exit(ExitCode.WRONG_INPUT) from None
    except EnqueueConflictError as error:
        fail(error.told(COMMAND_LINE), ExitCode.WRONG_INPUT)
    except _WRONG_INPUT as error:
        fail(str(error), ExitCode.WRONG_INPUT)
    except (SettingsError, DatabaseUnavailableError, SchemaError, PurposeError) as error:
        fail(str(error), ExitCode.BROKEN)


def _tell_faults(error: InvalidRowsError) -> None:
    """Print each fault once with its lines: what is wrong with a column is wrong in every row."""
    console = errors()
    lines: dict[tuple[str, str], list[str]] = {}
    for fault in error.faults:
        row = f" ({fault.row})" if fault.row else ""
        lines.setdefault((fault.field, fault.message), []).append(f"{fault.line}{row}")
    for (field, message), where in list(lines.items())[:_FAULTS_SHOWN]:
        # What is wrong with a whole row has no field, and "row" would read as the name of a column.
        at = "" if field == "row" else f", {field}"
        console.print(visible(f"{_where(where)}{at}: {message}"))
    shown = sum(map(len, list(lines.values())[:_FAULTS_SHOWN]))
    if error.count > shown:
        console.print(f"... and {error.count - shown:,} more")
    console.print(_error(f"{counted(error.count, 'fault')}; nothing was enqueued"))


def _where(lines: Sequence[str]) -> str:
    """Name up to three lines and the number of the others."""
    named = ", ".join(lines[:_LINES_NAMED])
    more = f" and {len(lines) - _LINES_NAMED:,} more" if len(lines) > _LINES_NAMED else ""
    return f"line {named}" if len(lines) == 1 else f"lines {named}{more}"


def _error(message: str) -> Text:
    return Text.assemble(styled("error:", "red"), " ", visible(message))
