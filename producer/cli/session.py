"""How a command reaches the queue, and how it says what is wrong."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from typing import NoReturn, Protocol

import typer
from rich.console import Console
from rich.markup import escape

from producer.client import Client, InvalidRowsError, NoSuchBatchError, NoSuchJobError
from producer.money import CapError
from producer.prompts import PromptFileError
from shared.db.engine import DatabaseUnavailableError
from shared.db.enqueue import EnqueueConflictError
from shared.db.resolve import NotHeldError
from shared.db.schema import SchemaError
from shared.settings import SettingsError

_FAULTS_SHOWN = 50


class ExitCode(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    BROKEN = 1
    """Something of ours or around us is broken."""
    WRONG_INPUT = 2
    """The input is wrong; nothing was enqueued."""
    INCOMPLETE = 3
    """Finished, but some jobs failed, were cancelled or are held."""
    INTERRUPTED = 130
    """Ctrl-C ended the waiting; the batch goes on."""


class Door(Protocol):
    """What the `genqueue` command hands to each of its commands: a way to open a client."""

    def open(self) -> AbstractContextManager[Client]:
        """Open one; raises what finding the servers raises."""
        ...


def errors() -> Console:
    """Return the console of messages: standard error, so that output can be piped."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Say one clear line and end the command."""
    errors().print(f"[red]error:[/red] {escape(message)}")
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
    except (PromptFileError, CapError, EnqueueConflictError, NoSuchBatchError, NoSuchJobError, NotHeldError) as error:
        fail(str(error), ExitCode.WRONG_INPUT)
    except (SettingsError, DatabaseUnavailableError, SchemaError) as error:
        fail(str(error), ExitCode.BROKEN)


def _tell_faults(error: InvalidRowsError) -> None:
    console = errors()
    for fault in error.faults[:_FAULTS_SHOWN]:
        console.print(f"line {fault.line}, {escape(fault.field)}: {escape(fault.message)}")
    if error.count > _FAULTS_SHOWN:
        console.print(f"... and {error.count - _FAULTS_SHOWN} more")
    console.print(f"[red]error:[/red] {error.count} fault(s); nothing was enqueued")
