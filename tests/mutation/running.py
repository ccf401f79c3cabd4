"""Runs tests in a copy of the repository whose files may be changed, and says which of them failed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutation.mutant import Mutant

ROOT = Path(__file__).parents[2]
_COPIED = ("docs", "ops", "producer", "shared", "tests", "worker")
_FILES = ("pyproject.toml", "Makefile", "README.md", "docker-compose.yml")
_SECONDS = 300
_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
_RED, _GREEN = 1, 0
_LAST_LINES = 15


@dataclass(frozen=True)
class Verdict:
    """What a run of some tests came to; `trouble` says why it proves nothing."""

    failed: tuple[str, ...]
    seconds: float
    trouble: str = ""


@contextmanager
def a_copy() -> Iterator[Path]:
    """Yield a copy of the code and its tests that nobody else uses."""
    with TemporaryDirectory(prefix="genqueue-mutants-") as name:
        copy = Path(name)
        for directory in _COPIED:
            shutil.copytree(ROOT / directory, copy / directory, ignore=shutil.ignore_patterns("__pycache__"))
        for file in _FILES:
            shutil.copy2(ROOT / file, copy / file)
        yield copy


def without(mutant: Mutant, copy: Path) -> Verdict:
    """Run the mutant's tests against the code without its safeguard, and put that back."""
    path = copy / mutant.file
    intact, changed = path.read_text(encoding="utf-8"), mutant.applied(copy)
    try:
        _write(path, changed)
        return run(copy, mutant.tests)
    finally:
        _write(path, intact)


def run(copy: Path, tests: Iterable[str]) -> Verdict:
    """Run `tests` in the copy until the first that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
    # Ahead of the installed packages, which are the originals; a child process must find the copy as well.
    env = {**os.environ, "PYTHONPATH": str(copy)}
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Verdict((), time.monotonic() - began, f"no end within {_SECONDS} s")
    failed = tuple(_FAILED.findall(done.stdout))
    clear = done.returncode == _GREEN or (done.returncode == _RED and failed)
    trouble = "" if clear else "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
    return Verdict(failed, time.monotonic() - began, trouble)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # A change of the same size within the same second would leave Python with the old bytecode.
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
