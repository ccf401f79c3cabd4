"""The runbook has a section for every kind of problem, and every command in it can be given."""

import ast
import re
from pathlib import Path

import pytest

from ops.cli import offered

PARTS = ("**For money:**", "**First:**", "**Over when**")


def sections(repository: Path) -> dict[str, str]:
    """Return heading -> text."""
    page = (repository / "docs" / "runbook.md").read_text()
    parts = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def kinds(repository: Path) -> set[str]:
    """Return the code of each `Problem` that the code makes."""
    found = {"bucket", "broker", "disk", "clock", "cap_reached", "price_unknown"}  # those that are computed
    for path in (repository / "shared" / "problems.py", repository / "worker" / "upkeep" / "watching.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Problem"), args=[ast.Constant(value=str() as code), *_]):
                    found.add(code)
    return found


def test_every_kind_of_problem_and_every_alert_has_a_section_and_nothing_else_has(repository: Path) -> None:
    rules = (repository / "ops" / "monitoring" / "rules.yml").read_text()
    alerts = set(re.findall(r"runbook_url: docs/runbook\.md#(\w+)", rules))
    assert len(kinds(repository)) > 12
    assert alerts > kinds(repository), "each kind of problem has an alert"
    assert set(sections(repository)) == alerts


def test_every_section_says_what_it_means_for_money_what_to_do_first_and_when_it_is_over(repository: Path) -> None:
    lacking = {name: part for name, text in sections(repository).items() for part in PARTS if part not in text}
    assert lacking == {}


@pytest.mark.parametrize("page", ["runbook.md", "logs.md"])
def test_every_command_that_a_page_names_exists(page: str, repository: Path) -> None:
    text = (repository / "docs" / page).read_text()
    named = {found[1] for found in re.finditer(r"`genqueue ([a-z-]+)", text)}
    assert named
    assert named <= set(offered())
