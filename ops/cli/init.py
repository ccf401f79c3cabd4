"""`genqueue init`: asks for a provider and its key, checks the key, and writes them to genqueue.toml."""

import json
import os
import re
import sys
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import httpx
import typer
from pydantic import ValidationError

from producer.cli.session import ExitCode, errors, fail, told
from producer.cli.terminal import visible
from shared import catalog
from shared.account_settings import AccountSettings
from shared.catalog import Provider
from shared.setting_origins import FILE
from shared.settings import Settings, load
from worker.providers.contract import AccountFacts, Refused
from worker.served_accounts import serve_accounts

_PRIVATE: Final = 0o600
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML takes as a key without quotes."""


def init(
    provider: Annotated[str | None, typer.Option(help="which provider; asked for if it is missing")] = None,
    account: Annotated[str | None, typer.Option(help="a name for this key; default: the provider's name")] = None,
    daily_cap: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="the most to spend in a day, in the provider's unit")
    ] = None,
    brand: Annotated[str | None, typer.Option(help="Bloom: the brand for rows that name none")] = None,
    base_url: Annotated[str | None, typer.Option(help="another server that speaks for the provider")] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="ask the provider whether it knows the key")] = True,
) -> None:
    """Add an account: ask for a provider and its API key, check the key, and write both to genqueue.toml.

    The key is typed without being shown, or read from standard input. It costs
    nothing to check it. Only you can read the file; keep it out of version
    control. Run it again to add another account.

    Example: genqueue init --provider openrouter --daily-cap 5
    """
    with told():
        present = load()
    chosen = _provider(provider)
    name = account or chosen.name
    if name in present.accounts:
        fail(f"there is an account {name} already: choose another name with --account", ExitCode.WRONG_INPUT)
    given = {"provider": chosen.name, "api_key": _key(chosen), "base_url": base_url, "brand_session_id": brand}
    table = {key: value for key, value in {**given, "daily_cap": daily_cap}.items() if value}
    try:
        settings = AccountSettings.model_validate(table)
    except ValidationError as error:
        fail(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}", ExitCode.WRONG_INPUT)
    if check:
        _tell(chosen, _asked(present, name, settings))
    _write(Path(FILE), name, table, named_as_provider=name == chosen.name)
    errors().print(f"account {name} is in {FILE}; now: genqueue up")


def _provider(given: str | None) -> Provider:
    if given is None:
        if not sys.stdin.isatty():
            fail("nobody can be asked here: name the provider with --provider", ExitCode.WRONG_INPUT)
        for each in map(catalog.get, catalog.names()):
            errors().print(visible(f"  {each.name:<16} {each.title}; a key: {each.key_help_url}"))
        given = typer.prompt("provider", err=True)
    try:
        return catalog.get(str(given).strip().lower())
    except catalog.UnknownProviderError as error:
        near = get_close_matches(str(given).lower(), catalog.names(), n=1)
        fail(str(error) + (f"; did you mean {near[0]}?" if near else ""), ExitCode.WRONG_INPUT)


def _key(provider: Provider) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"API key of {provider.title} (not shown)", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip() or fail("standard input has no key", ExitCode.WRONG_INPUT)


def _asked(present: Settings, name: str, settings: AccountSettings) -> AccountFacts | Refused:
    """Ask the provider about the account; free of charge."""
    with told():
        alone = present.model_copy(update={"accounts": {name: settings}, "trial": None})
        served = serve_accounts(alone, httpx.create_ssl_context())[name]

    async def ask() -> AccountFacts | Refused:
        try:
            return await served.wire.account()
        finally:
            await served.get.close()

    return anyio.run(ask)


def _tell(provider: Provider, answer: AccountFacts | Refused) -> None:
    """Say what the provider says of the account; end the command if it does not accept the key."""
    if isinstance(answer, Refused):
        link = f" ({answer.action_url or provider.key_help_url})"
        fail(
            f"{provider.title}: {answer.message}{link}; nothing was written. --no-check writes it all the same",
            ExitCode.BROKEN,
        )
    left = "" if answer.balance is None else f", {_plain(answer.balance)} {provider.unit} left"
    errors().print(visible(f"{provider.title} accepts the key{left}"))
    for note in answer.notes:
        errors().print(visible(f"  {note}"))


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _write(path: Path, name: str, table: dict[str, Any], *, named_as_provider: bool) -> None:
    """Add the account to the file, which only its owner can read; the old content stays as it is."""
    shown = {field: value for field, value in table.items() if not (named_as_provider and field == "provider")}
    lines = [
        f"[accounts.{name if _BARE.fullmatch(name) else json.dumps(name)}]",
        *(f"{key} = {json.dumps(value)}" for key, value in shown.items()),
    ]
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        new = path.with_name(path.name + ".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(before.rstrip() + "\n\n" * bool(before.strip()) + "\n".join(lines) + "\n")
        new.replace(path)
    except OSError as error:
        fail(f"{path}: {error.strerror}", ExitCode.BROKEN)
