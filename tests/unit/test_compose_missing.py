"""`make compose-test` on a machine that cannot run it says in one sentence why, and fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STANDS_IN = """#!/bin/sh
case "$1" in
  version) {engine} ;;
  compose) {compose} ;;
esac
"""


def compose_test(repository: Path, programs: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.compose"],
        cwd=repository,
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("engine", "compose", "said"),
    [
        (None, None, "there is no `docker` command"),
        ("exit 1", "exit 1", "none answers: start it, or set DOCKER_HOST"),
        ("echo 20.10", "exit 1", "needs Docker Compose 2.24 or newer as `docker compose`, and found none"),
        ("echo 20.10", "echo 2.9.1", "needs Docker Compose 2.24 or newer as `docker compose`, and found 2.9.1"),
    ],
)
def test_what_is_missing_is_one_sentence_and_an_error(
    repository: Path, tmp_path: Path, engine: str | None, compose: str | None, said: str
) -> None:
    if engine is not None:
        docker = tmp_path / "docker"
        docker.write_text(STANDS_IN.format(engine=engine, compose=compose))
        docker.chmod(0o755)
    ran = compose_test(repository, tmp_path)
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert said in ran.stderr
