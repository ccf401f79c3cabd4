"""`python -m tests.compose`: the images and the Compose files on a real engine, from build to upgrade."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from ops.version import own_version
from tests.compose import trial, upgrade
from tests.compose.engine import ComposeTestError, Project, build, docker, missing, sizes, versions

_NAME: Final = "genqueue-compose-test"
_TAG: Final = "compose-test"
_IMAGE: Final = f"genqueue:{_TAG}"
_BEFORE: Final = f"{_TAG}-before"


@dataclass
class Record:
    """What was run, how long each took, and what was seen."""

    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[str, float, str]] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def run(self, title: str, step: Callable[[], str]) -> None:
        """Run a step and write it down. Raises `ComposeTestError` as the step does."""
        self.say(title)
        began = time.monotonic()
        seen = step()
        self.rows.append((title, time.monotonic() - began, seen))
        self.say(f"  {time.monotonic() - began:.0f} s: {seen}")

    def say(self, line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self.began:6.0f} s  {line}\n")


def main() -> int:
    """Run every step and return 0; without an engine say what is missing and return 1."""
    options = _parser().parse_args()
    if lack := missing():
        sys.stderr.write(f"{lack}\n")
        return 1
    for name in [name for name in os.environ if name.startswith(("GENQUEUE_", "AWS_", "COMPOSE_"))]:
        del os.environ[name]
    record = Record(facts=versions() | {"genqueue": own_version()})
    try:
        _carry_out(record, shlex.split(options.build), only=options.only)
    except ComposeTestError as error:
        record.say(f"FAILED: {error}")
        return 1
    if options.output:
        options.output.write_text(_page(record), "utf-8")
    record.say("every step went as it must")
    return 0


def _carry_out(record: Record, flags: Sequence[str], *, only: str) -> None:
    if only != "upgrade":
        record.run("The images of production and of a trial are built.", lambda: _build(flags))
        _try(record)
    if only != "trial":
        record.run("The image of the version before is built.", lambda: _build_before(flags))
        _upgrade(record)


def _build(flags: Sequence[str]) -> str:
    build(_IMAGE, target="production", flags=flags)
    build(f"{_IMAGE}-trial", target="trial", flags=flags)
    return ", ".join(f"`{tag}` {size}" for tag, size in sizes([_IMAGE, f"{_IMAGE}-trial"]).items())


def _build_before(flags: Sequence[str]) -> str:
    if not sizes_known(_IMAGE):
        _build(flags)
    return f"commit {upgrade.build_before(f'genqueue:{_BEFORE}', flags)}"


def sizes_known(tag: str) -> bool:
    """Tell whether an image exists."""
    return "No such image" not in docker("image", "inspect", tag, check=False)


def _try(record: Record) -> None:
    port = trial.free_port()
    project = Project(
        name=_NAME,
        files=("docker-compose.yml", "ops/compose.trial.yml", "ops/compose.producers.yml"),
        env_file="ops/compose.trial.env",
        env={"GENQUEUE_VERSION": _TAG, "GENQUEUE_POSTGRES_PORT": str(port)},
    )
    tried = trial.Trial(project, _IMAGE, port)
    try:
        for step in trial.STEPS:
            record.run((step.__doc__ or step.__name__).strip(), partial(step, tried))
        record.facts |= {f"memory of {name} at the end, its limit": used for name, used in trial.memory(tried).items()}
        record.facts |= _servers(project)
    except ComposeTestError:
        sys.stderr.write(project.compose("logs", "--tail", "40", check=False))
        raise
    finally:
        project.compose("down", "--volumes", "--timeout", "60", check=False)


def _servers(project: Project) -> dict[str, str]:
    redis = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli info server | grep redis_version'
    return {
        "PostgreSQL": project.sql("SHOW server_version")[0][0],
        "Redis": project.compose("exec", "-T", "redis", "sh", "-c", redis).strip().rpartition(":")[2],
        "Python": project.python("worker", "import platform; print(platform.python_version())").strip(),
    }


def _upgrade(record: Record) -> None:
    with upgrade.project(f"{_NAME}-upgrade", _TAG, {}) as project:
        title = "An upgrade over the newest migration, with jobs in the air; the old workers are stopped first."
        try:
            record.run(title, lambda: upgrade.goes_on_with_what_was_begun(project, _BEFORE))
        except ComposeTestError:
            sys.stderr.write(project.compose("logs", "--tail", "40", check=False))
            raise
    upgrade.remove(f"genqueue:{_BEFORE}")


def _page(record: Record) -> str:
    now = datetime.now(UTC)
    lines = [
        "# The Compose test",
        "",
        f"Written by `make compose-test` on {now:%Y-%m-%d}, on a real Docker engine.",
        "Every job is one of the five providers' simulated ones, at twenty times their speed.",
        "",
        "| what | version or figure |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in record.facts.items()),
        "",
        "| step | seconds | what was seen |",
        "|---|---|---|",
        *(f"| {title} | {seconds:.0f} | {seen} |" for title, seconds, seen in record.rows),
        "",
        "What is named above was run. Other versions of PostgreSQL, Redis and the engine were not run by this test.",
        "",
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__)
    parser.add_argument("--build", default="", help="flags for `docker build`, such as '--network host'")
    parser.add_argument("--only", choices=["", "trial", "upgrade"], default="", help="one half of the steps")
    parser.add_argument("--output", type=Path, help="write what was run and seen here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
