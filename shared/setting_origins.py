"""Where each setting came from and how it was written there; what `genqueue doctor` shows, without a secret in it."""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from shared import catalog, trial

PREFIX: Final = "GENQUEUE_"
FILE: Final = "genqueue.toml"
ENVIRONMENT: Final = "environment"
DEFAULT: Final = "default"
TRIAL: Final = "trial"
_STARS: Final = "**********"
_ACCOUNT_PATH: Final = 3  # accounts, name, field


class SettingOrigin(NamedTuple):
    """One setting as it is in force: `shown` masks secrets, `origin` is where from."""

    name: str
    shown: str
    origin: str
    description: str


class UnknownVariable(NamedTuple):
    """A `GENQUEUE_...` variable that no setting reads, and the one that was probably meant."""

    name: str
    meant: str | None


def origins(settings: BaseSettings) -> list[SettingOrigin]:
    """Return every setting in the order of its declaration, then those of each account, by name."""
    found = []
    for path, value, field in _fields(settings):
        name, origin = written_as(path)
        found.append(SettingOrigin(name, _shown(value), origin, field.description or ""))
    return found


def unknown_variables(settings: BaseSettings) -> list[UnknownVariable]:
    """Return the variables of the environment that look like ours but set nothing, such as `GENQUEUE_BLOM_API_KEY`."""
    fields = type(settings).model_fields
    (_, account) = get_args(fields["accounts"].annotation)
    known = [f"{PREFIX}{name}".upper() for name in fields]
    for provider in catalog.names():
        known += [name for field in account.model_fields if (name := shorthand_name(provider, field))]
    ours = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    # A wrong field of an account is refused when settings are loaded.
    unknown = [
        name for name in ours if name.upper() not in known and not name.upper().startswith(f"{PREFIX}ACCOUNTS__")
    ]
    return [UnknownVariable(name, _closest(name.upper(), known)) for name in unknown]


def shorthand_name(account: str, field: str) -> str | None:
    """Return `GENQUEUE_BLOOM_API_KEY` for account `bloom` and `api_key`; None where there is no such shorthand."""
    if account not in catalog.names() or field == "provider":
        return None
    return f"{PREFIX}{account}_{field}".upper()


def written_as(path: Sequence[str | int]) -> tuple[str, str]:
    """Return the name of the setting at `path` where it was given, and its origin; without one, its variable's name.

    `path` is ("tick_seconds",) or ("accounts", "bloom", "limits"); what follows is ignored.
    """
    parts = [str(part) for part in path[: _ACCOUNT_PATH if path[:1] == ("accounts",) else 1]]
    names = [PREFIX + "__".join(parts).upper()]
    if len(parts) == _ACCOUNT_PATH and (short := shorthand_name(parts[1], parts[2])):
        names.append(short)  # the long form wins where both are set
    if parts[:1] and parts[0] in trial.OWN and trial.in_force():
        return names[-1], TRIAL
    environ = {name.upper(): value for name, value in os.environ.items() if value}
    for name in names:
        if name in environ:
            return name, ENVIRONMENT
    for length in range(1, len(parts)):  # an account, or all of them, may be given as one JSON object
        name = PREFIX + "__".join(parts[:length]).upper()
        if _holds(_json(environ.get(name, "")), parts[length:]):
            return names[0], ENVIRONMENT
    if _holds(_file(), parts):
        return f"{'.'.join(parts)} in {FILE}", FILE
    return names[-1], DEFAULT


def _closest(name: str, known: Sequence[str]) -> str | None:
    """Compare what follows the prefix that all have in common."""
    ends = {each.removeprefix(PREFIX): each for each in known}
    return next((ends[end] for end in difflib.get_close_matches(name.removeprefix(PREFIX), list(ends), 1)), None)


def _fields(settings: BaseSettings) -> Iterator[tuple[tuple[str, ...], Any, FieldInfo]]:
    for name, field in type(settings).model_fields.items():
        if name != "accounts":
            yield (name,), getattr(settings, name), field
    accounts: dict[str, BaseModel] = getattr(settings, "accounts", {})
    for account, values in sorted(accounts.items()):
        for name, field in type(values).model_fields.items():
            yield ("accounts", account, name), getattr(values, name), field


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return _without_password(secret) if "://" in secret else (_STARS if secret else "")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else _without_password(str(value))


def _without_password(text: str) -> str:
    """Return a URL with its password masked and its query cut off, other text as it is."""
    if "://" not in text:
        return text
    try:
        url = urlsplit(text)
    except ValueError:
        return _STARS
    user, at, host = url.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = f"?{_STARS}" if url.query or url.fragment else ""
    return f"{url.scheme}://{name}{colon}{_STARS if colon else ''}{at}{host}{url.path}{query}"


def _holds(tree: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _file() -> Any:
    try:
        return tomllib.loads(Path(FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
