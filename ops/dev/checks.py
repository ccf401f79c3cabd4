"""Checks that no linter has: the lock names no host or path, code stays small, and every log event is on its page."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.dev import log_events

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("client", "ops", "producer", "shared", "worker", "tests")
_HOST: Final = re.compile(r"https?:|file:|localhost|127\.|/opt/|/tmp/|--(?:extra-)?index|--find.links")
_FUNCTION_LINES: Final = 60
_FILE_LINES: Final = 400
_TEST_FILE_LINES: Final = 500  # a reader takes a list of cases one at a time


def main() -> int:
    """Print each finding; return 1 if there is one."""
    findings = [*_lock(), *_sizes(), *log_events.differences(_ROOT)]
    for finding in findings:
        sys.stderr.write(finding + "\n")
    return 1 if findings else 0


def _lock() -> Iterator[str]:
    for name in ("requirements.lock", "requirements-prod.lock", "requirements-trial.lock"):
        for number, line in enumerate((_ROOT / name).read_text().splitlines(), 1):
            if _HOST.search(line):
                yield f"{name}:{number} names a host or a path"


def _sizes() -> Iterator[str]:
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            text = path.read_text()
            where = path.relative_to(_ROOT)
            most = _TEST_FILE_LINES if package == "tests" else _FILE_LINES
            if (lines := text.count("\n")) > most:
                yield f"{where} has {lines} lines, more than {most}"
            yield from _long_functions(ast.parse(text), str(where))


def _long_functions(tree: ast.AST, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > _FUNCTION_LINES:
                yield f"{where}:{node.lineno} {node.name} is {lines} lines long, more than {_FUNCTION_LINES}"


if __name__ == "__main__":
    sys.exit(main())
