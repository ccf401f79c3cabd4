"""Every code that the code can give has its entry, and every entry says what one can do."""

import re
from pathlib import Path
from typing import Any

from shared.errors import CODES
from worker.transport.spool import TransferError


def every_subclass(parent: type[Any]) -> set[type[Any]]:
    own = {parent} if hasattr(parent, "code") else set()
    children: list[type[Any]] = parent.__subclasses__()
    return own | {deeper for child in children for deeper in every_subclass(child)}


def test_every_transfer_error_has_an_entry() -> None:
    assert {error.code for error in every_subclass(TransferError)} <= set(CODES)


def test_every_code_of_the_wires_and_stages_has_an_entry(repository: Path) -> None:
    named = set()
    for path in (repository / "worker").rglob("*.py"):
        text = path.read_text()
        named |= set(re.findall(r'Row\(\s*[\w.]+,\s*(?:None|"\w+"),\s*"(\w+)"', text))
        named |= set(re.findall(r'(?:error_)?code="(\w+)"', text))
    assert len(named) > 10
    assert named <= set(CODES), named - set(CODES)


def test_every_entry_says_something_everywhere() -> None:
    for entry in CODES.values():
        assert all((entry.meaning, entry.queue_does, entry.you_can)), entry.code
