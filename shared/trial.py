"""A trial: its processes take every account from one file that names simulated ones only, whatever else is configured.

`GENQUEUE_TRIAL` names that file. `genqueue` sets the variable for the processes of a trial; a person never does.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

VARIABLE: Final = "GENQUEUE_TRIAL"
FILE: Final = "trial.json"
OWN: Final = frozenset({"accounts", "allow_private_urls", "home", "spool_dir"})
"""The settings that a trial takes from its file alone."""
# This machine, or a container of the same private network: a name without a dot is no provider's.
_NEIGHBOUR: Final = re.compile(r"127\.0\.0\.1|[a-z][a-z0-9-]*")


class TrialError(Exception):
    """The trial's file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the file says: where the simulator listens (empty while none runs), and the settings of the trial."""

    simulator_url: str
    settings: dict[str, Any]

    def owns(self, base_url: str) -> bool:
        """Tell whether a base URL leads to this trial's simulator, on this machine or in its own private network."""
        if not self.simulator_url:
            return False
        here, there = urlsplit(self.simulator_url), urlsplit(base_url)
        near = _NEIGHBOUR.fullmatch(here.hostname or "")
        return near is not None and (here.scheme, here.netloc) == (there.scheme, there.netloc)


def in_force() -> Path | None:
    """Return the trial's file if this process belongs to a trial; the variable's case is of no account."""
    return next((Path(value) for name, value in os.environ.items() if name.upper() == VARIABLE and value), None)


def read(file: Path) -> Trial:
    """Read a trial's file. Raises `TrialError`, also where an account of it does not speak to its simulator."""
    try:
        document = json.loads(file.read_text("utf-8"))
        found = Trial(document["simulator_url"], document["settings"])
        accounts = found.settings["accounts"]
        strangers = [name for name, account in accounts.items() if not found.owns(account["base_url"])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise TrialError(f"{VARIABLE} names no file of a trial ({type(error).__name__}): unset {VARIABLE}") from None
    if set(found.settings) != OWN or strangers:
        raise TrialError(f"{VARIABLE} names a file that genqueue did not write: unset {VARIABLE}")
    return found


class TrialSource(PydanticBaseSettingsSource):
    """The settings in a trial's file; it goes before environment and `genqueue.toml`."""

    def __init__(self, settings_cls: type[BaseSettings], file: Path) -> None:
        super().__init__(settings_cls)
        self._file = file

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - fixed by pydantic-settings
        """Return nothing: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the settings. Raises `TrialError`."""
        return read(self._file).settings


class TomlWithoutAccounts(TomlConfigSettingsSource):
    """`genqueue.toml` without what a trial takes from its own file."""

    def __call__(self) -> dict[str, Any]:
        """Return what is left."""
        return _others(super().__call__())


class EnvironmentWithoutAccounts(PydanticBaseSettingsSource):
    """The environment without what a trial takes from its own file."""

    def __init__(self, environment: PydanticBaseSettingsSource) -> None:
        super().__init__(environment.settings_cls)
        self._environment = environment

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Ask the environment."""
        return self._environment.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """Return what is left."""
        return _others(self._environment())


def _others(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OWN}
