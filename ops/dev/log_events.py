"""Compares the page of log events with the code: every event with its level, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PAGE: Final = "docs/logs.md"
_LEVELS: Final = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}
_PACKAGES: Final = ("shared", "worker", "ops", "producer")
_OTHERS: Final = ("simulator", "flower", "api")
"""Parts that log sentences, or requests."""
_ROW: Final = re.compile(r"^\| (`.+?`) \| ([a-z ]+) \|", re.MULTILINE)


def differences(root: Path) -> Iterator[str]:
    """Yield a sentence for each event that the page lacks, has too many of, or has at another level."""
    code, page = written(root), told(root)
    for event in sorted(code.keys() | page.keys()):
        if code.get(event) != page.get(event):
            here, there = (" or ".join(sorted(levels.get(event, {"none"}))) for levels in (code, page))
            yield f"{PAGE}: `{event}` is {here} in the code and {there} on the page"


def written(root: Path) -> dict[str, set[str]]:
    """Return event -> levels, as the code writes them."""
    found: dict[str, set[str]] = {}
    for package in _PACKAGES:
        for path in (root / package).rglob("*.py"):
            if not any(part in path.relative_to(root).as_posix() for part in _OTHERS):
                for event, level in _events(ast.parse(path.read_text())):
                    found.setdefault(event, set()).add(level)
    return found


def told(root: Path) -> dict[str, set[str]]:
    """Return event -> levels, as the page has them."""
    rows = _ROW.findall((root / PAGE).read_text())
    return {name: set(levels.split(" or ")) for names, levels in rows for name in re.findall(r"`(\w+)`", names)}


def _events(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[event, *_]):
                yield from ((name, _LEVELS.get(level, level)) for name in _names(event))


def _names(event: ast.expr) -> Iterator[str]:
    """Yield each name that an event may have: a constant, or one of several."""
    match event:
        case ast.Constant(value=str() as name):
            yield name
        case ast.IfExp(body=one, orelse=other):
            yield from _names(one)
            yield from _names(other)
        case _:
            yield ast.unparse(event)  # no page can name it: write the event's name where it is logged
