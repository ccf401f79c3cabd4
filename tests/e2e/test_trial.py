"""A trial beside five configured providers: not one connection to them, and every command says which stack it means."""

import json
import os
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from shared import catalog
from tests.e2e.spawning import COMMAND, IMPORTS, hurry
from tests.support.command import Ran, genqueue
from tests.support.waiting import until

ROWS = "".join(
    json.dumps({"provider": name, "prompt": f"by {name}", **more}) + "\n"
    for name, more in {
        **{name: {} for name in catalog.names()},
        "getimg": {"model": "seedream-5-lite"},
        "openrouter": {"model": "bytedance-seed/seedream-4.5"},
    }.items()
)


@dataclass
class Provider:
    """A listening socket that stands for a real provider, and counts who connects."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def count(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture(scope="module")
def real() -> Iterator[Provider]:
    provider = Provider()
    threading.Thread(target=provider.count, daemon=True).start()
    yield provider
    provider.listener.shutdown(socket.SHUT_RDWR)
    provider.listener.close()


@dataclass
class Directory:
    """A working directory with accounts configured in every way, each at the real provider's address."""

    path: Path
    environment: dict[str, str]
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.path,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def refused(self, *arguments: str, **variables: str) -> Ran:
        """Run a command that ends before it starts anything: this process does it in a tenth of the time."""
        return genqueue(*arguments, env={**self.environment, **variables}, cwd=self.path)

    def up(self, *options: str) -> list[str]:
        """Start `genqueue up` and return what it says until it is ready."""
        process = subprocess.Popen(
            [*COMMAND, "up", "--workers", "1", "--no-flower", "--no-dashboard", *options],
            cwd=self.path,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("ready"):
                return said
        raise AssertionError("".join(said))

    def stop(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            with process:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, real: Provider) -> Iterator[Directory]:
    path = tmp_path_factory.mktemp("trial")
    configured = {}
    for name in catalog.names():
        configured[f"GENQUEUE_{name.upper()}_API_KEY"] = "real-main"
        configured[f"GENQUEUE_ACCOUNTS__{name.upper()}__BASE_URL"] = f"{real.url}/{name}"
        configured[f"genqueue_accounts__mixed_{name}__provider"] = name
        configured[f"genqueue_accounts__mixed_{name}__api_key"] = "real-mixed"
        configured[f"genqueue_accounts__mixed_{name}__base_url"] = f"{real.url}/{name}"
    json_accounts = {
        f"json_{name}": {"provider": name, "api_key": "real-json", "base_url": f"{real.url}/{name}"}
        for name in catalog.names()
    }
    configured["GENQUEUE_ACCOUNTS"] = json.dumps(json_accounts)
    tables = [
        f'[accounts.toml_{name}]\nprovider = "{name}"\napi_key = "real-toml"\nbase_url = "{real.url}/{name}"\n'
        for name in catalog.names()
    ]
    (path / "genqueue.toml").write_text("".join(tables))
    (path / "rows.jsonl").write_text(ROWS)
    made = Directory(path, {**os.environ, **IMPORTS, **hurry(), **configured})
    yield made
    made.stop()


def test_a_trial_runs_to_its_end_without_one_connection_to_a_configured_account(
    directory: Directory, real: Provider
) -> None:
    said = directory.up("--simulator")
    assert said[0].startswith("TRIAL: ")
    assert [sum(line.startswith(server) for line in said) for server in ("postgres", "redis", "s3")] == [1, 1, 1]
    for name in ("bloom", "json_getimg", "mixed_banatie", "toml_openrouter"):
        assert name in said[0]
    done = directory.run("enqueue", "rows.jsonl", "--wait")
    assert done.stderr.startswith("TRIAL: ")
    assert done.returncode == 0, done.stderr
    assert directory.run("plan", "rows.jsonl", "--batch", "more").stdout.startswith("TRIAL: ")
    told = directory.run("doctor", "--json")
    (purpose,) = [one for one in json.loads(told.stdout)["findings"] if one["check"] == "purpose"]
    assert purpose["seen"].startswith("TRIAL")
    assert real.connections == 0


def test_a_second_up_is_refused_and_leaves_the_running_trial_its_accounts(directory: Directory) -> None:
    file = directory.path / ".genqueue" / "trial" / "trial.json"
    before = file.read_bytes()
    assert set(catalog.names()) <= set(json.loads(before)["settings"]["accounts"])
    refused = directory.run("up", "--simulator")
    assert refused.returncode == 1
    assert "already running" in refused.stderr
    assert file.read_bytes() == before


def test_by_the_printed_variables_a_program_joins_the_trial_and_no_real_worker_does(
    directory: Directory, real: Provider
) -> None:
    printed = directory.run("env")
    assert printed.stderr.startswith("TRIAL: this leads to the trial; ")
    variables = dict(
        shlex.split(line)[1].split("=", 1) for line in printed.stdout.splitlines() if line.startswith("export")
    )
    assert directory.run("enqueue", "rows.jsonl", "--batch", "joined", **variables).stderr.startswith("TRIAL")
    del variables["GENQUEUE_TRIAL"]
    refused = directory.run("worker", **variables)
    assert refused.returncode == 1
    assert "belongs to a trial" in refused.stderr
    assert real.connections == 0


@pytest.mark.parametrize("variable", ["GENQUEUE_DATABASE_URL", "GENQUEUE_BROKER_URL", "GENQUEUE_S3_BUCKET"])
@pytest.mark.parametrize("command", [("demo",), ("up", "--simulator")], ids=" ".join)
def test_a_trial_with_a_server_of_others_does_not_start(
    directory: Directory, command: tuple[str, ...], variable: str
) -> None:
    refused = directory.refused(*command, **{variable: "redis://elsewhere"})
    assert refused.code == 1
    assert variable in refused.err


def test_beside_the_trial_the_real_stack_runs_and_a_command_must_say_which_it_means(
    directory: Directory, real: Provider
) -> None:
    assert directory.run("enqueue", "rows.jsonl", "--real", "--batch", "paid").stderr.startswith("REAL: ")
    said = directory.up()
    assert said[0].startswith("REAL: ")
    # The same accounts in the same settings do connect where it is no trial: the count above can be trusted.
    until(lambda: real.connections > 0, 60)
    refused = directory.run("batches")
    assert refused.returncode == 1
    assert "--trial" in refused.stderr
    assert "--real" in refused.stderr
    which: Callable[[str], str] = lambda side: directory.run("batches", side).stdout  # noqa: E731 - two words
    real_ones, trials = which("--real"), which("--trial")
    assert ("paid" in real_ones, "paid" in trials) == (True, False)
    assert ("rows" in real_ones, "rows" in trials) == (False, True)
    assert directory.run("--real", "batches").stdout == which("--real")


def test_a_real_stack_does_not_start_in_a_trials_home(directory: Directory) -> None:
    refused = directory.refused("up", GENQUEUE_HOME=str(directory.path / ".genqueue" / "trial"))
    assert refused.code == 1
    assert "trial's home" in refused.err


def test_the_simulator_of_a_trial_remembers_what_was_bought_as_a_provider_does(tmp_path: Path) -> None:
    bought = Directory(tmp_path, {**os.environ, **IMPORTS, **hurry()})
    (tmp_path / "one.txt").write_text("a harbour\n")
    try:
        for _ in range(2):
            said = bought.up("--simulator", "--no-api")
            done = bought.run("enqueue", "one.txt", "--provider", "bloom", "--wait")
            assert done.returncode == 0, done.stderr
            (url,) = [line.split()[1] for line in said if line.startswith("simulator")]
            assert httpx.get(f"{url}/_sim/bill").json()["totals"]["bloom"]["submissions"] == 1
            bought.stop()
            bought.started.clear()
    finally:
        bought.stop()
