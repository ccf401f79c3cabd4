"""An upgrade with jobs in the air: from the last commit before the newest migration to this tree."""

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

from ops.running import simulated_accounts
from tests.compose import load
from tests.compose.engine import ROOT, ComposeTestError, Project, build, docker, until

_MIGRATIONS: Final = "shared/db/migrations/versions"
_TIME_SCALE: Final = 20.0
_STARTS_SECONDS: Final = 600.0


def before_newest_migration() -> str:
    """Return the last commit that did not have the newest migration."""
    newest = max(path.name for path in (ROOT / _MIGRATIONS).glob("[0-9]*.py"))
    added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_MIGRATIONS}/{newest}").decode().split()
    return _git("rev-parse", f"{added[-1]}^").decode().strip()


def build_before(tag: str, flags: Sequence[str]) -> str:
    """Build the image of that commit, and return its short name."""
    commit = before_newest_migration()
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
            archive.extractall(place, filter="data")
        build(tag, target="production", context=Path(place), flags=flags)
    return commit[:9]


@contextmanager
def project(name: str, version: str, env: dict[str, str]) -> Iterator[Project]:
    """Yield the project of an upgrade, in real mode with simulated accounts; it is removed with its volumes."""
    accounts = simulated_accounts("http://simulator:8900", _TIME_SCALE) | {"GENQUEUE_ALLOW_PRIVATE_URLS": "simulator"}
    with tempfile.TemporaryDirectory() as place:
        keys = Path(place) / "keys"
        keys.write_text("".join(f"{name}={value}\n" for name, value in accounts.items()))
        given = {**env, "COMPOSE_TEST_KEYS": str(keys), "GENQUEUE_VERSION": version}
        given["COMPOSE_TEST_TRIAL_IMAGE"] = f"genqueue:{version}-trial"
        made = Project(
            name=name,
            files=("docker-compose.yml", "tests/compose/upgrade.yml"),
            env_file="ops/compose.trial.env",
            env={**given, "TRIAL_TIME_SCALE": f"{_TIME_SCALE:g}"},
        )
        try:
            yield made
        finally:
            made.compose("down", "--volumes", "--timeout", "60", check=False)


def goes_on_with_what_was_begun(upgraded: Project, before: str) -> str:
    """Start the version `before`, enqueue, stop its workers with jobs in the air, and start this version.

    The newest migration renames columns, so the workers of the version before must be stopped first.
    """
    upgraded.compose("up", "--detach", GENQUEUE_VERSION=before)
    until("the old workers are well", lambda: upgraded.well("worker", 2), seconds=_STARTS_SECONDS)
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        (Path(place) / "prompts.jsonl").write_text(load.lines(10))
        mount = f"{place}:/prompts:ro"
        enqueue = ["enqueue", "/prompts/prompts.jsonl", "--batch", "upgraded"]
        upgraded.compose("run", "--rm", "-T", "--volume", mount, "cli", *enqueue, GENQUEUE_VERSION=before)
    air = load.await_air(upgraded, "upgraded")
    old = upgraded.sql("SELECT version_num FROM alembic_version")[0][0]
    upgraded.compose("stop", "--timeout", "1800", "worker", GENQUEUE_VERSION=before)
    left = upgraded.states("upgraded")
    upgraded.compose("up", "--detach")
    until("the new workers are well", lambda: upgraded.well("worker", 2), seconds=_STARTS_SECONDS)
    new = upgraded.sql("SELECT version_num FROM alembic_version")[0][0]
    if old == new:
        raise ComposeTestError(f"the schema stayed {old}")
    ended = load.await_success(upgraded, "upgraded")
    unfinished = sum(count for state, count in left.items() if state != "succeeded")
    return (
        f"schema {old} to {new}; {air} jobs in the air, {unfinished} unfinished when the workers had stopped; {ended}"
    )


def remove(tag: str) -> None:
    """Remove an image that this run made."""
    docker("image", "rm", tag, check=False)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
