"""`genqueue enqueue` needs no more than the database, and `genqueue up` leaves nothing running however it ends."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.site import Site
from tests.e2e.spawning import COMMAND, IMPORTS, hurry
from tests.support.waiting import gone, until

ROWS = '{"provider": "getimg", "model": "seedream-5-lite", "prompt": "a quiet harbour"}\n' * 5


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    file.write_text(ROWS)
    return file


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **IMPORTS, **settings}
    command = [*COMMAND, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "home"


@pytest.fixture
def up(home: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Start `genqueue up --simulator` on the home and wait until it says that it is ready."""
    started = []

    def start() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, "up", "--workers", "1", "--simulator"],
            env={**os.environ, **IMPORTS, **hurry(), "GENQUEUE_HOME": str(home)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stderr is not None
        assert any(line.startswith("ready") for line in process.stderr), "it ended before it was ready"
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def everything_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_enqueue_by_url_needs_neither_redis_nor_a_worker(empty_site: Site, prompts: Path) -> None:
    empty_site.stack.kill("redis")
    done = run(
        "enqueue", str(prompts), "--batch", "by-url", GENQUEUE_DATABASE_URL=empty_site.stack.endpoints.database_url
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "5 jobs enqueued" in done.stderr
    empty_site.stack.restart("redis")
    empty_site.start_worker("worker-1")
    empty_site.start_worker("worker-2")
    assert empty_site.await_settled("by-url") == {"succeeded": 5}
    assert empty_site.accepted() == 5


def test_what_was_enqueued_into_an_empty_home_is_finished_by_up_and_ctrl_c_leaves_no_process(
    up: Callable[[], "subprocess.Popen[str]"], home: Path, prompts: Path
) -> None:
    done = run("enqueue", str(prompts), "--batch", "early", "--trial", GENQUEUE_HOME=str(home))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("TRIAL")
    assert "no worker runs" in done.stderr
    supervisor = up()
    watched = run("watch", "early", GENQUEUE_HOME=str(home))
    assert watched.returncode == 0, watched.stderr
    children = everything_of(supervisor)
    assert len(children) > 4
    os.killpg(supervisor.pid, signal.SIGINT)  # as a terminal does
    assert supervisor.wait(30) == 0
    assert all(gone(child) for child in children)


def test_a_killed_supervisor_leaves_no_process(up: Callable[[], "subprocess.Popen[str]"]) -> None:
    supervisor = up()
    children = everything_of(supervisor)
    assert len(children) > 4
    supervisor.kill()
    until(lambda: all(gone(child) for child in children))
