"""The image holds what production runs and no more: its files exist, its packages suffice, its pins are tested."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "ops/Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
LAST_STAGES = ("production", "trial")
WITH_PARTS = {"demo", "up", "env", "simulator"}

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
from ops.cli import app, offered
for command in offered():
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, (command, result.exception)
for module in ("worker.tasks", "worker.celery_consumer", "worker.providers", "shared.db.schema", "alembic.command"):
    importlib.import_module(module)
refused = CliRunner().invoke(app, ["demo"])
print(json.dumps([offered(), refused.output]))
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*?)\\?$", (ROOT / lock).read_text(), re.MULTILINE)
    return {normal(name): f"{version}{marker.rstrip()}" for name, version, marker in found}


@cache
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


def copied(*stages: str) -> list[str]:
    """Return what these stages of the Dockerfile copy from the repository."""
    text = "".join(STAGES[stage] for stage in stages)
    return [source.rstrip("/") for source in re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)]


def lay_out(image: Path, *stages: str) -> None:
    """Lay out the code of these stages as the image has it."""
    for source in copied(*stages):
        for path in ROOT.glob(source):
            target = image / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(path, target)


def run_in(image: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with the code of that image."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(image), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=image,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("source", copied(*STAGES))
def test_what_the_image_copies_exists_and_is_let_into_the_build(source: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert list(ROOT.glob(source))
    assert any(source == each or source.startswith(f"{each}/") for each in let_in)
    assert source not in lines


@pytest.mark.parametrize("file", [".env", "ops/keys.env", "ops/other.env", "genqueue.toml", ".genqueue/config.json"])
def test_no_file_with_secrets_is_let_into_the_build(file: str) -> None:
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and (fnmatch.fnmatch(file, pattern) or file.startswith(f"{pattern}/")):
            ignored = not line.startswith("!")
    assert ignored


@pytest.mark.parametrize(
    ("stage", "lock"), [("packages", "requirements-prod.lock"), ("trial-packages", "requirements-trial.lock")]
)
def test_an_image_installs_only_hashed_packages_of_the_versions_that_are_tested(stage: str, lock: str) -> None:
    shipped, tested = pins(lock), pins("requirements.lock")
    assert copied(stage) == [lock]
    assert shipped
    assert {name: tested.get(name) for name in shipped} == shipped
    assert all(hashes(lock)[name] == hashes("requirements.lock")[name] for name in shipped)
    assert all(hashes(lock)[name] for name in shipped)
    assert f"--require-hashes --no-deps -r {lock}" in STAGES[stage]


def test_the_trial_adds_to_what_production_installs_and_takes_nothing_away() -> None:
    assert set(pins("requirements-prod.lock")) < set(pins("requirements-trial.lock"))
    for requirement in PROJECT["optional-dependencies"]["embedded"]:
        assert normal(re.split("[<>=]", requirement)[0]) in pins("requirements-trial.lock")


def test_the_image_has_the_python_that_is_tested_and_its_base_can_be_pinned() -> None:
    default = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE)
    assert default == [f"{sys.version_info.major}.{sys.version_info.minor}"]
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - set(STAGES)
    assert bases == {"${PYTHON_IMAGE}"}


def test_the_last_stage_is_production_and_every_image_runs_as_an_ordinary_user() -> None:
    assert list(STAGES)[-1] == "production"
    assert all(re.findall(r"^USER (.+)$", STAGES[stage], re.MULTILINE) == ["10001:10001"] for stage in LAST_STAGES)


def test_the_labels_say_the_version_of_the_project() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', STAGES["base"]))
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]
    assert labels["revision"] == "${REVISION}"


def test_production_offers_what_it_contains_and_says_of_the_rest_that_it_is_not_there(tmp_path: Path) -> None:
    absent = absent_modules()
    assert {"pytest", "ministack", "psutil", "playwright"} <= set(absent)
    lay_out(tmp_path, "production-code")
    ran = run_in(tmp_path, "-c", IMPORTS, json.dumps(absent))
    assert ran.returncode == 0, ran.stderr[-2000:]
    offered, refused = json.loads(ran.stdout)
    assert {"worker", "migrate", "health", "flower", "dashboard", "doctor", "enqueue", "download"} <= set(offered)
    assert not set(offered) & WITH_PARTS
    assert "is not part of this image" in refused


def test_a_trial_offers_every_command(tmp_path: Path) -> None:
    lay_out(tmp_path, "production-code", "trial-code")
    ran = run_in(tmp_path, "-c", "from ops.cli import offered; print(*offered())")
    assert set(ran.stdout.split()) >= WITH_PARTS


def test_an_image_says_the_version_of_the_project(tmp_path: Path) -> None:
    lay_out(tmp_path, "production-code")
    assert run_in(tmp_path, "-m", "ops.cli", "--version").stdout == f"genqueue {PROJECT['version']}\n"
