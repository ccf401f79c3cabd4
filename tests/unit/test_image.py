"""The image holds what production runs and no more: its files exist, its packages suffice, its pins are tested."""

import fnmatch
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "ops/Dockerfile").read_text()
ROLES = ("worker", "migrate", "health", "flower", "doctor", "enqueue", "results", "resolve", "download")

IMPORTS = """
import importlib, json, sys
from importlib.abc import MetaPathFinder

blocked = set(json.loads(sys.argv[1]))

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
        return None

sys.meta_path.insert(0, Blocked())
from typer.testing import CliRunner
from ops.cli import app
for command in sys.argv[2:]:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, (command, result.exception)
for module in ("worker.tasks", "worker.consumer", "worker.providers", "shared.db.schema", "alembic.command"):
    importlib.import_module(module)
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*?)\\?$", (ROOT / lock).read_text(), re.MULTILINE)
    return {normal(name): f"{version}{marker.rstrip()}" for name, version, marker in found}


def hashes(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if pin := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = normal(pin[1])
        found.setdefault(name, set()).update(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
    return found


def absent_modules() -> list[str]:
    """Return the top-level modules that only development and the embedded servers install."""
    shipped = set(pins("requirements-prod.lock"))
    other = set(pins("requirements.lock")) - shipped
    return sorted(
        module
        for module, distributions in packages_distributions().items()
        if {normal(each) for each in distributions} <= other
    )


def copied() -> list[str]:
    return list(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))


@pytest.mark.parametrize("source", copied())
def test_what_the_image_copies_exists_and_is_let_into_the_build(source: str) -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (ROOT / source).exists()
    assert source.rstrip("/") in let_in


@pytest.mark.parametrize("file", [".env", "ops/keys.env", "ops/other.env", "genqueue.toml", ".genqueue/config.json"])
def test_no_file_with_secrets_is_let_into_the_build(file: str) -> None:
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and (fnmatch.fnmatch(file, pattern) or file.startswith(f"{pattern}/")):
            ignored = not line.startswith("!")
    assert ignored


def test_the_image_installs_only_hashed_packages_of_the_versions_that_are_tested() -> None:
    shipped, tested = pins("requirements-prod.lock"), pins("requirements.lock")
    assert shipped
    assert {name: tested.get(name) for name in shipped} == shipped
    assert all(hashes("requirements-prod.lock")[name] == hashes("requirements.lock")[name] for name in shipped)
    assert all(hashes("requirements-prod.lock")[name] for name in shipped)
    assert "--require-hashes" in DOCKERFILE


def test_the_image_has_the_python_that_is_tested() -> None:
    versions = set(re.findall(r"^FROM python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE))
    assert versions == {f"{sys.version_info.major}.{sys.version_info.minor}"}


def test_the_image_runs_as_an_ordinary_user() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


def test_every_role_starts_with_the_packages_of_the_image_alone() -> None:
    absent = absent_modules()
    assert {"starlette", "uvicorn", "pytest", "ministack", "psutil"} <= set(absent)
    command = [sys.executable, "-c", IMPORTS, json.dumps(absent), *ROLES]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
