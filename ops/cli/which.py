"""The options `--trial` and `--real`, before or after a command's name: they choose a stack of this directory."""

from typing import Annotated, Any, Final, Literal

import typer
from typer.main import get_command

Side = Literal["trial", "real"]
HELP: Final = "the trial's stack, or the real one; default: the one that runs"
_ASKED: list[Side] = []


def note(*, trial: bool | None) -> None:
    """Store the person's choice; None = no choice."""
    _ASKED[:] = [] if trial is None else ["trial" if trial else "real"]


def asked() -> Side | None:
    """Return the person's choice."""
    return _ASKED[0] if _ASKED else None


def option() -> Any:
    """Return the option so that any command can add it to its own."""
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_carry)
    return get_command(carrier).params[0]


def _noted(value: bool | None) -> None:
    if value is not None:
        note(trial=value)


def _carry(
    _trial: Annotated[
        bool | None,
        typer.Option("--trial/--real", help=HELP, show_default=False, expose_value=False, callback=_noted),
    ] = None,
) -> None:
    """Carry the option."""
