"""A trial's surroundings: its own home, its own servers, and only the simulator's accounts."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ops.stack import Home, StackError
from shared import catalog, trial
from shared.setting_origins import DEFAULT, PREFIX, written_as
from shared.settings import Settings, load

_DIRECTORY: Final = "trial"
_SERVERS: Final = ("database_url", "broker_url", "s3_endpoint_url", "s3_bucket")
_ELSEWHERE: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
# These would mix with the emulator's own keys, and the emulator needs none of them.
_CREDENTIALS: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")


def home_beside(real: Home) -> Home:
    """Return the home of the trial that belongs to a real home."""
    return Home(real.path / _DIRECTORY)


def is_trials(home: Home) -> bool:
    """Tell whether a home is a trial's: no real work may run in it."""
    return (home.path / trial.FILE).exists()


def prepare(settings: Settings) -> list[str]:
    """Set aside every configured account and return their names, for this process and its children.

    Raises `StackError` if a setting leads to a database, broker or bucket that is not the trial's own.
    """
    named = [written_as((name,)) for name in _SERVERS]
    wrong = [name for name, origin in named if origin != DEFAULT] + [n for n in _ELSEWHERE if os.environ.get(n)]
    if wrong:
        raise StackError(
            f"a trial uses its own servers, but {', '.join(wrong)} leads elsewhere: unset it, or do not run a trial"
        )
    for name in list(os.environ):
        if name in _CREDENTIALS or _names_an_account(name.upper()):
            del os.environ[name]
    return sorted(settings.accounts)


def enter(home: Home, simulator_url: str = "", accounts: Mapping[str, Any] | None = None) -> None:
    """Make this process, and its children, part of the trial in `home`; accounts None = those of its last run."""
    home.create()
    file = home.path / trial.FILE
    if accounts is not None or not file.exists():
        home.directory("spool")
        home.write(trial.FILE, _document(home.path, simulator_url, accounts or {}, near="127.0.0.1"))
    os.environ[trial.VARIABLE] = str(file)
    load()  # reports a damaged file


def write_for_containers(file: Path, home: Path, simulator_url: str, accounts: Mapping[str, Any]) -> None:
    """Write the trial's file for containers that reach the simulator at `simulator_url`; `home` is a path inside them.

    Every user may read it: it holds no secret, and commands run as whoever asks. Raises `OSError`.
    """
    draft = file.with_suffix(".new")
    draft.write_text(_document(home, simulator_url, accounts, near=urlsplit(simulator_url).hostname or ""), "utf-8")
    draft.chmod(0o644)
    draft.replace(file)


def leave() -> None:
    """End this process's part in a trial."""
    for name in [name for name in os.environ if name.upper() == trial.VARIABLE]:
        del os.environ[name]


def _document(home: Path, simulator_url: str, accounts: Mapping[str, Any], *, near: str) -> str:
    settings = {
        "accounts": accounts,
        "allow_private_urls": near,
        "home": str(home),
        "spool_dir": str(home / "spool"),
    }
    return json.dumps({"simulator_url": simulator_url, "settings": settings}, indent=2) + "\n"


def accounts_of(simulated: Mapping[str, str]) -> dict[str, Any]:
    """Return the accounts that variables configure."""
    found: dict[str, Any] = Settings.shorthand(Settings)(dict(simulated))["accounts"]  # type: ignore[call-arg]
    return found


def _names_an_account(name: str) -> bool:
    prefixes = [f"{PREFIX}{provider}_".upper() for provider in catalog.names()]
    return name == f"{PREFIX}ACCOUNTS" or name.startswith((f"{PREFIX}ACCOUNTS__", *prefixes))
