"""A supervisor's whole life in a process of its own: ended, killed, raced for, and run by an ordinary user."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ops.stack import Home, HomeBusyError, Stack, database_alone
from ops.stack.process import Command
from tests.support.waiting import gone, until

ROOT = Path(__file__).parents[2]
# Also for an interpreter outside this virtual environment.
IMPORTS = f"{ROOT}{os.pathsep}{Path(psutil.__file__).parents[1]}"
NOBODY = 65534
SUPERVISOR = """
import sys, pathlib
from ops.stack import Home, Stack
with Stack(Home(pathlib.Path(sys.argv[1]))) as stack:
    stack.spawn("sleeper", ["/bin/sleep", "600"], {})
    print("ready", flush=True)
    for ended in stack.watch():
        print(ended, flush=True)
"""
ONE_COMMAND = """
import sys, pathlib
from ops.stack import Home, database_alone
with database_alone(Home(pathlib.Path(sys.argv[1]))):
    print("ready", flush=True)
    sys.stdin.read()
"""


def handles(pid: int, number: int) -> bool:
    """Say whether a process has a handler for a signal: it is watching by then (proc(5), SigCgt)."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:\t")[2].partition("\n")[0]
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def start(
        script: str, home: Path, python: tuple[str, ...] = (sys.executable,), **options: Any
    ) -> subprocess.Popen[str]:
        options.setdefault("env", {**os.environ, "PYTHONPATH": IMPORTS})
        process = subprocess.Popen(
            [*python, "-c", script, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def ready(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until it says so, and return everything it runs."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return psutil.Process(process.pid).children(recursive=True)


def names(processes: list[psutil.Process]) -> set[str]:
    """Return the names of those that still run: a server's own processes come and go."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


def execute(home: Home, statement: str) -> list[Any]:
    with database_alone(home) as endpoints:
        url = endpoints.owner_url
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_a_killed_supervisor_leaves_nothing_running_and_the_next_one_finds_the_data(start: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    supervisor = start(SUPERVISOR, home.path)
    children = ready(supervisor)
    until(lambda: {"postgres", "redis-server", "sleep"} <= names(children))
    owner = home.lock.owner()
    assert owner is not None
    assert len(owner.children) == 4
    execute(home, "CREATE TABLE kept AS SELECT 7 AS n")
    with database_alone(home) as endpoints:
        url = endpoints.owner_url
    # A client stays connected, as a worker would.
    with psycopg.connect(url, autocommit=True):
        supervisor.kill()
        # Until it is dead, a command joins its database and is thrown out with every other client.
        supervisor.wait()
        # At once: the next start must cope with services that are still shutting down.
        assert execute(home, "SELECT n FROM kept") == [(7,)]
    until(lambda: all(gone(child) for child in children))


def test_everything_killed_at_once_leaves_a_home_that_starts(start: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    supervisor = start(SUPERVISOR, home.path)
    children = ready(supervisor)
    execute(home, "CREATE TABLE kept AS SELECT 7 AS n")
    for process in (psutil.Process(supervisor.pid), *children):
        # Some end by themselves as soon as the first of them is gone.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # A signal returns before its process is dead.
    supervisor.wait()
    assert home.running() is None
    with Stack(home) as stack:
        assert execute(home, "SELECT n FROM kept") == [(7,)]
        assert home.running() == stack.endpoints


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_everything_in_order(start: Any, tmp_path: Path, number: int) -> None:
    home = Home(tmp_path / "home")
    supervisor = start(SUPERVISOR, home.path)
    children = ready(supervisor)
    until(lambda: handles(supervisor.pid, signal.SIGTERM))
    # As a terminal does: the whole foreground group gets it.
    os.killpg(supervisor.pid, number)
    assert supervisor.wait(15) == 0
    assert all(gone(child) for child in children)
    assert "database system is shut down" in home.log("postgres").read_text()
    assert "bye bye" in home.log("redis").read_text()
    assert not home.lock.held_by_anyone()


def test_a_second_command_waits_for_the_first_one_to_give_the_database_back(start: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first = start(ONE_COMMAND, home.path)
    assert names(ready(first)) == {"postgres"}
    with (
        pytest.raises(HomeBusyError, match=f"in use by one command: pid {first.pid} since"),
        database_alone(home, wait_seconds=0.3),
    ):
        pass
    second = start(ONE_COMMAND, home.path)
    # It has the lock file open, so it is trying.
    until(lambda: any(file.path == str(home.path / "lock") for file in psutil.Process(second.pid).open_files()))
    assert first.poll() is None
    first.stdin.close()
    ready(second)
    assert first.wait(15) == 0


def test_a_supervisor_waits_for_a_command_that_has_the_database(start: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    command = start(ONE_COMMAND, home.path)
    ready(command)
    supervisor = start(SUPERVISOR, home.path)
    until(lambda: any(file.path == str(home.path / "lock") for file in psutil.Process(supervisor.pid).open_files()))
    assert home.running() is None
    command.stdin.close()
    ready(supervisor)
    assert home.running() is not None


@pytest.fixture
def ordinary_user() -> Iterator[tuple[Path, tuple[str, ...], dict[str, Any]]]:
    """Return an empty home directory, a Python and the options that make a process an ordinary user's."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        options: dict[str, Any] = {
            "env": {
                "HOME": name,
                "PATH": os.defpath,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(psutil.__file__).parents[1]}",
            },
            "cwd": directory,
        }
        if os.geteuid() != 0:
            yield directory, (sys.executable,), options
            return
        python = next(
            (path for path in (sys.executable, shutil.which("python3", path=os.defpath)) if path and readable(path)),
            None,
        )
        if python:
            os.chown(directory, NOBODY, NOBODY)
            yield directory, (python,), {**options, "user": NOBODY, "group": NOBODY, "extra_groups": []}
        else:
            # This checkout is closed to others: be nobody in a namespace, where root's files stay readable.
            command = Command([sys.executable], {}, directory, f"namespace:{NOBODY}:{NOBODY}")
            yield directory, tuple(command.wrapped()), options


def readable(python: str) -> bool:
    """Say whether nobody can run this Python and read this checkout with it."""
    try:
        return (
            subprocess.run(
                [python, "-c", "import ops.stack"],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                env={"PYTHONPATH": IMPORTS},
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def test_an_ordinary_user_with_an_empty_home_runs_everything(
    start: Any, ordinary_user: tuple[Path, tuple[str, ...], dict[str, Any]]
) -> None:
    directory, python, options = ordinary_user
    supervisor = start(SUPERVISOR, directory / ".genqueue", python, **options)
    children = ready(supervisor)
    assert {"postgres", "redis-server"} <= {child.name() for child in children}
    assert "as the user who started it" in (directory / ".genqueue" / "postgres.log").read_text()
    supervisor.kill()
    until(lambda: all(gone(child) for child in children))
