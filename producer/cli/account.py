"""`genqueue pause ACCOUNT` and `resume ACCOUNT`: stop and start paid calls by hand."""

from typing import Annotated

import typer

from producer.cli.session import ExitCode, client, errors, fail

Account = Annotated[str, typer.Argument(help="the account's name, such as bloom")]


def pause(
    context: typer.Context,
    account: Account,
    reason: Annotated[str, typer.Option(help="shown to whoever asks why")] = "paused by hand",
) -> None:
    """Start no paid call of an account; what is bought already is still collected.

    Example: genqueue pause bloom --reason 'invoice in dispute'
    """
    with client(context) as opened:
        _require(account, [str(row["name"]) for row in opened.accounts()])
        done = opened.pause(account, "".join(filter(str.isprintable, " ".join(reason.split()))))
    errors().print(f"{account} is paused" if done else f"{account} was paused already", markup=False)


def resume(context: typer.Context, account: Account) -> None:
    """Let paid calls of an account start again.

    Example: genqueue resume bloom
    """
    with client(context) as opened:
        _require(account, [str(row["name"]) for row in opened.accounts()])
        opened.resume(account)
    errors().print(f"{account} takes jobs again", markup=False)


def _require(account: str, known: list[str]) -> None:
    if account not in known:
        fail(f"no account {account!r}; known: {', '.join(known) or 'none yet'}", ExitCode.WRONG_INPUT)
