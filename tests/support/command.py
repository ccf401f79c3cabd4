"""The `genqueue` command in this process: arguments in, exit code and both streams out."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.strip()]


class _Stream(io.TextIOWrapper):
    """A text stream in memory that has the bytes underneath, as a real one has."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="", write_through=True)

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


def genqueue(*arguments: str | Path, env: Mapping[str, str], cwd: Path | None = None, stdin: bytes = b"") -> Ran:
    """Run a command with `env` on top of an environment without settings of ours."""
    out, err = _Stream(), _Stream()
    source = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with _surroundings(env, cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        before = sys.argv, sys.stdin
        sys.argv, sys.stdin = ["genqueue", *map(str, arguments)], source
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        finally:
            sys.argv, sys.stdin = before
    return Ran(code, out.text, err.text)


@contextlib.contextmanager
def _surroundings(env: Mapping[str, str], cwd: Path | None) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({"COLUMNS": "80", "NO_COLOR": "1", **env})
    try:
        with contextlib.chdir(cwd or Path.cwd()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
