"""`genqueue pause ACCOUNT` and `resume ACCOUNT`: stop and start paid calls by hand."""

from typing import Annotated, Any, Final

import typer

from producer.cli.session import ExitCode, client, errors, fail
from producer.cli.tables import show_cells, show_sentence
from producer.client import AfterRestoreError, Client
from shared.notes import counted

Account = Annotated[str, typer.Argument(help="the account's name, such as bloom")]


def pause(
    context: typer.Context,
    account: Account,
    reason: Annotated[str, typer.Option(help="shown to whoever asks why")] = "paused by hand",
) -> None:
    """Stop paid calls of an account; what is already bought is still collected.

    Example: genqueue pause bloom --reason 'invoice in dispute'
    """
    with client(context) as opened:
        _require(account, [str(row["name"]) for row in opened.accounts()])
        done = opened.pause(account, "".join(filter(str.isprintable, " ".join(reason.split()))))
    errors().print(f"{account} is paused" if done else f"{account} was already paused")


def resume(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="the account's name, such as bloom")] = "",
    after_restore: Annotated[
        bool, typer.Option("--after-restore", help="end the pause of all accounts after the database lost rows")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Let paid calls of an account start again.

    If the database was restored and lacks rows, --after-restore shows what
    may have been bought in the missing time, and ends the pause.

    Example: genqueue resume bloom
    """
    if bool(account) == after_restore:
        fail("name one account, or say --after-restore", ExitCode.WRONG_INPUT)
    with client(context) as opened:
        if after_restore:
            _after_restore(opened, yes=yes)
            return
        paused = {str(row["name"]): row["paused_at"] is not None for row in opened.accounts()}
        _require(account, list(paused))
        try:
            opened.resume(account)
        except AfterRestoreError as error:
            fail(str(error), ExitCode.WRONG_INPUT)
    errors().print(f"{account} takes jobs again" if paused[account] else f"{account} was not paused")


def _after_restore(opened: Client, *, yes: bool) -> None:
    """Show what the database lacks and how far that is known; ask, and end it."""
    restored = opened.restoration()
    if restored is None:
        errors().print("the database lacks nothing that workers have noted: no pause to end")
        return
    show_sentence(restored.loss.words)
    show_cells(("account", "purchases of that time", "jobs that may be bought again"), map(_row, restored.accounts))
    show_sentence(_ADVICE)
    if not yes and not typer.confirm("let all accounts pay again?", err=True):
        raise typer.Exit(ExitCode.WRONG_INPUT)
    errors().print(
        f"{counted(opened.resume_after_restore(), 'account takes', 'accounts take')} jobs again, one call at first"
    )


_ADVICE: Final = (
    "`genqueue unowned` lists what was found. OpenRouter and getimg.ai show no list. A job that waits here, also one "
    "on hold, may have been bought in the missing time: compare with the provider's own history and with the bucket, "
    "and cancel what you have already."
)


def _row(row: dict[str, Any]) -> tuple[str, str, str]:
    until = f"; searched until {row['swept_until']:%H:%M:%S}" if row["swept_until"] else "; no list searched yet"
    found = f"{row['unowned']} unowned{'' if row['searched'] else until}"
    return str(row["account"]), found, "some wait" if row["waiting"] else "none waits"


def _require(account: str, known: list[str]) -> None:
    if account not in known:
        fail(f"no account {account!r}; known: {', '.join(known) or 'none yet'}", ExitCode.WRONG_INPUT)
