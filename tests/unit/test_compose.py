"""The production shape keeps its promises as far as a file can: nobody gets in, and nothing paid for is cut off."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import catalog
from shared.lifecycle import Stage
from shared.settings import Settings, load
from worker.leases import leases

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
TRIAL_FILE = ROOT / "ops/compose.trial.yml"
PRODUCERS_FILE = ROOT / "ops/compose.producers.yml"
LONG_RUNNING = sorted(name for name, service in SERVICES.items() if service.get("restart") != "no")


class _Merging(yaml.SafeLoader):
    """Reads what Compose merges by tags of its own as the plain value behind the tag."""


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


for tag in ("!override", "!reset"):
    _Merging.add_constructor(tag, _plain)
TRIAL: dict[str, dict[str, Any]] = yaml.load(TRIAL_FILE.read_text(), Loader=_Merging)["services"]  # noqa: S506 - ours
_GIVEN = "given" * 8  # as long as the key of webhooks must be
INTERPOLATED = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
SECONDS = {"s": 1, "m": 60}


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([sm])", duration)
    assert found, duration
    return int(found[1]) * SECONDS[found[2]]


def interpolated(text: str) -> dict[str, set[str]]:
    """Return each variable that the text asks for, with what it says where the variable is missing."""
    found: dict[str, set[str]] = {}
    for name, otherwise in INTERPOLATED.findall(text):
        found.setdefault(name, set()).add(otherwise)
    return found


def filled_in(text: str) -> str:
    return INTERPOLATED.sub(lambda found: found[2].removeprefix(":-") if found[2].startswith(":-") else _GIVEN, text)


@pytest.mark.parametrize("file", [FILE, TRIAL_FILE, PRODUCERS_FILE, ROOT / "tests/compose/upgrade.yml"])
def test_a_file_is_valid_by_the_compose_specification(file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(yaml.load(file.read_text(), Loader=_Merging)))  # noqa: S506 - it makes no objects
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(plain)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_port_is_published_beyond_loopback() -> None:
    producers = yaml.safe_load(PRODUCERS_FILE.read_text())["services"]
    services = [*SERVICES.values(), *TRIAL.values(), *producers.values()]
    published = [port for service in services for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_every_password_must_be_given_and_none_stands_in_the_file() -> None:
    asked = interpolated(FILE.read_text())
    secret = {name: otherwise for name, otherwise in asked.items() if re.search("PASSWORD|AUTH|SECRET|KEY", name)}
    # The keys of AWS may come from the machine's role instead, and an installation may have no webhooks; neither has a
    # default.
    may_lack = {name for name in secret if name.startswith("AWS_")} | {"GENQUEUE_WEBHOOK_KEY"}
    own = {name: otherwise for name, otherwise in secret.items() if name not in may_lack}
    assert set(own) == {
        "POSTGRES_PASSWORD",
        "POSTGRES_OWNER_PASSWORD",
        "POSTGRES_WORKER_PASSWORD",
        "REDIS_PASSWORD",
        "FLOWER_BASIC_AUTH",
    }
    assert all(each.startswith(":?set ") for otherwise in own.values() for each in otherwise)
    assert all(secret[name] == {"-"} for name in set(secret) - set(own))
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|AUTH|SECRET|KEY", name) or str(value).startswith("${"), name


def test_the_example_names_every_variable_that_has_to_be_given_and_gives_no_secret() -> None:
    example = dict(
        line.split("=", 1)
        for line in (ROOT / "ops/compose.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    asked = interpolated(FILE.read_text())
    required = {name for name, otherwise in asked.items() if any(each.startswith(":?") for each in otherwise)}
    named = set(example) | set(re.findall(r"^#(\w+)=", (ROOT / "ops/compose.env.example").read_text(), re.MULTILINE))
    assert required <= set(example)
    assert named == set(asked)
    assert {name for name in required if example[name]} == set()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_runs_as_an_ordinary_user_on_a_file_system_that_it_cannot_write(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}
    assert not any(str(volume).startswith(("/", ".", "~")) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_an_init_and_logs_that_cannot_fill_the_disk(name: str) -> None:
    assert SERVICES[name]["init"] is True
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_long_running_service_starts_again_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert seconds(service["healthcheck"]["timeout"]) <= seconds(service["healthcheck"]["interval"])


def test_only_the_servers_are_shut_off_from_outside() -> None:
    networks = yaml.safe_load(FILE.read_text())["networks"]
    assert [name for name, network in networks.items() if network.get("internal")] == ["inside"]
    reaching = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert reaching == {"worker", "api", "dashboard", "metrics", "flower", "cli"}
    assert all("inside" in service["networks"] for service in SERVICES.values())


def test_a_role_is_given_only_what_it_needs() -> None:
    given = {name: set(service.get("environment", {})) for name, service in SERVICES.items()}
    assert {name for name, service in SERVICES.items() if "env_file" in service} == {"worker"}
    database = {name for name, names in given.items() if "GENQUEUE_DATABASE_URL" in names}
    assert database == {"migrate", "worker", "api", "dashboard", "metrics", "cli"}
    assert {name for name, names in given.items() if "GENQUEUE_BROKER_URL" in names} == {"worker", "flower"}
    assert {name for name, names in given.items() if "AWS_SECRET_ACCESS_KEY" in names} == {
        *("worker", "api", "dashboard", "cli")
    }
    assert {name for name, names in given.items() if "GENQUEUE_WEBHOOK_KEY" in names} == {"api"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_cannot_take_the_memory_of_the_others(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])


def test_a_trial_has_a_project_of_its_own_whose_servers_have_no_way_out() -> None:
    document = yaml.load(TRIAL_FILE.read_text(), Loader=_Merging)  # noqa: S506 - it makes no objects
    assert document["name"] != yaml.safe_load(FILE.read_text())["name"]
    assert {name for name, service in TRIAL.items() if service.get("networks") == ["inside"]} == {
        *("simulator", "s3", "worker", "cli")
    }


def test_a_trials_workers_read_no_key_of_anybody_and_take_their_accounts_from_the_simulator() -> None:
    assert TRIAL["worker"]["env_file"] == []
    for name in ("migrate", "worker", "api", "dashboard", "metrics", "cli"):
        assert TRIAL[name]["environment"] == {"GENQUEUE_TRIAL": "/trial/trial.json"}
        assert TRIAL[name]["volumes"] == ["trial:/trial:ro"]
    assert "--trial-file=/trial/trial.json" in TRIAL["simulator"]["command"]


@pytest.mark.parametrize("name", ["simulator", "s3"])
def test_a_server_of_a_trial_is_held_as_the_others_are(name: str) -> None:
    service = TRIAL[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "10001:10001"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["mem_limit"]


def test_a_trials_file_of_variables_gives_all_that_is_asked_for() -> None:
    given = dict(
        line.split("=", 1)
        for line in (ROOT / "ops/compose.trial.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    asked = interpolated(FILE.read_text() + TRIAL_FILE.read_text())
    required = {name for name, otherwise in asked.items() if any(each.startswith(":?") for each in otherwise)}
    assert required <= {name for name, value in given.items() if value}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_setting_that_a_service_is_given_exists_and_is_understood(name: str) -> None:
    given = {
        variable.removeprefix("GENQUEUE_").lower(): filled_in(str(value))
        for variable, value in SERVICES[name].get("environment", {}).items()
        if variable.startswith("GENQUEUE_")
    }
    assert set(given) <= set(Settings.model_fields)
    assert load(**given).home


def test_a_worker_may_finish_the_longest_paid_call_with_its_transfer_before_it_is_killed() -> None:
    settings = Settings()
    transfer = leases(settings)[Stage.TRANSFER]
    call = max(catalog.get(name).timeout_seconds for name in catalog.names())
    longest = settings.send_within_seconds + call + transfer + settings.store_wait_seconds
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > longest


def test_what_has_to_outlive_a_container_lies_on_a_volume() -> None:
    volumes = yaml.safe_load(FILE.read_text())["volumes"]
    assert {name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service} == {
        "postgres": ["postgres:/var/lib/postgresql/data"],
        "redis": ["redis:/data"],
        "worker": [f"spool:{SERVICES['worker']['environment']['GENQUEUE_SPOOL_DIR']}"],
    }
    assert set(volumes) == {"postgres", "redis", "spool"}


def test_the_roles_are_there_before_anything_connects_as_one_of_them() -> None:
    assert SERVICES["roles"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["depends_on"] == {"roles": {"condition": "service_completed_successfully"}}
    known = {name for name, service in SERVICES.items() if "POSTGRES_OWNER_PASSWORD" in service.get("environment", {})}
    assert known == {"roles"}
