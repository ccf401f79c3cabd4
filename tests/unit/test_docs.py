"""The documentation that the code writes stands in docs/ as the code would write it now."""

import json
import re
from pathlib import Path

import pytest

from ops.dev.docs import pages
from ops.simulator.faults import ACCEPTED, FaultPlan
from shared.lifecycle import FINAL, TRANSITIONS, JobState


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_current(name: str, repository: Path) -> None:
    assert (repository / "docs" / name).read_text() == pages()[name](), "run `python -m ops.dev.docs`"


def test_the_diagram_shows_exactly_the_transitions_of_the_code() -> None:
    drawn = set(re.findall(r"^ {4}(\w+) --> (\w+)$", pages()["lifecycle.md"](), re.MULTILINE))
    assert drawn == {(a.value, b.value) for a, afters in TRANSITIONS.items() for b in afters if a is not b}


def test_every_state_can_be_reached_and_every_state_that_is_not_final_can_be_left() -> None:
    reached = {JobState.QUEUED}
    while (more := reached | {after for state in reached for after in TRANSITIONS[state]}) != reached:
        reached = more
    assert reached == set(JobState)
    assert all(TRANSITIONS[state] - {state} for state in set(JobState) - FINAL)


def test_every_relative_link_of_the_documents_leads_somewhere(repository: Path) -> None:
    for document in [repository / "README.md", *(repository / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_test_that_the_page_of_safeguards_names_exists(repository: Path) -> None:
    page = (repository / "docs" / "safeguards.md").read_text()
    named = re.findall(r"`((?:unit|integration|e2e)/test_\w+\.py)(?:::(\w+))?`", page)
    assert len(named) > 30
    missing = [
        (file, test)
        for file, test in named
        if not (path := repository / "tests" / file).is_file() or (test and f"def {test}(" not in path.read_text())
    ]
    assert missing == []


def test_no_two_orders_on_the_pages_for_backends_have_one_custom_id(repository: Path) -> None:
    """Otherwise whoever tries one page after the other is refused: the id stands for the order of another page."""
    client = repository / "client"
    pages = [repository / "docs" / "backends.md", repository / "docs" / "api.md", client / "README.md"]
    examples = sorted((client / "examples").glob("first_image.*"))
    text = "\n".join(page.read_text() for page in [*pages, *examples])
    events = re.sub(r'"job_id": "[^"]*", "batch": "shop", "custom_id": "[^"]*"', "", text)
    ordered = re.findall(r"""["']?custom_id["']?\s*[:=]\s*["'](order-[\w-]+)["']""", events)
    assert len(ordered) > len(pages) + len(examples)
    assert sorted(ordered) == sorted(set(ordered))


def test_the_page_about_the_simulator_names_every_fault_and_its_plans_can_be_given() -> None:
    page = pages()["simulator.md"]().partition("## Plans of faults")[2]
    named = re.findall(r"^\| `(\w+)` \|", page.partition("| kind |")[2], re.MULTILINE)
    assert named == list(ACCEPTED)
    plans = re.findall(r"```json\n(.+?)```", page, re.DOTALL)
    plans += re.findall(r"'([\[{].*[\]}])'$", page, re.MULTILINE)
    assert len(plans) == 3
    for plan in plans:
        FaultPlan(json.loads(plan), seed=0)


def test_the_page_about_the_simulator_names_exactly_the_marks_that_it_heeds(repository: Path) -> None:
    named = re.findall(r"^\| `(\w+)` \|", pages()["simulator.md"]().partition("| kind |")[0], re.MULTILINE)
    code = "".join(path.read_text() for path in (repository / "ops" / "simulator").rglob("*.py"))
    heeded = set(re.findall(r'"(\w+)" in (?:exchange\.)?marks', code))
    heeded |= {name for group in re.findall(r"marks & \{([^}]+)\}", code) for name in re.findall(r'"(\w+)"', group)}
    assert len(named) == len(set(named)) == 8
    assert heeded <= set(named)
    assert [name for name in named if f'"{name}"' not in code] == []
