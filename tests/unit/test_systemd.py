"""The units for systemd: they start commands that exist, and stop a worker no sooner than it ends by itself."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from ops.cli import offered
from shared.settings import Settings


def unit(repository: Path, name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # the names of systemd have capitals
    parser.read(repository / "ops" / "systemd" / name)
    return parser


def test_a_worker_has_longer_to_stop_than_it_takes_and_is_started_again(repository: Path) -> None:
    service = unit(repository, "genqueue-worker@.service")["Service"]
    assert float(service["TimeoutStopSec"]) > Settings.model_fields["stop_seconds"].default
    assert (service["Restart"], service["KillSignal"]) == ("always", "SIGTERM")
    assert service["Environment"] == f"GENQUEUE_SPOOL_DIR=/var/lib/{service['StateDirectory']}/spool"


@pytest.mark.parametrize("name", ["genqueue-worker@.service", "genqueue@.service"])
def test_a_unit_runs_as_nobody_special_and_never_gives_up(name: str, repository: Path) -> None:
    found = unit(repository, name)
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Service"]["User"] == "genqueue"
    assert found["Service"]["NoNewPrivileges"] == "yes"


def test_the_commands_of_the_units_exist(repository: Path) -> None:
    text = (repository / "ops" / "systemd" / "genqueue@.service").read_text().splitlines()[0]
    servers = {word.removeprefix("genqueue@") for word in text.split() if word.startswith("genqueue@")}
    assert servers == {"api", "dashboard", "metrics"}
    assert servers | {"worker"} <= set(offered())
