"""Checks that no linter has: locks name no host or path, code is small, names have one meaning, events are listed."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.dev import log_events

_ROOT: Final = Path(__file__).parents[2]
_PRODUCT: Final = ("ops", "producer", "shared", "worker")
_UPSTREAM: Final = _ROOT / "ops" / "simulator"  # imports nothing of ours, and has the providers' words
_PACKAGES: Final = ("client", "ops", "producer", "shared", "worker", "tests")
_HOST: Final = re.compile(r"https?:|file:|localhost|127\.|/opt/|/tmp/|--(?:extra-)?index|--find.links")
_FUNCTION_LINES: Final = 60
_FILE_LINES: Final = 400
_TEST_FILE_LINES: Final = 500  # a reader takes a list of cases one at a time


def main() -> int:
    """Print each finding; return 1 if there is one."""
    findings = [*_lock(), *_sizes(), *_twice_named(), *log_events.differences(_ROOT)]
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


def _twice_named() -> Iterator[str]:
    """Yield each public class name that the product gives twice: one name has one meaning."""
    places: dict[str, list[str]] = {}
    for path in (path for package in _PRODUCT for path in sorted((_ROOT / package).rglob("*.py"))):
        if not path.is_relative_to(_UPSTREAM):
            for name in re.findall(r"^class ([A-Z]\w*)", path.read_text(), re.MULTILINE):
                places.setdefault(name, []).append(str(path.relative_to(_ROOT)))
    for name, files in sorted(places.items()):
        if len(files) > 1:
            yield f"the class name {name} is given twice: {', '.join(files)}"


def _long_functions(tree: ast.AST, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > _FUNCTION_LINES:
                yield f"{where}:{node.lineno} {node.name} is {lines} lines long, more than {_FUNCTION_LINES}"


if __name__ == "__main__":
    sys.exit(main())
