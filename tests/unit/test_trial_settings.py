"""In a trial every account comes from the trial's own file, however others are configured."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ops import trial as surroundings
from ops.running import simulated_accounts
from ops.stack import Home, StackError
from shared import catalog, trial
from shared.settings import SettingsError, load
from worker.runtime import open_runtime

SIMULATOR = "http://127.0.0.1:43210"
REAL = "https://real.example"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(trial.VARIABLE, "")  # what a test sets is taken back after it


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home" / "trial")


def enter(home: Home) -> None:
    surroundings.enter(home, SIMULATOR, surroundings.accounts_of(simulated_accounts(SIMULATOR, 20)))


def shorthand() -> dict[str, str]:
    return {f"GENQUEUE_{name.upper()}_API_KEY": "real" for name in catalog.names()}


def nested() -> dict[str, str]:
    found = {f"GENQUEUE_ACCOUNTS__{name.upper()}__BASE_URL": REAL for name in catalog.names()}
    return found | {"GENQUEUE_ACCOUNTS__SECOND__PROVIDER": "getimg", "GENQUEUE_ACCOUNTS__SECOND__API_KEY": "real"}


def as_json() -> dict[str, str]:
    accounts = {"third": {"provider": "bloom", "api_key": "real"}, "bloom": {"base_url": REAL}}
    return {"GENQUEUE_ACCOUNTS": json.dumps(accounts)}


def mixed_case() -> dict[str, str]:
    return {"Genqueue_Accounts__Fourth__Provider": "openrouter", "genqueue_accounts__bloom__base_url": REAL}


def other_doors() -> dict[str, str]:
    return {"GENQUEUE_ALLOW_PRIVATE_URLS": "10.0.0.0/8", "GENQUEUE_SPOOL_DIR": "/real", "GENQUEUE_HOME": "/real"}


TOML = '[accounts.fifth]\nprovider = "getimg"\napi_key = "real"\n[accounts.bloom]\nbase_url = "https://real.example"\n'
WAYS: Any = [shorthand, nested, as_json, mixed_case, other_doors]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("toml", ["", TOML], ids=["no file", "file"])
def test_a_trial_has_the_simulators_accounts_and_no_other(
    home: Home, way: Any, toml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in way().items():
        monkeypatch.setenv(name, value)
    Path("genqueue.toml").write_text(toml)
    enter(home)
    settings = load()
    assert sorted(settings.accounts) == sorted(catalog.names())
    for account in settings.accounts.values():
        assert account.base_url.startswith(f"{SIMULATOR}/")
        assert account.api_key is not None
        assert account.api_key.get_secret_value() == "sim-genqueue"
    assert settings.allow_private_urls == ("127.0.0.1",)
    assert settings.home == home.path
    assert settings.spool_dir == home.path / "spool"


def test_other_settings_keep_their_sources(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENQUEUE_TICK_SECONDS", "7")
    Path("genqueue.toml").write_text("worker_slots = 5\n" + TOML)
    enter(home)
    assert (load().tick_seconds, load().worker_slots) == (7, 5)


@pytest.mark.parametrize(
    "variables",
    [
        {"GENQUEUE_DATABASE_URL": "postgresql://real"},
        {"genqueue_broker_url": "redis://real"},
        {"GENQUEUE_S3_ENDPOINT_URL": REAL},
        {"GENQUEUE_S3_BUCKET": "real"},
        {"AWS_ENDPOINT_URL_S3": REAL},
        {"AWS_ENDPOINT_URL": REAL},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_trial_refuses_servers_of_others_and_names_the_variable(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match=f"(?i){next(iter(variables))}"):
        surroundings.prepare(load())


@pytest.mark.parametrize("name", ["database_url", "broker_url", "s3_endpoint_url", "s3_bucket"])
def test_a_trial_refuses_servers_of_others_in_the_file(name: str) -> None:
    Path("genqueue.toml").write_text(f'{name} = "redis://real"\n')
    with pytest.raises(StackError, match=f"{name} in genqueue.toml"):
        surroundings.prepare(load())


def test_what_is_set_aside_is_named_and_its_keys_reach_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in WAYS[:4]:
        for name, value in way().items():
            monkeypatch.setenv(name, value)
    Path("genqueue.toml").write_text(TOML)
    found = surroundings.prepare(load())
    assert set(found) == {*catalog.names(), "second", "third", "fourth", "fifth"}
    assert "real" not in os.environ.values()
    assert REAL not in os.environ.values()


def test_a_worker_of_a_trial_refuses_an_account_that_does_not_speak_to_its_simulator(home: Home) -> None:
    enter(home)
    stranger = {"provider": "getimg", "api_key": "k", "base_url": "http://127.0.0.1:43211/getimg"}
    settings = load(accounts={"stranger": stranger}, database_url="postgresql://nowhere/x")
    with pytest.raises(SettingsError, match="'stranger' does not speak to the simulator"):
        open_runtime(settings, access_key=None, secret_key=None)


@pytest.mark.parametrize(
    "base_url", ["https://real.example/getimg", "http://127.0.0.1:43211/getimg", "http://127.0.0.1.evil.example:43210"]
)
def test_a_trials_file_with_a_strange_account_is_refused(home: Home, base_url: str) -> None:
    enter(home)
    file = home.path / trial.FILE
    document = json.loads(file.read_text())
    document["settings"]["accounts"]["getimg"]["base_url"] = base_url
    file.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="unset GENQUEUE_TRIAL"):
        load()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"simulator_url": "", "settings": {"accounts": {}}}'])
def test_a_variable_that_names_no_trial_is_refused(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "f.json").write_text(content)
    monkeypatch.setenv("GENQUEUE_TRIAL", str(tmp_path / "f.json"))
    with pytest.raises(SettingsError, match="unset GENQUEUE_TRIAL"):
        load()


def test_the_file_of_settings_cannot_make_a_trial() -> None:
    Path("genqueue.toml").write_text('trial = "x.json"\n')
    with pytest.raises(SettingsError, match=r"trial in genqueue\.toml: is set by genqueue itself"):
        load()


def for_containers(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trial.json"
    accounts = surroundings.accounts_of(simulated_accounts(url, 20))
    surroundings.write_for_containers(file, Path("/spool"), url, accounts)
    monkeypatch.setenv(trial.VARIABLE, str(file))


def test_containers_of_a_trial_have_the_accounts_of_their_neighbour_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (shorthand() | nested() | other_doors()).items():
        monkeypatch.setenv(name, value)
    for_containers(tmp_path, "http://simulator:8900", monkeypatch)
    settings = load()
    assert sorted(settings.accounts) == sorted(catalog.names())
    assert all(one.base_url.startswith("http://simulator:8900/") for one in settings.accounts.values())
    assert settings.allow_private_urls == ("simulator",)
    assert settings.spool_dir == Path("/spool/spool")


@pytest.mark.parametrize("host", ["simulator.example", "10.0.0.7", "2130706433", "0x7f000001", "[2001:db8::1]"])
def test_a_trials_simulator_is_on_this_machine_or_a_neighbour_by_name(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_containers(tmp_path, f"http://{host}:8900", monkeypatch)
    with pytest.raises(SettingsError, match="genqueue did not write"):
        load()
