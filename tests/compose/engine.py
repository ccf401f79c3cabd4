"""The Docker engine of this machine, and one Compose project on it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_LEAST_COMPOSE: Final = (2, 24)
_BETWEEN_LOOKS: Final = 0.3
_COMMAND_SECONDS: Final = 900.0
_STATES: Final = """
SELECT j.state, count(*) FROM job j JOIN batch b ON b.id = j.batch_id WHERE b.name = '{batch}' GROUP BY 1
"""


class ComposeTestError(Exception):
    """Something did not go as it must; the message says what."""


def missing() -> str | None:
    """Say in one sentence what this machine lacks; None if the test can run."""
    if shutil.which("docker") is None:
        return "compose-test needs a Docker engine with Compose, and there is no `docker` command on this machine."
    if not _answers("version", "--format", "{{.Server.Version}}"):
        return "compose-test needs a Docker engine, and none answers: start it, or set DOCKER_HOST."
    found = _answers("compose", "version", "--short")
    if tuple(int(part) for part in (found or "0").lstrip("v").split(".")[:2]) < _LEAST_COMPOSE:
        return f"compose-test needs Docker Compose 2.24 or newer as `docker compose`, and found {found or 'none'}."
    return None


def versions() -> dict[str, str]:
    """Return the versions of the engine and of Compose."""
    return {
        "Docker engine": _answers("version", "--format", "{{.Server.Version}}") or "",
        "Docker Compose": _answers("compose", "version", "--short") or "",
    }


def docker(*arguments: str, env: Mapping[str, str] | None = None, check: bool = True, stdin: bytes = b"") -> str:
    """Run a docker command and return what it printed. Raises `ComposeTestError` with its last words if it fails."""
    ran = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if check and ran.returncode:
        words = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()[-12:]
        raise ComposeTestError(f"`docker {' '.join(arguments[:12])}` ended with {ran.returncode}: " + "\n".join(words))
    return ran.stdout.decode(errors="replace") + ("" if check else ran.stderr.decode(errors="replace"))


def build(tag: str, *, target: str, context: Path = ROOT, flags: Sequence[str] = (), revision: str = "unknown") -> None:
    """Build the image `tag`; an older tree without the target is built as a whole."""
    file = context / "ops/Dockerfile"
    wanted = ["--target", target] if f" AS {target}" in file.read_text() else []
    sys.stderr.write(f"         building {tag}\n")
    revised = ["--build-arg", f"REVISION={revision}"] if "ARG REVISION" in file.read_text() else []
    docker("build", *flags, *wanted, *revised, "--file", str(file), "--tag", tag, str(context))


def until(what: str, holds: Callable[[], Any], *, seconds: float) -> Any:
    """Look until `holds()` is true, and return it. Raises `ComposeTestError` after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise ComposeTestError(f"not within {seconds:g} s: {what}")
        time.sleep(_BETWEEN_LOOKS)
    return found


@dataclass(frozen=True, kw_only=True)
class Project:
    """One Compose project: its name, its files, and what it is given."""

    name: str
    files: Sequence[str]
    env_file: str
    env: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, check: bool = True, **env: str) -> str:
        """Run `docker compose` on this project."""
        files = [part for file in self.files for part in ("-f", file)]
        command = ["compose", "--env-file", self.env_file, *files, "-p", self.name, *arguments]
        return docker(*command, env={**self.env, **env}, check=check)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers, stopped ones too."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def well(self, service: str, count: int = 1) -> bool:
        """Tell whether exactly so many containers of a service run and are healthy."""
        found = [inspect(each)["State"] for each in self.containers(service)]
        return len(found) == count and all(
            state["Running"] and state.get("Health", {}).get("Status") == "healthy" for state in found
        )

    def sql(self, statement: str) -> list[list[str]]:
        """Ask the project's PostgreSQL; rows of text."""
        command = ["psql", "-h", "/run/postgresql", "-U", "genqueue", "-d", "genqueue", "-AtF", "|", "-c", statement]
        printed = self.compose("exec", "-T", "postgres", *command)
        return [line.split("|") for line in printed.splitlines()]

    def states(self, batch: str) -> dict[str, int]:
        """Return how many jobs of a batch are in each state."""
        statement = _STATES.format(batch=batch)
        return {state: int(count) for state, count in self.sql(statement)}

    def python(self, service: str, code: str) -> str:
        """Run a few lines of Python in a container of a service."""
        return self.compose("exec", "-T", service, "python", "-c", code)


def inspect(container: str) -> dict[str, Any]:
    """Return what the engine knows of a container."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]


def sizes(tags: Iterable[str]) -> dict[str, str]:
    """Return the size of each image in megabytes, the base's included."""
    return {tag: f"{int(docker('image', 'inspect', '--format', '{{.Size}}', tag)) / 1e6:.0f} MB" for tag in tags}


def _answers(*arguments: str) -> str | None:
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=30, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else None
